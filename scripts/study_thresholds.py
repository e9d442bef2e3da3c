"""Reading 9's question about thresholds: which keeps strong guidance from burning a picture,
and at what price, on the shipped weights?

python scripts/study_thresholds.py           # six minutes on one core

The shipped Imagen draws held-out captions of shapes under each rule at rising guidance, from
the same noise. Writes nbs/readings/studies/thresholds.json, a row for each rule and scale:

true       "1" for each caption of which all claims are true
ground     how bright the ground is in captions of a white one: the median of the picture
saturated  of captions of a gray or pink ground, the share of numbers that lie on the border
"""

from pathlib import Path

import torch
from tqdm.auto import tqdm

from t2i_course.data.captioned import shapes, verify
from t2i_course.imagen import Imagen
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import last

OUT = Path("nbs/readings/studies/thresholds.json")
RULES, SCALES = ("static", "dynamic", "capped"), (1.0, 2.0, 4.0, 8.0)
CAPTIONS, STEPS = 60, 12


def drawn(model, captions, **how):
    """Pictures (N, 3, 64, 64) of captions, twenty at a time, picture i from seed i."""
    found = []
    for k in range(0, len(captions), 20):
        some = captions[k : k + 20]
        seeds = list(range(k, k + len(some)))
        found.append(last(model.steps(some, seed=seeds, num_steps=STEPS, up_steps=8, **how)))
    return torch.cat(found)


def row_of(x, captions) -> dict:
    """What is measured of pictures (N, 3, H, W) of captions."""
    verdicts = [all(verify(p, c).values()) for p, c in zip(x.clamp(-1, 1), captions)]
    white = [p for p, c in zip(x, captions) if c.endswith("white background")]
    inside = ("gray background", "pink background")
    inner = [p for p, c in zip(x, captions) if c.endswith(inside)]
    border = (torch.stack(inner).abs() >= 0.999).float().mean().item()
    return {
        "true": "".join("01"[v] for v in verdicts),
        "ground": round(torch.stack([p.median() for p in white]).mean().item(), 3),
        "saturated": round(border, 4),
    }


def main():
    torch.set_num_threads(1)
    model = Imagen.from_pretrained("imagen-small")
    exam = shapes(CAPTIONS, 64, seed=31, split="test")
    rows = []
    for rule in tqdm(RULES):
        for scale in SCALES:
            x = drawn(model, exam.captions, threshold=rule, guidance=scale)
            rows.append({"rule": rule, "scale": scale} | row_of(x, exam.captions))
            print(rows[-1], flush=True)
    truth = row_of(exam.images.float() / 127.5 - 1, exam.captions)
    write_json(OUT, {
        "command": "python scripts/study_thresholds.py",
        "weights": read_json(find_pretrained("imagen-small") / "card.json")["sha256"],
        "captions": CAPTIONS, "steps": STEPS, "truth": truth, "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
