"""Reading 12's studies, into nbs/readings/studies/swift.json: progressive halving and latent
consistency distillation in equal CPU time; the student beside its teacher by calls.

    python scripts/study_swift.py methods PICTURES --minutes 2   # PICTURES: made by t2i data
    python scripts/study_swift.py teacher
    python scripts/study_swift.py student
"""

import argparse
import copy
import time
from pathlib import Path

import torch
from torch import nn

from t2i_course.data.captioned import CaptionedImages
from t2i_course.data.shapes import verify
from t2i_course.diffusion import q_sample
from t2i_course.ldm import LatentDiffusion
from t2i_course.measure.board import features_of, scored_captions, true_pictures
from t2i_course.measure.evaluation import held_out_captions, in_batches, load_system
from t2i_course.networks.perception import kernel_distance
from t2i_course.storage import read_json, write_json
from t2i_course.swift import SlowCopy, Swift, ddim_step, halving_target, level
from t2i_course.system import last
from t2i_course.training.loop import batch_of, draw_rows
from t2i_course.training.optimizers import EMA, optimizers_for
from t2i_course.training.recipe import recipes_of

OUT = Path(__file__).parents[1] / "nbs" / "readings" / "studies" / "swift.json"
HALVINGS = (8, 4)  # steps of the student after each round; the first teacher takes 16


def keep(name: str, found):
    """Put one study's result into the file."""
    before = read_json(OUT) if OUT.is_file() else {}
    write_json(OUT, before | {name: found})
    print(name, found, flush=True)


def all_true(draw, captions: list[str], seed: int) -> float:
    """The share of captions that are true in every claim. draw(captions, seeds) -> pictures."""
    right = 0
    for first in range(0, len(captions), 20):
        part = captions[first : first + 20]
        seeds = [seed + first + i for i in range(len(part))]
        pictures = draw(part, seeds)
        right += sum(all(verify(x, c).values()) for x, c in zip(pictures, part))
    return right / len(captions)


@torch.no_grad()
def drawn_by_halves(model: Swift, captions, seeds, num_steps: int):
    """Pictures of a student of halving: DDIM without noise on its own times."""
    generators = [torch.Generator().manual_seed(s) for s in seeds]
    schedule, told = model.latent.diffusion.schedule, model.read(captions)
    z, k = model.latent.noise(generators), schedule.T // num_steps
    for t in range(schedule.T - 1, -1, -k):
        now, later = (torch.full((len(z),), s) for s in (t, t - k))
        z_0 = model.consistency()(z, now, told)
        z = ddim_step(z, z_0, level(schedule, now, z), level(schedule, later, z))
    return model.latent.to_pictures(z).clamp(-1, 1)


def by_calls(model: Swift, captions, seed: int, halving: bool) -> dict:
    """{calls: share of captions all true}."""
    found = {}
    for calls in (1, 2, 4):

        def draw(part, seeds):
            if halving:
                return drawn_by_halves(model, part, seeds, calls)
            return last(model.steps(part, seed=seeds, num_steps=calls))

        found[str(calls)] = all_true(draw, captions, seed)
    return found


def halving_loss(model, source, steps: int, batch):
    """Salimans & Ho's loss for a student of so many steps, in our teacher's form, x_0, with
    weights SNR cut to 1 .. 5. source: the student of the round before; None: the teacher.
    """
    schedule = model.latent.diffusion.schedule
    with torch.no_grad():
        z_0 = model.latent.latents_of(batch)
        told, null = model.latent.conditions(batch["caption"])
    teacher = source or model.guided_teacher(null)
    k = schedule.T // steps
    now = k * torch.randint(1, steps + 1, (len(z_0),)) - 1
    z_t = q_sample(schedule, z_0, now, torch.randn_like(z_0))
    target = halving_target(teacher, schedule, z_t, (now, now - k // 2, now - k), told)
    weight = schedule.snr[now].clamp(1, 5).float()
    error = (model.consistency()(z_t, now, told) - target).square().mean((1, 2, 3))
    return (weight * error).mean()


def learn(model: Swift, loss_of, data, latents, seconds: float, seed: int) -> int:
    """Train for so many CPU seconds; ends with averaged weights. Returns the steps."""
    from t2i_course.training.loop import rounding

    recipe = recipes_of("swift", "cpu")["model"]
    stage = model.latent.diffusion.train()
    optimizers, ema, step = optimizers_for(stage, recipe), EMA(stage, recipe.ema), 0
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        rows = draw_rows(data.weights, recipe.batch_size, seed, step)
        batch = batch_of(data, latents, rows, "cpu", recipe.retell)
        torch.manual_seed(1000 * seed + step)
        with rounding(recipe, torch.device("cpu")):
            loss_of(batch).backward()
        nn.utils.clip_grad_norm_(stage.parameters(), recipe.grad_clip)
        warm, cool = min(1, (step + 1) / recipe.warmup), min(1, 2 * (1 - spent / seconds))
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = recipe.lr * warm * cool
            optimizer.step()
            optimizer.zero_grad()
        ema.update(stage, step)
        step += 1
    ema.swap(stage)
    stage.eval()
    return step


def methods(pictures: str, minutes: float, seed: int = 0):
    """Both distillations from the same weights, on the same batches, in the same CPU time."""
    data, captions = CaptionedImages.load(pictures).split("train"), held_out_captions(100)
    latents, found = Swift.create().latents(data), {"minutes": minutes, "captions": 100}
    model, steps, source = Swift.create(), [], None
    for number in HALVINGS:

        def loss_of(batch):
            return halving_loss(model, source, number, batch)

        seconds = 60 * minutes / len(HALVINGS)
        steps.append(learn(model, loss_of, data, latents, seconds, seed + number))
        source = copy.deepcopy(model).requires_grad_(False).consistency()
    shares = by_calls(model, captions, seed, halving=True)
    keep("halving", found | {"steps": steps, "all true": shares})

    model = Swift.create()
    slow = SlowCopy(model.latent.diffusion)

    def lcm_loss(batch):
        return model.distillation_loss(batch, slow)["loss"]

    steps = [learn(model, lcm_loss, data, latents, 60 * minutes, seed)]
    shares = by_calls(model, captions, seed, halving=False)
    keep("latent consistency", found | {"steps": steps, "all true": shares})


def measured(system, captions: list[str], eyes, **options) -> dict:
    """On the board's captions and seeds: share all true, kernel distance x 1000 from true
    pictures in the `eyes` of clip-small, and CPU seconds a picture.
    """
    parts, start = [], time.process_time()
    for _, x in in_batches(system, captions, seed=1000, batch=20, progress=False, **options):
        parts.append(x)
    seconds = (time.process_time() - start) / len(captions)
    drawn = torch.cat(parts)
    right = [all(verify(x, c).values()) for x, c in zip(drawn, captions)]
    drawn = (127.5 * (drawn.clamp(-1, 1) + 1)).round().byte()
    near = features_of(drawn, eyes), features_of(true_pictures(captions), eyes)
    found = {"all true": sum(right) / len(right), "seconds": round(seconds, 4)}
    return found | {"distance": round(kernel_distance(*near), 2)}


def by_steps(name: str, system, steps: tuple, calls_a_step: int):
    """A system on the board's first hundred captions, by calls of its network."""
    captions, eyes, found = scored_captions(100), load_system("clip-small"), {}
    for number in steps:
        ways = {}
        for sampler in ("ddim", "dpm++") if calls_a_step == 2 else (None,):
            options = {} if sampler is None else {"sampler": sampler}
            options |= {"num_steps": number}
            ways[sampler or "own"] = measured(system, captions, eyes, **options)
        found[str(calls_a_step * number)] = ways
        keep(name, found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("methods", "student", "teacher"))
    parser.add_argument("pictures", nargs="?")
    parser.add_argument("--minutes", type=float, default=2)
    args = parser.parse_args()
    if args.study == "methods":
        methods(args.pictures, args.minutes)
    elif args.study == "student":
        by_steps("untrained", Swift.create(), (1, 2, 4, 8), 1)  # the teacher's copy
        by_steps("student", Swift.from_pretrained("swift-small"), (1, 2, 4, 8), 1)
    else:
        teacher = LatentDiffusion.from_pretrained("ldm-small")
        by_steps("teacher", teacher, (1, 2, 4, 10, 30), 2)
