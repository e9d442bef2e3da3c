"""Reading 5's question: how often is the best of n right, if CLIP chooses, and if one chose who
sees the truth?

python scripts/study_rerank.py           # some minutes on one core

Sixteen pictures of dalle-small for each of 200 held-out captions, with the model's own options.
Writes nbs/readings/studies/rerank.json: a row for each caption, with a character for each
picture, the one that CLIP likes best first: 1 where the pixel reader finds all claims true,
else 0.
"""

from pathlib import Path

import torch
from tqdm.auto import tqdm

from t2i_course.dalle import DALLE
from t2i_course.data.captioned import verify
from t2i_course.measure.evaluation import held_out_captions, load_system
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import last

OUT = Path("nbs/readings/studies/rerank.json")
CAPTIONS, TRIES, BATCH = 200, 16, 5


def sha256_of(name: str) -> str:
    """The digest of shipped weights, as their card signs it."""
    return read_json(find_pretrained(name) / "card.json")["sha256"]


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    model, judge = DALLE.from_pretrained("dalle-small"), load_system("clip-small")
    captions, rows = held_out_captions(CAPTIONS), []
    for k in tqdm(range(0, CAPTIONS, BATCH)):
        some = captions[k : k + BATCH]
        x = last(model.steps(some, n=TRIES, seed=TRIES * k)).clamp(-1, 1)
        for caption, tries in zip(some, x.split(TRIES)):
            best_first = tries[judge.rerank(tries, caption)]
            right = [all(verify(one, caption).values()) for one in best_first]
            rows.append("".join("01"[one] for one in right))
    weights = {name: sha256_of(name) for name in ("dalle-small", "clip-small")}
    about = {"command": "python scripts/study_rerank.py", "weights": weights}
    write_json(OUT, about | {"captions": CAPTIONS, "tries": TRIES, "rows": rows})


if __name__ == "__main__":
    main()
