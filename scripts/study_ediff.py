"""Reading 9's questions about eDiff-I (Balaji et al. 2022), on a small painter of 16 pixels.

python scripts/study_ediff.py           # a minute and a half on one core

The painter hears three at once: the states of the shipped reader, those of clip-small's text
encoder, and clip-small's embedding of a picture. Each is dropped at random in training (sec.
4.2), so that afterwards any of them can be left out. Half of the captions do not say on what
ground the object stands. Writes nbs/readings/studies/ediff.json:

heard      claims true of held-out captions in the trained wording and in synonyms, told by the
           reader alone, by CLIP's text encoder alone, by both
style      captions that do not name the ground, drawn with and without the embedding of another
           picture: how often the ground is that picture's, how often the object is still the
           caption's; and pictures of it, 8-bit values
experts    the painter trained on, for each seed: copies for t < 500 and for t >= 500,
           each on its own interval, against one network for as many steps as both together.
           Mean square error of x0_hat in either half, the same pictures and noise for all
"""

import copy
from pathlib import Path

import torch
from torch import nn
from study_reader import caption_of, held_out, questions

from t2i_course.clip import CLIP
from t2i_course.data.captioned import CaptionedImages, one_object, to_uint8, verify
from t2i_course.data.degrade import shrink
from t2i_course.diffusion import Schedule, q_sample
from t2i_course.guidance import Diffusion, SamplingOptions, draw_times, drop_condition
from t2i_course.guidance import min_snr_weight
from t2i_course.ddpm import diffusion_loss
from t2i_course.imagen import Experts, Imagen
from t2i_course.networks.imagen_unet import ImagenUNet
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import Stage, last
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

OUT = Path("nbs/readings/studies/ediff.json")
RECIPE = dict(batch_size=32, optimizer="muon", ema=0.97)
STEPS, FURTHER = 200, 50
BORDER, SEEDS = 500, (0,)
DROP = {"reader": 0.25, "clip": 0.2, "picture": 0.5}  # the paper: 0.25, 0.2, 0.9
WIDTH = {"reader": 96, "clip": 128, "picture": 128}


class Encoders:
    """Reader, CLIP's text encoder and CLIP's eyes; each gives {"tokens", "mask"}."""

    def __init__(self):
        self.reader = Imagen.from_pretrained("imagen-small").language
        self.clip = CLIP.from_pretrained("clip-small").eval()

    @torch.no_grad()
    def read(self, captions, pictures=None):
        """{source: (states (B, L, width), mask (B, L))}; pictures (B, 3, 32, 32) or None."""
        told = self.reader.read(captions)
        ids = self.clip.encode(captions)
        places = torch.arange(ids.shape[1]) <= ids.argmax(-1)[:, None]
        found = {
            "reader": (told["tokens"], told["mask"]),
            "clip": (self.clip.text_encoder.states(ids), places),
        }
        if pictures is not None:
            seen = 11.3 * self.clip.image_features(pictures)[:, None]  # features of size 1
            found["picture"] = (seen, torch.ones(len(seen), 1, dtype=torch.bool))
        return found


def told_by(sources, names, kept=None) -> dict:
    """One row of tokens a caption: a null token, then what the named sources say, each in
    features of its own. kept: {name: (B,) bool}, the rows that hear it; None: all.
    """
    first, _ = next(iter(sources.values()))
    n, total = len(first), sum(WIDTH.values())
    tokens, masks = [torch.zeros(n, 1, total)], [torch.ones(n, 1, dtype=torch.bool)]
    before = 0
    for name, width in WIDTH.items():
        if name in names:
            states, mask = sources[name]
            tokens.append(nn.functional.pad(states, (before, total - before - width)))
            masks.append(mask if kept is None else mask & kept[name][:, None])
        before += width
    mask = torch.cat(masks, 1)
    return {"tokens": torch.cat(tokens, 1) * mask[..., None], "mask": mask}


def nothing(told) -> dict:
    """No condition at all: the null token."""
    first = torch.arange(told["mask"].shape[1]) == 0
    return {"tokens": torch.zeros_like(told["tokens"][:1]), "mask": first[None]}


class Lessons:
    """Pictures of the training scenes, what all sources say of each, read once."""

    def __init__(self, encoders, n=4000, seed=5, test=False):
        large, names = one_object(n, 32, seed=seed)
        keep = [i for i, name in enumerate(names) if held_out(*name) == test]
        self.large, self.names = large[keep], [names[i] for i in keep]
        self.small = shrink(self.large, 16)
        full = [caption_of(*name) for name in self.names]
        short = [c.split(" on a")[0] for c in full]
        texts = list(dict.fromkeys(full + short))
        self.number = {text: i for i, text in enumerate(texts)}
        self.full = torch.tensor([self.number[c] for c in full])
        self.short = torch.tensor([self.number[c] for c in short])
        self.words = encoders.read(texts)
        parts = [encoders.read(["a"], part)["picture"][0] for part in self.large.split(256)]
        self.seen = torch.cat(parts)

    def sources(self, rows, say_ground):
        """What is said of pictures; say_ground: (B,) bool, whose caption names the ground."""
        text = torch.where(say_ground, self.full[rows], self.short[rows])
        found = {name: (s[text], m[text]) for name, (s, m) in self.words.items()}
        found["picture"] = self.seen[rows], torch.ones(len(rows), 1, dtype=torch.bool)
        return found

    def loss(self, base, low=0, high=1000):
        """The painter's loss on a batch of numbers of pictures, at times low <= t < high."""

        def of_batch(batch):
            rows, n = batch["row"], len(batch["row"])
            kept = {name: torch.rand(n) >= p for name, p in DROP.items()}
            told = told_by(self.sources(rows, torch.rand(n) < 0.5), WIDTH, kept)
            told = drop_condition(told, nothing(told), 0.1)
            t = draw_times(n, high - low, 3.0) + low
            weight = min_snr_weight(base.schedule, "x0")
            error = diffusion_loss(
                base, base.schedule, self.small[rows], told, "x0", t=t, weight=weight
            )
            return {"loss": error.mean()}

        return of_batch

    def data(self):
        """The numbers of the pictures, as training takes them."""
        n, names = len(self.small), [str(name) for name in self.names]
        pixels = to_uint8(self.small)
        return CaptionedImages(
            pixels, names, [[]] * n, ["shapes"] * n, names, ["train"] * n, torch.ones(n)
        )


def painter():
    """The painter, untrained."""
    network = ImagenUNet(
        text_dim=sum(WIDTH.values()), channels=32, multipliers=(1, 1), depth=1, attention=(1,),
        head_dim=16, patch=2, groups=16, emb_dim=96, pool_heads=4,
    )  # fmt: skip
    return Diffusion(network, Schedule.cosine(), "x0", 3.0)


def taught(base, lessons, steps, lr, interval=(0, 1000), seed=0):
    """Train a painter on an interval of times; returns it."""
    decay = steps * 2 // 3
    recipe = Recipe(steps=steps, lr=lr, warmup=10, decay=decay, seed=seed, **RECIPE)
    rows = torch.arange(len(lessons.small))
    stage = Stage(base, lessons.loss(base, *interval), lambda data: {"row": rows})
    train(stage, lessons.data(), recipe, progress=False, log_every=100, cpu=True)
    return base.eval()


@torch.no_grad()
def drawn(base, told, seed):
    """Pictures (N, 3, 16, 16) told so, at guidance 2; picture i begins at the same noise."""
    n, null = len(told["tokens"]), nothing(told)
    noise = torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    found = []
    for rows in torch.arange(n).split(64):
        some = {name: part[rows] for name, part in told.items()}
        found.append(last(base.sample(noise[rows], some, null, SamplingOptions(2.0, 10))))
    return torch.cat(found)


def hearing(base, encoders):
    """Claims true by who tells: {who: {wording: [right, asked]}}."""
    asked, rows = questions(), {}
    for who in (("reader",), ("clip",), ("reader", "clip")):
        told = told_by(encoders.read([q["prompt"] for q in asked]), who)
        counts = {"known": [0, 0], "synonyms": [0, 0]}
        for picture, q in zip(drawn(base, told, 0), asked):
            count = counts["known" if q["known"] else "synonyms"]
            count[0] += int(verify(picture, q["caption"])[q["kind"]])
            count[1] += 1
        rows["+".join(who)] = counts
    return rows


def styled(base, encoders, lessons):
    """Captions without a ground, with the embedding of another picture, and without."""
    n = 120
    others = torch.roll(torch.arange(n), 37)
    captions = [caption_of(*name).split(" on a")[0] for name in lessons.names[:n]]
    sources = encoders.read(captions, lessons.large[others])
    found, kept = {}, {}
    for way, names in (("words", ("reader", "clip")), ("words and picture", WIDTH)):
        x = drawn(base, told_by(sources, names), 1)
        right = {"ground": "", "object": ""}
        for picture, mine, other in zip(x, lessons.names, others.tolist()):
            ground = lessons.names[other][2]
            verdict = verify(picture, caption_of(mine[0], mine[1], ground))
            right["ground"] += "01"[verdict["background"]]
            right["object"] += "01"[verdict["colour"] and verdict["shape"]]
        found[way] = right
        kept[way] = to_uint8(x[:6].clamp(-1, 1)).tolist()
    kept["picture"] = to_uint8(shrink(lessons.large[others[:6]], 16)).tolist()
    return found | {"captions": captions[:6], "pictures": kept}


@torch.no_grad()
def errors(base, lessons):
    """Mean square error of x0_hat of each picture, in either half: {half: (N,)}."""
    n, found = 256, {}
    rows = torch.arange(n)
    told = told_by(lessons.sources(rows, torch.ones(n, dtype=torch.bool)), ("reader", "clip"))
    dice = torch.Generator().manual_seed(3)
    for name, low, high in (("late", 0, BORDER), ("early", BORDER, 1000)):
        t = torch.linspace(low, high - 1, n).long()
        noise = torch.randn(n, 3, 16, 16, generator=dice)
        x_t = q_sample(base.schedule, lessons.small[:n], t, noise)
        found[name] = (base(x_t, t, told) - lessons.small[:n]).square().flatten(1).mean(1)
    return found


def experts(base, lessons, exam):
    """Errors of the painter as it is, of one trained on, of two experts, for each seed."""
    rows = {"before": [errors(base, exam)]}
    for seed in SEEDS:
        one = taught(copy.deepcopy(base), lessons, 2 * FURTHER, 0.001, seed=seed)
        rows.setdefault("one network", []).append(errors(one, exam))
        pair = copy.deepcopy(base)
        pair.network = Experts.split(base.network, [BORDER])
        for network, interval in zip(pair.network.networks, ((0, BORDER), (BORDER, 1000))):
            part = Diffusion(network, base.schedule, "x0", 3.0)
            taught(part, lessons, FURTHER, 0.001, interval, seed)
        rows.setdefault("two experts", []).append(errors(pair.eval(), exam))
        print(seed, gains(rows), flush=True)
    return {"errors": {name: means(runs) for name, runs in rows.items()}, "gain": gains(rows)}


def means(runs) -> dict:
    """{half: the mean error of each run}."""
    late = [round(run["late"].mean().item(), 6) for run in runs]
    return {"late": late, "early": [round(run["early"].mean().item(), 6) for run in runs]}


def gains(rows) -> dict:
    """{half: share of the one network's error that experts save, twice its standard error},
    picture by picture.
    """
    found = {}
    for half in ("late", "early"):
        one = torch.stack([run[half] for run in rows["one network"]]).mean(0)
        two = torch.stack([run[half] for run in rows["two experts"]]).mean(0)
        change = (one - two) / one.mean()
        error = 2 * change.std() / len(change) ** 0.5
        found[half] = [round(change.mean().item(), 4), round(error.item(), 4)]
    return found


def main():
    torch.set_num_threads(1)
    encoders = Encoders()
    lessons, exam = Lessons(encoders), Lessons(encoders, 2400, seed=6, test=True)
    torch.manual_seed(0)
    base = taught(painter(), lessons, STEPS, 0.003)
    found = {"heard": hearing(base, encoders), "style": styled(base, encoders, exam)}
    print(found["heard"], {k: v for k, v in found["style"].items() if k.startswith("words")})
    found["experts"] = experts(base, lessons, exam)
    print(found["experts"])
    about = {
        name: read_json(find_pretrained(name) / "card.json")["sha256"]
        for name in ("imagen-small", "clip-small")
    }
    about = {"weights": about, "steps": STEPS, "further": FURTHER, "border": BORDER}
    write_json(OUT, {"command": "python scripts/study_ediff.py"} | about | found)


if __name__ == "__main__":
    main()
