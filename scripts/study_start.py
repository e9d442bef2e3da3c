"""Reading 8's question: what is it worth that unCLIP's decoder starts from GLIDE's weights, at
equal time?

python scripts/study_start.py --minutes 4     # six times the minutes of one core

Four decoders of the shipped size learn the same pictures of shapes by the same recipe,
with the shipped CLIP. An arm's time is its steps times the processor seconds of a step, taken
beforehand, so that other work on the machine does not matter:

nothing         from random weights, the minutes
nothing, twice  the same, twice the minutes
own start       GLIDE's base from random weights, as in the paper, the minutes; then the
                decoder from that base, the minutes: as long as "nothing, twice" in all
shipped start   the decoder from glide-small, the minutes; GLIDE's own hours come on top

Scored by the pixel reader on held-out captions, drawn from the embedding that the shipped prior
gives, beside the caption and alone; and by the error in x_0 on held-out pictures. Writes
nbs/readings/studies/start.json; a row of verdicts has one character a caption: 1 all true.
"""

import argparse
import time
from pathlib import Path

import torch

from t2i_course.data.captioned import shapes, to_float, verify
from t2i_course.glide import GLIDE
from t2i_course.networks.adm import start_from
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import Stage, picture_generators
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe
from t2i_course.unclip import UnCLIP

OUT = Path("nbs/readings/studies/start.json")
BATCH, CAPTIONS, STEPS = 48, 100, 10
WARM_UP = 4  # steps, before the clock is looked at


def recipe_of(steps: int) -> Recipe:
    """The decoder's recipe of the preset "cpu", for so many steps."""
    times = dict(steps=steps, warmup=min(100, steps // 10), decay=2 * steps // 3)
    return Recipe(batch_size=BATCH, lr=0.0015, optimizer="muon", ema=0.99, **times)


def spent(stage: Stage, data, steps: int) -> float:
    """Train a stage; the processor seconds that took."""
    begin = time.process_time()
    train(stage, data, recipe_of(steps), progress=False, cpu=True)
    return time.process_time() - begin


def seconds_a_step(make_stage, data, steps: int = 8) -> float:
    """Processor seconds of a step of a stage, after some to warm up."""
    few = spent(make_stage(), data, WARM_UP)
    return (spent(make_stage(), data, WARM_UP + steps) - few) / steps


def new_decoder(data, network=None) -> UnCLIP:
    """The shipped unCLIP with a new decoder; network: whose weights it starts from."""
    shipped = UnCLIP.from_pretrained("unclip-small")
    torch.manual_seed(0)
    model = UnCLIP.create(glide=None)
    model.prior = shipped.prior
    model.decoder.mean.copy_(shipped.decoder.mean)
    model.decoder.std.copy_(shipped.decoder.std)
    if network is not None:
        start_from(model.decoder.network, network)
    return model


def new_glide(data) -> GLIDE:
    """An untrained GLIDE without a first guess, as in the paper."""
    torch.manual_seed(0)
    return GLIDE.create(data.captions, guess=None)


@torch.no_grad()
def verdicts(model: UnCLIP, z, captions: list[str], told: bool) -> str:
    """1 for each caption of whose picture all claims are true, else 0."""
    options, found = model.options.given(num_steps=STEPS), ""
    for k in range(0, len(captions), 50):
        asked = captions[k : k + 50]
        dice = picture_generators(list(range(k, k + len(asked))), len(asked))
        words = asked if told else [""] * len(asked)
        for step in model.decoding(z[k : k + 50], words, options, dice):
            if step.i == STEPS - 1:
                break
        small = step.x[..., ::2, ::2].clamp(-1, 1)
        found += "".join("01"[all(verify(*one).values())] for one in zip(small, asked))
    return found


@torch.no_grad()
def scores(model: UnCLIP) -> dict:
    """Error in x_0 on 64 held-out pictures, and verdicts."""
    model.eval()
    exam = shapes(64, 32, seed=31, split="test")
    torch.manual_seed(0)
    batch = {"image": to_float(exam.images), "caption": exam.captions}
    error = float(model.decoder_loss(batch)["simple"])
    captions = shapes(CAPTIONS, 32, seed=32, split="test").captions
    z = model.imagine(captions, seed=list(range(CAPTIONS)))
    ways = {"with caption": True, "alone": False}
    rows = {name: verdicts(model, z, captions, told) for name, told in ways.items()}
    print(f"error {error:.4f}", {n: f"{r.count('1') / len(r):.2f}" for n, r in rows.items()})
    return {"error": round(error, 5)} | rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--pictures", type=int, default=8_000)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = shapes(args.pictures, 32, seed=30)
    decoder_step = seconds_a_step(lambda: new_decoder(data).stages["decoder"], data)
    base_step = seconds_a_step(lambda: new_glide(data).stages["base"], data)
    steps = {"decoder": max(10, int(60 * args.minutes / decoder_step))}
    steps["base"] = max(10, int(60 * args.minutes / base_step))
    print(f"a step: decoder {decoder_step:.2f} s, base {base_step:.2f} s;", steps, flush=True)
    weights = {}
    for name in ("glide-small", "unclip-small"):
        weights[name] = read_json(find_pretrained(name) / "card.json")["sha256"]
    about = {"command": f"python scripts/study_start.py --minutes {args.minutes:g}"}
    about |= {"weights": weights, "minutes": args.minutes, "pictures": len(data.images)}
    about |= {"steps": steps, "captions": CAPTIONS, "arms": {}}

    def arm(name, network=None, times=1):
        model = new_decoder(data, network)
        print(name, flush=True)
        took = spent(model.stages["decoder"], data, times * steps["decoder"])
        about["arms"][name] = {"minutes": round(took / 60, 2)} | scores(model)
        write_json(args.out, about)

    arm("nothing")
    arm("shipped start", GLIDE.from_pretrained("glide-small").base.network)
    glide = new_glide(data)
    took = spent(glide.stages["base"], data, steps["base"])
    about["base minutes"] = round(took / 60, 2)
    arm("own start", glide.base.network)
    arm("nothing, twice", times=2)


if __name__ == "__main__":
    main()
