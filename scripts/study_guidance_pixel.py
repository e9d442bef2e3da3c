"""Reading 3's question with enough pictures to answer it: what does a guidance scale buy from
pixel-small, and what does it cost?

python scripts/study_guidance_pixel.py        # twenty minutes on one quiet core

Writes nbs/readings/studies/guidance_pixel.json after each scale; started again it goes on where
it was stopped, with other weights from the beginning. For each scale:

true       one picture for each of 300 held-out captions: how many of its claims are true
chroma     how colourful these pictures are: largest minus smallest channel, halved
distance   kernel distance of these pictures from drawn ones, in the eyes of clip-small
place      24 captions of one shape, 8 pictures each: spread of its place, one number a caption
radius     the same for its radius, as a share of the radius
variety    24 emoji names, 8 pictures each: distance between two pictures' thumbnails
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from t2i_course.clip import CLIP
from t2i_course.data.captioned import verify
from t2i_course.data.shapes import all_captions, draw, layout, parse, read_caption
from t2i_course.data.shapes import sample_shapes, split_of
from t2i_course.guidance import PixelDiffusion
from t2i_course.networks.perception import kernel_distance
from t2i_course.storage import find_pretrained, read_json, write_json

SCALES = (0, 1, 1.5, 2, 3, 4, 5, 6, 8)
NUM_STEPS, BATCH = 30, 60
EMOJI = (
    "airplane", "alarm clock", "ambulance", "banana", "bee", "bicycle", "birthday cake",
    "blue heart", "butterfly", "cactus", "cat face", "fish", "fox", "ghost", "grapes",
    "green apple", "guitar", "house", "key", "pizza", "red apple", "snowman", "sun", "umbrella",
)  # fmt: skip


def one_shape(n):
    """n held-out captions that speak of one object."""
    held_out = [c for c in all_captions() if split_of(c) == "test"]
    alone = [c for c in held_out if len(read_caption(c).objects) == 1]
    return [str(c) for c in np.random.default_rng(0).permutation(alone)[:n]]


def true_pictures(captions, seed=0):
    """What the captions mean, by the program that drew the data: (N, 3, 32, 32) in [-1, 1]."""
    dice = np.random.default_rng(seed)
    claims = [read_caption(c) for c in captions]
    drawn = np.stack([draw(layout(c, dice), c.background, 32) for c in claims])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def pictures(model, captions, scale, seed):
    """One picture a caption, picture i from the seed `seed + i` whatever the scale."""
    found = []
    for k in range(0, len(captions), BATCH):
        some = captions[k : k + BATCH]
        seeds = list(range(seed + k, seed + k + len(some)))
        found.append(model(some, seed=seeds, guidance=scale, num_steps=NUM_STEPS).images)
    return torch.cat(found)


def chroma(x):
    """How colourful pictures (N, 3, H, W) in [-1, 1] are: 0 for grays, 1 for pure colours."""
    return float((x.amax(1) - x.amin(1)).mean() / 2)


def variety(x):
    """Root mean square distance between two of n pictures (n, 3, 32, 32), seen at 8 x 8."""
    small = F.avg_pool2d(x, 4).flatten(1)
    return float(torch.pdist(small).mean() / small.shape[1] ** 0.5)


def spread(x):
    """Spread of the largest object's place over pictures (n, 3, H, W), and of its radius."""
    largest = [max(parse(p)[1], key=size_of, default=None) for p in x]
    seen = np.array([(f.x, f.y, f.r) for f in largest if f])
    if len(seen) < 3:
        return None, None
    variance = seen.var(0, ddof=1)
    place = variance[:2].sum() ** 0.5
    return float(place), float(variance[2] ** 0.5 / seen[:, 2].mean())


def size_of(found):
    """The radius of an object, for `max`."""
    return found.r


def exam(x, captions, eyes, true_features):
    """What one picture a caption tells."""
    verdicts = [list(verify(p, c).values()) for p, c in zip(x, captions)]
    with torch.no_grad():
        features = eyes.image_features(x)
    return {
        "true": "".join(str(sum(v)) for v in verdicts),
        "chroma": round(chroma(x), 4),
        "distance": round(kernel_distance(features, true_features), 2),
    }


def spreads(x, n):
    """What n pictures of one shape a caption tell."""
    places, radii = zip(*[spread(some) for some in x.split(n)])
    return {"place": rounded(places), "radius": rounded(radii)}


def rounded(values):
    """Numbers short enough to be read; None stays None."""
    return [v if v is None else round(v, 4) for v in values]


def measure(model, eyes, captions, shapes, n, scale=None):
    """One scale's row; without a scale, that of the truth (which draws no emoji)."""
    many = [c for c in shapes for _ in range(n)]
    truth = true_pictures(captions)
    with torch.no_grad():
        true_features = eyes.image_features(truth)
    if scale is None:
        row = exam(truth, captions, eyes, true_features)
        return row | spreads(true_pictures(many, seed=1), n)
    row = exam(pictures(model, captions, scale, 0), captions, eyes, true_features)
    row |= spreads(pictures(model, many, scale, 10_000), n)
    named = pictures(model, [e for e in EMOJI for _ in range(n)], scale, 20_000)
    return row | {"variety": rounded([variety(some) for some in named.split(n)])}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captions", type=int, default=300)
    parser.add_argument("--each", type=int, default=8, help="pictures a caption, for variety")
    parser.add_argument("--out", type=Path, default=Path("nbs/readings/studies"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    file = args.out / "guidance_pixel.json"
    captions = sample_shapes(args.captions, 32, seed=0, split="test")[1]
    found = {
        "command": "python scripts/study_guidance_pixel.py",
        "weights": read_json(find_pretrained("pixel-small") / "card.json")["sha256"],
        "num_steps": NUM_STEPS,
        "each": args.each,
        "captions": args.captions,
    }
    rows = {}
    if file.exists():
        before = read_json(file)
        rows = before.pop("rows")
        if before != found:
            rows = {}  # other weights or another question: all afresh
    model = PixelDiffusion.from_pretrained("pixel-small")
    eyes = CLIP.from_pretrained("clip-small")
    args.out.mkdir(parents=True, exist_ok=True)
    for scale in (None, *SCALES):
        name = "truth" if scale is None else f"{scale:g}"
        if name in rows:
            continue
        rows[name] = measure(model, eyes, captions, one_shape(24), args.each, scale)
        write_json(file, found | {"rows": rows})
        print(name, {k: v for k, v in rows[name].items() if isinstance(v, float)}, flush=True)


if __name__ == "__main__":
    main()
