"""Reading 6's question about cascades: what is it worth to damage the small pictures that an
upsampler learns from (Ho 2021, sec. 4: conditioning augmentation)?

python scripts/study_cascade.py           # a quarter of an hour on one core

Trains two upsamplers of the shipped size from nothing, on the same pictures in the same order:
one is shown clean small pictures, the other softened ones (`data.degrade.soften`). Then both
enlarge small pictures they were not trained on, and pictures that the base has drawn. Writes
nbs/readings/studies/cascade.json:

psnr       of the enlarged, in dB, by the noise added to 24 true small pictures
distance   kernel distance of 120 enlarged pictures of the base from true ones, in the eyes of
           clip-small, which sees 32 px: the mean over the four quarters of the pictures
true       how many of these have all claims true: as drawn by the base, and as enlarged
pictures   four of these by the base and by both, as they are enlarged, 8-bit values
"""

from pathlib import Path

import torch
from tqdm.auto import tqdm

from t2i_course.clip import CLIP
from t2i_course.data.captioned import shapes, to_uint8, verify
from t2i_course.data.degrade import paired_crops, shrink, soften
from t2i_course.glide import GLIDE
from t2i_course.networks.perception import kernel_distance
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import Stage, last, picture_generators
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

RECIPE = Recipe(
    steps=240, batch_size=48, lr=0.002, optimizer="muon", warmup=30, decay=180, ema=0.98,
    precision="bf16",
)  # fmt: skip
NOISE = (0.0, 0.05, 0.1, 0.2)
OUT = Path("nbs/readings/studies/cascade.json")


def upsampler(augmented: bool) -> GLIDE:
    """The shipped GLIDE with a new upsampler, trained on clean or on damaged small pictures."""
    model = GLIDE.from_pretrained("glide-small")
    torch.manual_seed(0)
    model.upsampler = GLIDE(**model.config).upsampler

    def loss(batch):
        low = shrink(batch["image"], model.base_size)
        low = soften(low) if augmented else low
        x_0, low = paired_crops(batch["image"], low, model.crop)
        with torch.no_grad():
            told, null = model.upsampler_conditions(batch["caption"], low)
        return model.upsampler.loss(x_0, told, null, model.p_null)

    data = shapes(4000, 64, seed=3)
    train(Stage(model.upsampler, loss), data, RECIPE, log_every=50, cpu=True)
    return model.eval()


@torch.no_grad()
def enlarged(model, low, captions):
    """Pictures (N, 3, 64, 64) of small ones, picture i from seed i; forty at a time."""
    found = []
    for k in range(0, len(low), 40):
        some = captions[k : k + 40]
        dice = picture_generators(list(range(k, k + len(some))), len(some))
        found.append(last(model.enlarge(low[k : k + 40], some, dice)))
    return torch.cat(found)


def psnr(a, b):
    """Peak signal-to-noise ratio of pictures in [-1, 1], in dB."""
    return float(10 * (4 / (a - b).square().mean()).log10())


def quarters(x):
    """The four quarters of pictures (N, C, H, W)."""
    h = x.shape[-1] // 2
    return [x[..., i : i + h, j : j + h] for i in (0, h) for j in (0, h)]


@torch.no_grad()
def base_pictures(model, captions):
    """The base's pictures (N, 3, 32, 32), picture i from seed 1000 + i; forty at a time."""
    found = []
    for k in range(0, len(captions), 40):
        some = captions[k : k + 40]
        seeds = list(range(1000 + k, 1000 + k + len(some)))
        for step in model.steps(some, seed=seeds, num_steps=20):
            if step.i == 19:
                break
        found.append(step.x[..., ::2, ::2].clamp(-1, 1))
    return torch.cat(found)


def all_true(x, captions):
    """How many pictures have all claims of their captions true."""
    return sum(all(verify(p, c).values()) for p, c in zip(x, captions))


def main():
    torch.set_num_threads(1)
    models = {"clean": upsampler(False), "damaged": upsampler(True)}
    eyes = CLIP.from_pretrained("clip-small")
    exam = shapes(24, 64, seed=21, split="test")
    truth = exam.images.float() / 127.5 - 1
    noise = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    real = shapes(120, 64, seed=22, split="test")
    drawn = base_pictures(models["clean"], real.captions)
    seen = [eyes.image_features(q) for q in quarters(real.images.float() / 127.5 - 1)]
    rows, kept = {}, {"base": to_uint8(drawn[:4]).tolist()}
    for name, model in tqdm(models.items()):
        curve = []
        for s in NOISE:
            low = shrink(truth, 32) + s * noise
            curve.append(round(psnr(enlarged(model, low, exam.captions), truth), 2))
        large = enlarged(model, drawn, real.captions)
        parts = zip(quarters(large.clamp(-1, 1)), seen)
        gaps = [kernel_distance(eyes.image_features(q), there) for q, there in parts]
        rows[name] = {
            "psnr": curve,
            "distance": round(sum(gaps) / 4, 2),
            "true": all_true(large, real.captions),
        }
        kept[name] = to_uint8(large[:4]).tolist()
    about = read_json(find_pretrained("glide-small") / "card.json")
    found = {
        "command": "python scripts/study_cascade.py",
        "steps": RECIPE.steps,
        "noise": NOISE,
        "weights": about["sha256"],
        "pictures_drawn": len(drawn),
        "true_of_base": all_true(drawn, real.captions),
        "rows": rows,
        "captions": real.captions[:4],
        "pictures": kept,
    }
    write_json(OUT, found)
    print(rows, found["true_of_base"])


if __name__ == "__main__":
    main()
