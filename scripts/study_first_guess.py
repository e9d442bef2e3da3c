"""What does a first guess change, category by category, on the same captions and from the same
noise? The question of readings 6 and 7.

python scripts/study_first_guess.py           # 12 minutes on one core; needs the git history
python scripts/study_first_guess.py ldm       # five

Writes first_guess.json, or first_guess_ldm.json, and a sheet of guesses and drawings, into
nbs/readings/studies. Ways to draw 300 held-out captions (ldm: 100), the base stage's pictures
of 32 px (ldm: the whole system's of 64), the model's own guidance:

without      the weights that were shipped first, of the same networks: no first guess, as in
             the paper; the text encoder learned along with the base (commit EARLIER)
with         those shipped after, with a first guess (commit LATER)
words only   the same; the guess is the empty caption's
guess only   the same; vector and tokens are the empty caption's
now          (GLIDE) the shipped weights, again without

ldm also measures how often the error in z_0 is smaller with the true caption than with its
mirror image (left for right), all of it mirrored, its words alone, or its guess alone.

For each category of claims: one character a caption, 1 true, 0 false, - not claimed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from t2i_course.data.captioned import shapes, to_float, to_uint8, verify
from t2i_course.data.shapes import mirrored, read_caption, sample_shapes
from t2i_course.diffusion import q_sample
from t2i_course.glide import GLIDE
from t2i_course.ldm import LatentDiffusion
from t2i_course.storage import find_pretrained, load_strictly, load_tensors, read_json
from t2i_course.storage import with_new_names, write_json
from t2i_course.system import last, noise_like, picture_generators

EARLIER, LATER = "86ff95a", "21c40f4"
LDM_EARLIER, LDM_LATER = "8b34a98", "21c40f4"
ORDERED = [
    "a red circle left of a blue square on a white background",
    "a red circle right of a blue square on a white background",
    "a green star above a yellow cross on a black background",
    "a green star below a yellow cross on a black background",
    "a large orange star on a gray background",
    "red heart, twemoji style",
]
CAPTIONS, BATCH = 300, 60
CATEGORIES = ("shape", "colour", "counting", "background", "size", "position", "binding")
RENAMED = {"text": "text_encoder", "up_text": "up_text_encoder", "kind": "prediction_type"}
OUT = Path("nbs/readings/studies/first_guess.json")


def earlier(cls, commit, weights):
    """The system that was shipped with a commit, out of the git history, and its card."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "card.json", "model.safetensors"):
            place = f"{commit}:t2i_course/weights/{weights}/{name}"
            content = subprocess.run(["git", "show", place], capture_output=True, check=True)
            (Path(folder) / name).write_bytes(content.stdout)
        config = read_json(Path(folder) / "config.json")
        config.pop("system")
        model = cls(**{RENAMED.get(name, name): value for name, value in config.items()})
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


def heard_of(model, captions, words=True, guess=True):
    """What a latent diffusion model is told, as `told` for GLIDE's base."""
    conditioning, null = model.conditions(captions)
    for name, value in conditioning.items():
        heard = guess if name == "channels" else words
        if not heard and name != "mask":
            conditioning[name] = null[name].expand_as(value)
        elif not heard:
            conditioning[name] = null[name].expand(len(value), -1)
    return conditioning, null


@torch.no_grad()
def drawings(model, captions, **heard):
    """Pictures (N, 3, 64, 64) of a latent diffusion model, picture i from seed i."""
    found = []
    options = model.options.given(guidance=2.0, num_steps=12)
    for k in tqdm(range(0, len(captions), 50)):
        some = captions[k : k + 50]
        z_T = model.noise(picture_generators(list(range(k, k + len(some))), len(some)))
        *_, step = model.diffusion.sample(
            z_T, *heard_of(model, some, **heard), options, clip=False
        )
        found.append(model.to_pictures(step.x).clamp(-1, 1))
    return torch.cat(found)


@torch.no_grad()
def hears_order(model, times=(600, 800, 970)):
    """{what is mirrored: [share of pictures where the true condition has the smaller error, for
    each time]}, on held-out pictures of two things, and how many there are.
    """
    placed = shapes(500, 64, seed=7, split="test")
    rows = [i for i, c in enumerate(placed.captions) if read_caption(c).relation]
    placed = placed.subset(rows)
    z_0 = model.to_latent(to_float(placed.images))
    true = model.read(placed.captions, 16)
    false = model.read([mirrored(c) for c in placed.captions], 16)
    conditions = {"all": false}
    if "channels" in true:
        conditions["words"] = false | {"channels": true["channels"]}
        conditions["guess"] = true | {"channels": false["channels"]}

    def errors(t, told):
        noise = torch.randn(z_0.shape, generator=torch.Generator().manual_seed(t))
        t = torch.full((len(z_0),), t)
        z_t = q_sample(model.diffusion.schedule, z_0, t, noise)
        return (model.diffusion(z_t, t, told) - z_0).square().mean((1, 2, 3))

    found = {}
    for name, told in conditions.items():
        better = [errors(t, true) < errors(t, told) for t in times]
        found[name] = [round(float(b.float().mean()), 3) for b in better]
    return found, len(rows)


def draw_sheet(drawn, guesses, file):
    """Guesses and drawings of `ORDERED`, a row each, as one PNG of few colours."""
    sheet = {"guess": guesses} | drawn
    pixels = torch.cat([torch.cat(list(to_uint8(x)), 2) for x in sheet.values()], 1)
    picture = Image.fromarray(np.asarray(pixels.permute(1, 2, 0)))
    picture.quantize(64, dither=0).save(OUT.with_name(file), optimize=True)
    return {"file": file, "rows": list(sheet), "captions": ORDERED}


def glide():
    """The study of reading 6."""
    captions = sample_shapes(CAPTIONS, 32, seed=17, split="test")[1]
    first, first_card = earlier(GLIDE, EARLIER, "glide-small")
    guessing, guessing_card = earlier(GLIDE, LATER, "glide-small")
    shipped = GLIDE.from_pretrained("glide-small")
    ways = {
        "without": (first, {}),
        "with": (guessing, {}),
        "words only": (guessing, dict(guess=False)),
        "guess only": (guessing, dict(words=False)),
        "now": (shipped, {}),
    }
    rows = {}
    for name, (model, heard) in tqdm(ways.items()):
        rows[name] = verdicts(pictures(model, captions, **heard), captions)
    with torch.no_grad():
        guesses = guessing.read(ORDERED)["channels"].clamp(-1, 1)
    drawn = {name: pictures(ways[name][0], ORDERED) for name in ("with", "without", "now")}
    about = read_json(find_pretrained("glide-small") / "card.json")
    trained = {"without": first_card, "with": guessing_card, "now": about}
    base = {name: card["stages"]["base"] for name, card in trained.items()}
    return {
        "command": "python scripts/study_first_guess.py",
        "captions": CAPTIONS,
        "num_steps": 30,
        "guidance": {name: model.options.guidance for name, (model, _) in ways.items()},
        "weights": about["sha256"],
        "commits": {"without": EARLIER, "with": LATER},
        "base_steps": {name: stage["steps"] for name, stage in base.items()},
        "minutes": {name: card["minutes"] for name, card in trained.items()},
        "sheet": draw_sheet(drawn, guesses, "first_guess.png"),
        "rows": rows,
    }


def ldm(n=100):
    """The study of reading 7."""
    captions = sample_shapes(n, 64, seed=17, split="test")[1]
    models, cards = {}, {}
    for name, commit in (("without", LDM_EARLIER), ("with", LDM_LATER)):
        models[name], cards[name] = earlier(LatentDiffusion, commit, "ldm-small")
    later = models["with"]
    ways = {
        "without": (models["without"], {}),
        "with": (later, {}),
        "words only": (later, dict(guess=False)),
        "guess only": (later, dict(words=False)),
    }
    rows = {}
    for name, (model, heard) in ways.items():
        rows[name] = verdicts(drawings(model, captions, **heard), captions)
    order, placed = {}, 0
    for name, model in models.items():
        order[name], placed = hears_order(model)
    with torch.no_grad():
        guesses = later.to_pictures(later.read(ORDERED)["channels"]).clamp(-1, 1)
    drawn = {name: drawings(model, ORDERED) for name, model in models.items()}
    return {
        "command": "python scripts/study_first_guess.py ldm",
        "captions": n,
        "num_steps": 12,
        "guidance": 2.0,
        "commits": {"without": LDM_EARLIER, "with": LDM_LATER},
        "steps": {name: c["stages"]["model"]["steps"] for name, c in cards.items()},
        "minutes": {name: c["minutes"] for name, c in cards.items()},
        "order": order,
        "placed": placed,
        "sheet": draw_sheet(drawn, guesses, "first_guess_ldm.png"),
        "rows": rows,
    }


def main():
    torch.set_num_threads(1)
    if sys.argv[1:] == ["ldm"]:
        found = ldm()
        write_json(OUT.with_name("first_guess_ldm.json"), found)
        return tell(found["rows"])
    found = glide()
    write_json(OUT, found)
    return tell(found["rows"])


def tell(rows):
    """Print the shares of each way and category."""
    for name, row in rows.items():
        for category, signs in row.items():
            share = signs.count("1") / (len(signs) - signs.count("-"))
            print(f"{name:12s} {category:12s} {share:.3f}")


if __name__ == "__main__":
    main()
