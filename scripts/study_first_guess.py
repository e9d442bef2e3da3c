"""Reading 6's question about the first guess: what does it change, category by category, on the
same captions and from the same noise?

python scripts/study_first_guess.py           # ten minutes on one core; needs the git history

Writes nbs/readings/studies/first_guess.json. Four ways to draw 300 held-out captions, the base
stage's pictures of 32 px, the model's own guidance and steps:

without      the weights that were shipped before, of the same networks: no first guess, as in
             the paper; the text encoder learned along with the base (commit EARLIER)
with         the shipped weights
words only   the shipped weights; the guess is the empty caption's
guess only   the shipped weights; vector and tokens are the empty caption's

For each category of claims: one character a caption, 1 true, 0 false, - not claimed.
"""

import subprocess
import tempfile
from pathlib import Path

import torch
from tqdm.auto import tqdm

from t2i_course.data.captioned import verify
from t2i_course.data.shapes import sample_shapes
from t2i_course.glide import GLIDE
from t2i_course.storage import find_pretrained, load_strictly, load_tensors, read_json
from t2i_course.storage import with_new_names, write_json
from t2i_course.system import last, noise_like, picture_generators

EARLIER = "86ff95a"
CAPTIONS, BATCH = 300, 60
CATEGORIES = ("shape", "colour", "counting", "background", "size", "position", "binding")
RENAMED = {"text": "text_encoder", "up_text": "up_text_encoder", "kind": "prediction_type"}
OUT = Path("nbs/readings/studies/first_guess.json")


def earlier_glide():
    """The GLIDE that was shipped before the first guess, out of the git history, and its card.

    Its guidance is that of the shipped one, so that both draw alike.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "card.json", "model.safetensors"):
            place = f"{EARLIER}:t2i_course/weights/glide-small/{name}"
            content = subprocess.run(["git", "show", place], capture_output=True, check=True)
            (Path(folder) / name).write_bytes(content.stdout)
        config = read_json(Path(folder) / "config.json")
        config.pop("system")
        model = GLIDE(**{RENAMED.get(name, name): value for name, value in config.items()})
        tensors, _ = load_tensors(Path(folder) / "model.safetensors")
        load_strictly(model, with_new_names(model, tensors))
        return model.eval(), read_json(Path(folder) / "card.json")


def told(model, captions, words=True, guess=True):
    """What the base is told; without `words` or `guess` the empty caption's stand there."""
    conditioning, null = model.base_conditions(captions)
    for name, value in conditioning.items():
        heard = guess if name == "channels" else words
        conditioning[name] = value if heard else null[name].expand_as(value)
    return conditioning, null


@torch.no_grad()
def pictures(model, captions, **heard):
    """The base's pictures (N, 3, 32, 32), picture i from seed i."""
    found, size = [], model.base_size
    for k in range(0, len(captions), BATCH):
        some = captions[k : k + BATCH]
        generators = picture_generators(list(range(k, k + len(some))), len(some))
        x_T = noise_like(torch.empty(len(some), 3, size, size), generators)
        options = model.options.given(num_steps=30)
        found.append(last(model.base.sample(x_T, *told(model, some, **heard), options)))
    return torch.cat(found)


def verdicts(x, captions):
    """{category: one character a caption}."""
    claims = [verify(picture, caption) for picture, caption in zip(x, captions)]
    signs, found = {True: "1", False: "0", None: "-"}, {}
    for name in CATEGORIES:
        found[name] = "".join(signs[claim.get(name)] for claim in claims)
    found["all true"] = "".join(signs[all(claim.values())] for claim in claims)
    return found


def main():
    torch.set_num_threads(1)
    captions = sample_shapes(CAPTIONS, 32, seed=17, split="test")[1]
    shipped, (earlier, card) = GLIDE.from_pretrained("glide-small"), earlier_glide()
    ways = {
        "without": (earlier, {}),
        "with": (shipped, {}),
        "words only": (shipped, dict(guess=False)),
        "guess only": (shipped, dict(words=False)),
    }
    rows = {}
    for name, (model, heard) in tqdm(ways.items()):
        rows[name] = verdicts(pictures(model, captions, **heard), captions)
    about = read_json(find_pretrained("glide-small") / "card.json")
    trained = {"without": card, "with": about}
    base = {name: c["stages"]["base"] for name, c in trained.items()}
    found = {
        "command": "python scripts/study_first_guess.py",
        "captions": CAPTIONS,
        "num_steps": 30,
        "guidance": shipped.options.guidance,
        "weights": about["sha256"],
        "earlier": EARLIER,
        "base_steps": {name: stage["steps"] for name, stage in base.items()},
        "minutes": {name: c["minutes"] for name, c in trained.items()},
        "rows": rows,
    }
    write_json(OUT, found)
    for name, row in rows.items():
        for category, signs in row.items():
            share = signs.count("1") / (len(signs) - signs.count("-"))
            print(f"{name:12s} {category:12s} {share:.3f}")


if __name__ == "__main__":
    main()
