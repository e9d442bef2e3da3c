"""Reading 6's question with enough captions to answer it: classifier-free guidance against CLIP
guidance, on the shipped GLIDE's base.

python scripts/study_guidance.py                    # 200 held-out captions, ten DDIM steps;
some minutes on one core

Writes nbs/readings/studies/glide_guidance.json: for each guide and scale the share of true
claims, the share of captions with all claims true, the kernel distance from true pictures (in
the eyes of clip-small) and the mean cosine that the noised CLIP, the judge that guides, gives;
and for each caption a 1 where all its claims are true.
"""

import argparse, json
from pathlib import Path
import numpy as np
import torch
from tqdm.auto import tqdm
from t2i_course.clip import CLIP
from t2i_course.glide import GLIDE
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.data.captioned import shapes, verify
from t2i_course.networks.perception import kernel_distance

SETTINGS = [
    ("none", 1.0),
    *(("classifier-free", s) for s in (1.5, 2.0, 3.0, 6.0)),
    *(("CLIP", s) for s in (2.0, 8.0, 30.0)),
]


@torch.no_grad()
def draw(model: GLIDE, guide: str, scale: float, captions: list[str]) -> torch.Tensor:
    """The base's pictures (N, 3, 32, 32) in [-1, 1], without the upsampler: ten steps of DDIM,
    noise from seeds 7, 8, ..., fifty captions at a time.
    """
    options, found = {"guidance": scale}, []
    if guide == "CLIP":
        options = {"guidance": 1.0, "clip_guidance": scale}
    seeds = [7 + i for i in range(len(captions))]
    for k in range(0, len(captions), 50):
        some, dice = captions[k : k + 50], seeds[k : k + 50]
        for step in model.steps(some, seed=dice, num_steps=10, sampler="ddim", **options):
            if step.i == 9:
                break
        found.append(step.x[..., ::2, ::2].clamp(-1, 1))
    return torch.cat(found)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("nbs/readings/studies"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, eyes = GLIDE.from_pretrained("glide-small"), CLIP.from_pretrained("clip-small")
    truth = shapes(args.captions, 32, seed=11, split="test")
    captions, x_true = truth.captions, truth.images.float() / 127.5 - 1
    vector, seen = model.read(captions)["vector"], eyes.image_features(x_true)

    def measure(x):
        claims = [
            list(verify(picture, caption).values()) for picture, caption in zip(x, captions)
        ]
        image, text = model.clip.features(x, torch.zeros(len(x)), vector)
        return {
            "claims": round(float(np.mean([v for c in claims for v in c])), 4),
            "all_true": round(float(np.mean([all(c) for c in claims])), 4),
            "distance": round(kernel_distance(eyes.image_features(x), seen), 2),
            "judge": round(float((image * text).sum(-1).mean()), 4),
            "verdicts": "".join("01"[all(c)] for c in claims),
        }

    rows = [
        {"guide": guide, "scale": scale} | measure(draw(model, guide, scale, captions))
        for guide, scale in tqdm(SETTINGS)
    ]
    found = {
        "command": f"python scripts/study_guidance.py --captions {args.captions}",
        "captions": args.captions,
        "steps": 10,
        "sampler": "ddim",
        "sha256": read_json(find_pretrained("glide-small") / "card.json")["sha256"],
        "truth": {k: v for k, v in measure(x_true).items() if k != "verdicts"},
        "settings": rows,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "glide_guidance.json", found)
    for r in rows:
        print({k: v for k, v in r.items() if k != "verdicts"})


if __name__ == "__main__":
    main()
