"""The study of reading 11 that needs minutes where its cells have seconds: a cascade from 8 to
32 pixels whose hint is noised, and a regression beside its upsampler.

python scripts/study_palette.py --minutes 2

Three small networks learn pictures of one large object: a base that draws 8 pixels, an
upsampler that is told how much noise its hint has (SR3, with CDM's conditioning augmentation),
and a regression from the same hint. It writes palette_cascade.json and .png to --out
(default: nbs/readings/studies). Minutes are CPU minutes for the upsampler; base and regression
get half of that each.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from PIL import Image

from t2i_course.clip import CLIP
from t2i_course.data.captioned import one_object, to_uint8
from t2i_course.data.degrade import shrink
from t2i_course.ddpm import ancestral
from t2i_course.diffusion import Schedule
from t2i_course.guidance import Diffusion, SamplingOptions
from t2i_course.measure.board import features_of
from t2i_course.networks.codebooks import psnr
from t2i_course.networks.perception import kernel_distance
from t2i_course.networks.unet import UNet
from t2i_course.palette import NoiseLevel
from t2i_course.system import Stage, last
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

SMALL, LARGE, DRAWN = 8, 32, 160
RECIPE = Recipe(
    steps=1, batch_size=64, lr=3e-3, optimizer="muon", warmup=20, ema=0.98, precision="bf16"
)
COSINE = Schedule.cosine()


def rng(seed):
    return torch.Generator().manual_seed(seed)


def enlarged(low):
    """Small pictures, bicubically as large as the large ones."""
    return F.interpolate(low, (LARGE, LARGE), mode="bicubic", antialias=False).clamp(-3, 3)


def noised(low, s, generator=None):
    """Small pictures at time indices s (B,), -1: as they are."""
    level = torch.cat([COSINE.alpha_bar.float(), torch.ones(1)])[s][:, None, None, None]
    noise = torch.randn(low.shape, generator=generator)
    return level**0.5 * low + (1 - level) ** 0.5 * noise


def fit(stage, data, minutes):
    """Train for so many CPU minutes: a few steps are timed, and as many made as fit."""
    begun = {name: value.clone() for name, value in stage.state_dict().items()}
    for steps in (2, 6):
        start = time.process_time()
        train(stage, data, replace(RECIPE, steps=steps), progress=False, cpu=True)
        pace = (time.process_time() - start) / steps
    stage.load_state_dict(begun)
    steps = max(10, round(60 * minutes / pace))
    recipe = replace(RECIPE, steps=steps, decay=round(0.7 * steps))
    history = train(stage, data, recipe, cpu=True)
    stage.eval()
    return {"steps": steps, "loss": [history[0]["loss"], history[-1]["loss"]]}


class Base(Stage):
    """Draws small pictures from nothing."""

    def __init__(self):
        torch.manual_seed(0)
        sizes = dict(channels=(48, 64), attention=(1,), patch=1, head_dim=16, emb_dim=96)
        super().__init__(Diffusion(UNet(**sizes), COSINE, "x0", 1.5), self.error)

    def error(self, batch):
        return self.trained.loss(shrink(batch["image"], SMALL))


class Upsampler(Stage):
    """Draws large pictures beside enlarged small ones, told how noisy these are."""

    def __init__(self):
        torch.manual_seed(0)
        sizes = dict(channels=(48, 80), attention=(1,), patch=2, head_dim=16, emb_dim=96)
        network = UNet(in_channels=6, vector_dim=1, **sizes)
        super().__init__(NoiseLevel(network, COSINE, "x0", 1.5), self.error)

    def told(self, low, s):
        """What it is told of hints (B, 3, 8, 8) that are noised to s (B,)."""
        return {"channels": enlarged(low), "vector": (s[:, None] + 1) / 1000.0}

    def error(self, batch):
        low = shrink(batch["image"], SMALL)
        s = (torch.rand(len(low)) ** 2 * 800).long() - 1  # clean ones among them
        return self.trained.loss(batch["image"], self.told(noised(low, s), s))

    def draw(self, low, s, seed=0):
        """Large pictures of small ones, all noised to s."""
        x_T = torch.randn(len(low), 3, LARGE, LARGE, generator=rng(seed))
        told = self.told(low, torch.full((len(low),), s))
        return last(self.trained.sample(x_T, told, None, SamplingOptions(1.0, 12)))


class Regression(Stage):
    """Answers an enlarged small picture with one large one."""

    def __init__(self):
        torch.manual_seed(0)
        sizes = dict(channels=(48, 80), attention=(1,), patch=2, head_dim=16, emb_dim=96)
        super().__init__(UNet(**sizes), self.error)

    def answer(self, low):
        return self.trained(enlarged(low), torch.zeros(len(low)))

    def error(self, batch):
        guess = self.answer(shrink(batch["image"], SMALL)).float()
        return {"loss": (guess - batch["image"]).square().mean()}


def write_sheet(path, rows):
    """Rows of equally many pictures as one PNG without gaps."""
    sheet = torch.cat([torch.cat(list(to_uint8(x)), dim=2) for x in rows.values()], dim=1)
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).quantize(128).save(path, optimize=True)


@torch.no_grad()
def measured(base, upsampler, regression) -> tuple[dict, dict]:
    """What the three can do: figures, and rows of pictures."""
    eyes = CLIP.from_pretrained("clip-small")
    truth, _ = one_object(DRAWN, LARGE, seed=90)
    others = features_of(to_uint8(one_object(DRAWN, LARGE, seed=91)[0]), eyes)
    low = shrink(truth, SMALL)

    def far(x):
        return round(kernel_distance(features_of(to_uint8(x), eyes), others), 2)

    answers = {"bicubic": enlarged(low), "regression": regression.answer(low)}
    answers = {name: x.clamp(-1, 1) for name, x in answers.items()}
    answers["diffusion"] = upsampler.draw(low, -1)
    found = {"truth": {"distance": far(truth)}}
    for name, x in answers.items():
        decibels = round(psnr(truth, x).mean().item(), 2)
        found[name] = {"psnr": decibels, "distance": far(x)}
        print(name, found[name])
    x_T, on_the_way = torch.randn(DRAWN, 3, SMALL, SMALL, generator=rng(5)), {}
    ways = dict(prediction_type="x0", num_steps=50, generator=rng(6))
    for step in ancestral(base.trained, COSINE, x_T, **ways):
        on_the_way[step.t] = step.x
    times = sorted(on_the_way)
    levels = [-1] + [min(times, key=lambda t: abs(t - s)) for s in (60, 120, 240, 400)]
    drawn, rows = on_the_way[-1], {"truth": truth[:10], "low": enlarged(low[:10])}
    rows |= {name: x[:10] for name, x in answers.items()}
    rows["base"] = drawn[:10].repeat_interleave(4, 2).repeat_interleave(4, 3)
    cascade = []
    for s in levels:
        again = noised(drawn, torch.full((DRAWN,), s), rng(7))
        after, cut = upsampler.draw(again, s), upsampler.draw(on_the_way[s], s)
        row = {"s": s, "non-truncated": far(after), "truncated": far(cut)}
        rows[f"s = {s}"] = after[:10]
        cascade.append(row)
        print(row)
    unaware = upsampler.draw(noised(drawn, torch.full((DRAWN,), levels[3]), rng(7)), -1)
    told = {"s": levels[3], "not told": far(unaware)}
    return {"enlarged": found, "cascade": cascade, "not told": told}, rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    of = "of the upsampler (default: 2)"
    parser.add_argument("--minutes", type=float, default=2, help=of)
    parser.add_argument("--out", type=Path, default=Path("nbs/readings/studies"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    x, _ = one_object(6_000, LARGE, seed=1)
    data = SimpleNamespace(
        images=to_uint8(x), captions=[""] * len(x), weights=torch.ones(len(x))
    )
    stages = {"base": Base(), "upsampler": Upsampler(), "regression": Regression()}
    made = {}
    for name, stage in stages.items():
        share = 1.0 if name == "upsampler" else 0.5
        made[name] = fit(stage, data, share * args.minutes)
        print(name, made[name], flush=True)
    figures, rows = measured(*stages.values())
    write_sheet(args.out / "palette_cascade.png", rows)
    about = {"command": f"python scripts/study_palette.py --minutes {args.minutes:g}"}
    about |= {"made": made, "drawn": DRAWN, "rows": list(rows)} | figures
    about["minutes_in_all"] = round(time.process_time() / 60, 1)
    file = args.out / "palette_cascade.json"
    file.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{about['minutes_in_all']} CPU minutes; written to {args.out}")


if __name__ == "__main__":
    main()
