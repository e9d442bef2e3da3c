"""The studies of reading 7 that need minutes where its cells have seconds: train, draw, and
keep what was drawn.

python scripts/study_latents.py super --minutes 5.5        # two models that enlarge 16 -> 64 px
python scripts/study_latents.py first-stage --minutes 6    # a VQ autoencoder beside the KL one
python scripts/study_latents.py figure6 --minutes 2.5      # one model behind f = 1, 2, 4 and 8
python scripts/study_latents.py retrieval --minutes 4      # told four neighbours, not a caption

Each writes PNG sheets of pictures and a JSON file with how they were made to --out (default:
nbs/readings/studies). The notebook computes its figures from the sheets. Minutes are minutes of
one CPU core, whatever else the machine does: a few steps are timed, and as many trained as fit.
Seeds are fixed; the number of steps that fit is not, so another machine gives other pictures.
"""

import argparse, json, random, time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm.auto import tqdm
from t2i_course.ddpm import diffusion_loss, dpm_solver_pp_2m
from t2i_course.diffusion import Schedule
from t2i_course.guidance import draw_times
from t2i_course.clip import CLIP
from t2i_course.ldm import LatentDiffusion, PatchCode, neighbours
from t2i_course.networks.codebooks import k_means, psnr, usage
from t2i_course.data.captioned import emoji, one_object, shapes, to_float, to_uint8
from t2i_course.data.degrade import bsr_degrade
from t2i_course.networks.perception import perceptual_distance
from t2i_course.data.shapes import BACKGROUNDS, COLOURS, SHAPES
from t2i_course.system import Stage
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe
from t2i_course.networks.unet import UNet

RECIPE = Recipe(
    steps=1, batch_size=32, lr=3e-3, optimizer="muon", warmup=30, ema=0.99, precision="bf16"
)
SCHEDULE = Schedule.cosine()


def rng(seed):
    return torch.Generator().manual_seed(seed)


def write_sheet(path: Path, rows: dict, bits: int = 6) -> dict:
    """Rows of equally many pictures (n, 3, s, s) in [-1, 1] as one PNG without gaps.

    All but "truth" are rounded to `bits` a channel, which keeps it small.

    Returns what the JSON file says about it.
    """
    levels = 2**bits - 1
    coarse = (
        lambda x: ((to_uint8(x).float() * levels / 255).round() * 255 / levels)
        .round()
        .to(torch.uint8)
    )
    sheet = torch.cat(
        [
            torch.cat(list(to_uint8(x) if name == "truth" else coarse(x)), dim=2)
            for name, x in rows.items()
        ],
        dim=1,
    )
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(path, optimize=True)
    first = next(iter(rows.values()))
    return {
        path.name: {
            "rows": list(rows),
            "columns": len(first),
            "size": first.shape[-1],
            "bits": bits,
        }
    }


def fit(stage: Stage, data, minutes: float, recipe: Recipe) -> dict:
    """Train a stage for so many CPU minutes.

    Returns {"steps", "minutes", "loss": [first, last], "parameters"}.
    """
    begun, clock = deepcopy(stage.state_dict()), []
    for steps in (2, 8):
        start = time.process_time()
        train(stage, data, replace(recipe, steps=steps), progress=False, cpu=True)
        clock.append((time.process_time() - start) / steps)
    stage.load_state_dict(begun)
    steps = max(4, round(60 * minutes / clock[-1]))
    start = time.process_time()
    history = train(
        stage, data, replace(recipe, steps=steps, decay=round(0.7 * steps)), cpu=True
    )
    return {
        "steps": steps,
        "minutes": round((time.process_time() - start) / 60, 2),
        "loss": [history[0]["loss"], history[-1]["loss"]],
        "parameters": sum(p.numel() for p in stage.trained.parameters()),
    }


class Denoising:
    """A U-Net that predicts clean latents from noised ones, the latents computed beforehand.
    told(net, z_t, t, row) calls it with its condition.
    """

    def __init__(self, latent, cond, told, **sizes):
        torch.manual_seed(0)
        c, more = latent.shape[1], sizes.pop("extra_channels", 0)
        self.net = UNet(
            c + more,
            c,
            channels=(48, 80),
            attention=(1,),
            patch=1,
            head_dim=16,
            emb_dim=128,
            **sizes,
        )
        self.latent, self.cond, self.told = latent, cond, told
        self.stage = Stage(self.net, self.loss, lambda data: {"latent": latent, "cond": cond})

    def loss(self, batch):
        t, weight = draw_times(len(batch["latent"]), SCHEDULE.T, 2.0), (SCHEDULE.snr + 1).clamp(
            max=5
        )
        return {
            "loss": (
                diffusion_loss(
                    lambda z, t, c: self.told(self.net, z, t, c),
                    SCHEDULE,
                    batch["latent"],
                    batch["cond"],
                    "x0",
                    t=t,
                    weight=weight,
                ).mean()
            )
        }

    @torch.no_grad()
    def draw(self, cond, num_steps=24, seed=0):
        """Latents for conditions (n, ...), from noise."""
        z_T = torch.randn(len(cond), *self.latent.shape[1:], generator=rng(seed))
        for step in dpm_solver_pp_2m(
            lambda z, t, c: self.told(self.net, z, t, c),
            SCHEDULE,
            z_T,
            cond,
            prediction_type="x0",
            num_steps=num_steps,
            clip=False,
        ):
            pass
        return step.x


def pictures(n_shapes: int, emoji_share: float):
    """What both studies at 64 px learn from: the training emoji, and shapes."""
    art, blocks = emoji(64).split("train"), shapes(n_shapes, 64)
    art.weights *= emoji_share / art.weights.sum()
    blocks.weights *= (1 - emoji_share) / blocks.weights.sum()
    return art + blocks


def held_out(n_emoji: int, n_shapes: int, seed: int):
    """Pictures (n, 3, 64, 64) that no model has seen, emoji (things or styles unseen, no
    variants of skin tone) before shapes; and their captions.
    """
    art = emoji(64)
    rows = random.Random(seed).sample(
        [
            i
            for i, s in enumerate(art.splits)
            if s in ("pair", "concept") and ":" not in art.captions[i]
        ],
        n_emoji,
    )
    blocks = shapes(n_shapes, 64, seed, split="test")
    return (
        to_float(torch.cat([art.images[rows], blocks.images])),
        [art.captions[i] for i in rows] + blocks.captions,
    )


@torch.no_grad()
def first_stage(minutes: float, out: Path) -> dict:
    """A VQ autoencoder of the shipped one's size.

    Encoder and decoder start from the shipped weights, the codebook from k-means on its
    latents.
    """
    kl = LatentDiffusion.from_pretrained("ldm-small")
    data = pictures(4_000, emoji_share=0.7)
    torch.manual_seed(0)
    vq = LatentDiffusion.create(
        data.captions[:50],
        first_stage="vq",
        penalty=1.0,
        autoencoder=kl.config["autoencoder"] | dict(latent_channels=4, codes=4096, decay=0.99),
    )
    ours, theirs = vq.autoencoder, kl.autoencoder
    mean = theirs.after_encoder.weight[
        :4, :, 0, 0
    ]  # the KL encoder's last two layers in one, for the mean alone
    weights = theirs.state_dict() | {
        k: v for k, v in ours.state_dict().items() if k.startswith("quantizer")
    }
    weights |= {
        "encoder.last.weight": torch.einsum("ij,jkhw->ikhw", mean, theirs.encoder.last.weight),
        "encoder.last.bias": mean @ theirs.encoder.last.bias + theirs.after_encoder.bias[:4],
        "after_encoder.weight": torch.eye(4)[:, :, None, None],
        "after_encoder.bias": torch.zeros(4),
    }
    ours.load_state_dict(weights)
    some = to_float(data.images[draw := torch.multinomial(data.weights, 400, generator=rng(0))])
    assert torch.allclose(ours.eval().encode(some[:4]), theirs.encode(some[:4]), atol=1e-4)
    vectors = torch.cat([ours.encode(x) for x in some.split(50)]).movedim(1, -1).flatten(0, 2)
    book = ours.quantizer
    book.codes.copy_(
        k_means(vectors[torch.randperm(len(vectors), generator=rng(0))[:30_000]], book.size)
    )
    book.sums.copy_(book.codes), book.counts.fill_(1.0)
    book.forward = torch.autocast("cpu", enabled=False)(
        book.forward
    )  # who is nearest is decided in full precision
    with torch.enable_grad():
        made = fit(
            vq.stages["autoencoder"], data, minutes, replace(RECIPE, batch_size=48, lr=2e-3)
        )
    x, titles = held_out(8, 4, seed=7)
    many, _ = held_out(200, 200, seed=0)
    quality = {}
    for name, a in (("KL", theirs), ("VQ", ours)):
        copies = [a.decode(a.encode(part)).clamp(-1, 1) for part in many.split(50)]
        halves = psnr(many, torch.cat(copies)).split(200)
        quality[name] = [round(float(p.mean()), 2) for p in halves]
    ids = torch.cat([book(ours.encode(part))[1] for part in many.split(50)])
    sheet = write_sheet(
        out / "first_stage.png",
        {
            "truth": x,
            "KL": theirs.decode(theirs.encode(x)).clamp(-1, 1),
            "VQ": ours.decode(ours.encode(x)).clamp(-1, 1),
        },
    )
    return made | {
        "codes": book.size,
        "bits": ids[0].numel() * int(np.log2(book.size)),
        "usage": usage(ids, book.size),
        "titles": titles,
        "sheets": sheet,
        "psnr_200_emoji_200_shapes": quality,
    }


def figure6(minutes: float, out: Path) -> dict:
    """One U-Net behind linear codes of f = 1, 2, 4, 8 on 32 px pictures of one object, told
    what to draw; then every claim is drawn once.
    """
    lesson, names = one_object(8_000, 32, seed=1)
    words = [*COLOURS, *SHAPES, *BACKGROUNDS]

    def one_hot(names):
        told = torch.zeros(len(names), len(words))
        for row, name in zip(told, names):
            row[[i for i, w in enumerate(words) if w in name]] = 1
        return told

    claims = [(c, s, b) for s in SHAPES for b in BACKGROUNDS for c in COLOURS]
    data = SimpleNamespace(
        images=to_uint8(lesson), captions=[""] * len(lesson), weights=torch.ones(len(lesson))
    )
    made, sheets = {}, {}
    for f, channels in {1: 3, 2: 12, 4: 12, 8: 12}.items():
        code = PatchCode(lesson, f, channels)
        z = code.encode(lesson)
        scale = 1 / z.std()
        model = Denoising(
            z * scale,
            one_hot(names),
            lambda net, z, t, c: net(z, t, vector=c),
            vector_dim=len(words),
        )
        run = fit(model.stage, data, minutes, RECIPE)
        drawn = torch.cat(
            [
                code.decode(model.draw(part, seed=i) / scale)
                for i, part in enumerate(one_hot(claims).split(30))
            ]
        ).clamp(-1, 1)
        rows = dict(zip(SHAPES, drawn.split(len(claims) // len(SHAPES))))
        made[f] = run | {"channels": channels}
        sheets |= write_sheet(out / f"figure6_f{f}.png", rows, bits=4)
        print(f"f = {f}: {run}")
    return {
        "models": made,
        "columns": [f"{c} on {b}" for b in BACKGROUNDS for c in COLOURS],
        "sheets": sheets,
    }


@torch.no_grad()
def super_resolution(minutes: float, out: Path) -> dict:
    """Two models 16 -> 64 px in the shipped autoencoder's latent: one learns from neatly shrunk
    pictures, one from damaged ones (BSR).
    """
    system = LatentDiffusion.from_pretrained("ldm-small")
    data, dice = pictures(3_000, emoji_share=0.7), random.Random(0)
    z = torch.cat(
        [
            system.to_latent(to_float(part))
            for part in tqdm(data.images.split(64), desc="encoding")
        ]
    )

    def neat(x):
        return F.avg_pool2d(x, 4)

    def damaged(x):
        return torch.stack([bsr_degrade(p, 4, dice) for p in x])

    exam, titles = held_out(6, 4, seed=11)
    many, _ = held_out(60, 60, seed=12)
    low, low_many = ({"neat": neat(x), "damaged": damaged(x)} for x in (exam, many))
    made, answers, found = {}, {}, {}
    for taught, shrink in (("neat", neat), ("damaged", damaged)):
        small = torch.cat(
            [
                to_uint8(shrink(to_float(part)))
                for part in tqdm(data.images.split(64), desc=f"{taught}, 16 px")
            ]
        )
        lesson = SimpleNamespace(images=small, captions=data.captions, weights=data.weights)
        model = Denoising(
            z,
            to_float(small),
            lambda net, z, t, c: net(torch.cat([z, c], 1), t),
            extra_channels=3,
        )
        with torch.enable_grad():
            made[taught] = fit(model.stage, lesson, minutes, RECIPE)
        enlarge = lambda small: torch.cat(
            [system.to_pictures(model.draw(part)).clamp(-1, 1) for part in small.split(30)]
        )
        answers |= {f"taught {taught}, shown {shown}": enlarge(low[shown]) for shown in low}
        found |= {
            f"taught {taught}, shown {shown}": score(system, many, enlarge(low_many[shown]))
            for shown in low
        }
        print(taught, made[taught])
    found |= {
        f"bicubic, shown {shown}": score(
            system, many, F.interpolate(x, scale_factor=4, mode="bicubic").clamp(-1, 1)
        )
        for shown, x in low_many.items()
    }
    sheets = write_sheet(out / "super_low.png", low, bits=8) | write_sheet(
        out / "super.png", answers | {"truth": exam}
    )
    return {"models": made, "titles": titles, "sheets": sheets, "n": len(many), "found": found}


def score(system, x, y) -> dict:
    """PSNR (dB) and perceptual distance of answers y to the truth x, means."""
    seen = torch.cat(
        [perceptual_distance(system.features, a, b) for a, b in zip(x.split(30), y.split(30))]
    )
    return {
        "psnr": round(float(psnr(x, y).mean()), 2),
        "perceptual": round(float(seen.mean()), 3),
    }


@torch.no_grad()
def retrieval(minutes: float, out: Path) -> dict:
    """One U-Net told the CLIP embeddings of a picture's four nearest neighbours, in the linear
    code f = 4 of 32 px pictures; then drawn for captions, with databases that it never saw.
    """
    clip, k = CLIP.from_pretrained("clip-small"), 4
    lesson, _ = one_object(8_000, 32, seed=1)
    where = torch.cat([clip.image_features(part) for part in lesson.split(200)])
    own = torch.arange(len(where)).split(500)
    near = torch.cat([neighbours(where[rows], where, k, exclude=rows) for rows in own])
    code = PatchCode(lesson, 4, 12)
    z = code.encode(lesson)
    scale = 1 / z.std()

    def told(net, z_t, t, found):
        return net(z_t, t, vector=found.mean(1) * 128**0.5, tokens=found * 128**0.5)

    data = SimpleNamespace(
        images=to_uint8(lesson), captions=[""] * len(lesson), weights=torch.ones(len(lesson))
    )
    model = Denoising(z * scale, where[near], told, vector_dim=128, token_dim=128)
    with torch.enable_grad():
        made = fit(model.stage, data, minutes, RECIPE)
    album, names = one_object(1_000, 32, seed=3)  # none of them in the lesson
    album_at = torch.cat([clip.image_features(part) for part in album.split(200)])

    def drawn(caption, rows, n):
        """n pictures for a caption, with these rows of the album as the database."""
        query = clip.text_features([caption])
        found = rows[neighbours(query, album_at[rows], k)[0]]
        z_0 = model.draw(album_at[found].expand(n, -1, -1)) / scale
        return [*album[found], *code.decode(z_0).clamp(-1, 1)]

    everything, rows = torch.arange(len(album)), {}
    caption = "a large star on a white background"
    rows["everything"] = drawn(caption, everything, 8)
    for colour in ("red", "green", "blue"):
        mine = torch.tensor([i for i, (c, _, _) in enumerate(names) if c == colour])
        rows[f"{colour} things only"] = drawn(caption, mine, 8)
    shapes_drawn = {}
    for shape in SHAPES:
        shapes_drawn[shape] = drawn(f"a large {shape} on a white background", everything, 12)
    sheets = write_sheet(out / "retrieval.png", {r: torch.stack(x) for r, x in rows.items()}, 5)
    by_shape = {shape: torch.stack(x) for shape, x in shapes_drawn.items()}
    sheets |= write_sheet(out / "retrieval_shapes.png", by_shape, 5)
    return made | {"caption": caption, "k": k, "columns": 12, "sheets": sheets}


STUDIES = {"super": super_resolution, "first-stage": first_stage, "figure6": figure6}
STUDIES["retrieval"] = retrieval


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument(
        "--minutes",
        type=float,
        default=5,
        help="CPU minutes of training for each model (default: 5)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("nbs/readings/studies"),
        help="folder for sheets and JSON",
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    about = {
        "command": f"python scripts/study_latents.py {args.study} --minutes {args.minutes:g}"
    } | STUDIES[args.study](args.minutes, args.out)
    about["minutes_in_all"] = round(time.process_time() / 60, 1)
    (args.out / f"{args.study.replace('-', '_')}.json").write_text(
        json.dumps(about, indent=1) + "\n", encoding="utf-8"
    )
    print(f"{args.study}: {about['minutes_in_all']} CPU minutes; written to {args.out}")


if __name__ == "__main__":
    main()
