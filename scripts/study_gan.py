"""Reading 13's ladder: what does each of a GAN's parts bring, in equal minutes?

python scripts/study_gan.py                # seven rungs of 30 s each on one core
python scripts/study_gan.py --seconds 150  # as long as you like

Each rung adds one thing to the one before and is trained from nothing for so many seconds of
one core's own time, on pictures of 16 pixels with one large object. Writes
nbs/readings/studies/gan.json after each rung; started again it goes on where it was stopped.
For each rung:

seen, held_out   share of captions of which all claims are true, by the pixel reader
claims           share of single claims that are true, of held-out captions
variety          8 noises of one caption: standard deviation between the pictures, in the mean
steps            how many steps the seconds were enough for
"""

import argparse
import time
from pathlib import Path

import torch

from t2i_course.data.captioned import shapes, verify
from t2i_course.data.degrade import shrink
from t2i_course.data.shapes import all_captions, read_caption, split_of
from t2i_course.gan import GAN
from t2i_course.storage import read_json, write_json
from t2i_course.training.loop import seed_of
from t2i_course.training.optimizers import EMA

OUT = Path("nbs/readings/studies/gan.json")
BATCH, SIZE = 48, 16
NETS = dict(generator=dict(channels=(48, 48)), discriminator=dict(channels=(32, 64)))
# what a rung changes: of the losses, of the networks
RUNGS = {
    "the game alone": (dict(r1=0.0, matching=0.0, contrast=0.0), dict(bank=1, look=())),
    "+ R1": (dict(r1=0.05), {}),
    "+ wrong captions": (dict(matching=1.0), {}),
    "+ the whole batch": (dict(contrast=0.5), {}),
    "+ a bank of kernels": ({}, dict(bank=2)),
    "+ L2 attention": ({}, dict(look=(1,))),
    "+ CLIP": (dict(clip=0.5), {}),
}


def configured(rung: str) -> dict:
    """The constructor's arguments of a rung: all that it and those before it change."""
    losses, nets = {}, {}
    for name, (more_losses, more_nets) in RUNGS.items():
        losses, nets = losses | more_losses, nets | more_nets
        if name == rung:
            break
    judge = NETS["discriminator"] | {"look": nets["look"]}
    return dict(generator=NETS["generator"] | nets, discriminator=judge, losses=losses)


def pictures() -> tuple[dict, torch.Tensor]:
    """What a GAN prepared of the training captions, and their pictures of 16 pixels."""
    data = GAN.lesson(shapes(24_000, 32, seed=0))
    images = shrink(data.images.float() / 127.5 - 1, SIZE)
    return GAN.create(**configured("+ CLIP")).read_all(data), images


def trained(rung: str, prepared: dict, images, seconds: float) -> tuple[GAN, int]:
    """A rung's model after so many seconds of this core, weights averaged, and its steps."""
    torch.manual_seed(0)
    model = GAN.create(**configured(rung))
    stage, step, start = model.stages["model"].train(), 0, time.process_time()
    ema = EMA(stage, 0.99)
    optimizer = torch.optim.AdamW(stage.parameters(), 1.5e-3, (0.0, 0.99), weight_decay=0.0)
    while (spent := time.process_time() - start) < seconds:
        torch.manual_seed(seed_of(0, step))
        rate = min(1, (step + 1) / 20, 4 - 4 * spent / seconds)
        optimizer.param_groups[0]["lr"] = 1.5e-3 * rate
        rows = torch.randint(len(images), (BATCH,))
        batch = {name: values[rows] for name, values in prepared.items()}
        stage.loss(batch | {"image": images[rows]})["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        ema.update(stage, step)
        step += 1
    ema.swap(stage)
    return model.eval(), step


def looked_at(model: GAN) -> dict:
    """The figures of a rung."""
    large = [c for c in all_captions() if read_caption(c).size == "large"]
    found = {}
    for name, split in (("seen", "train"), ("held_out", "test")):
        captions = [c for c in large if split_of(c) == split]
        captions = captions * (1 if split == "train" else 8)
        drawn = model(captions, seed=list(range(1000, 1000 + len(captions)))).images
        verdicts = [verify(x, c) for x, c in zip(drawn, captions)]
        found[name] = sum(all(v.values()) for v in verdicts) / len(verdicts)
        claims = [told for v in verdicts for told in v.values()]
    eight = model(large[::10], n=8, seed=5).images.unflatten(0, (-1, 8))
    found |= {"claims": sum(claims) / len(claims), "variety": eight.std(1).mean().item()}
    return {name: round(value, 3) for name, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    prepared, images = pictures()
    about = {"command": "python scripts/study_gan.py", "seconds": args.seconds}
    before = read_json(OUT) if OUT.is_file() else {}
    rungs = before.get("rungs", {}) if before.get("seconds") == args.seconds else {}
    for rung in RUNGS:
        if rung not in rungs:
            model, steps = trained(rung, prepared, images, args.seconds)
            rungs[rung] = looked_at(model) | {"steps": steps}
            print(rung, rungs[rung], flush=True)
            write_json(OUT, about | {"rungs": rungs})


if __name__ == "__main__":
    main()
