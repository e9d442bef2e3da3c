"""Reading 8's questions with enough captions to answer them, on the shipped weights.

python scripts/study_unclip.py              # all of it: half an hour on one core
python scripts/study_unclip.py told diffs   # some of it; the rest of the file stays

Writes nbs/readings/studies/unclip.json. Everything is drawn at the decoder's own 32 px, by
dpm++, from fixed seeds; what is true is said by the pixel reader, `verify`. A row of verdicts
has one character a caption: 1 true, 0 false, - not claimed.

told       the paper's Figure 8: the same captions and noise, the decoder told different things
prior      guidance and candidates of the prior: its embeddings, and what they paint alone
binding    two things and their attributes, painted from the embedding of a true picture
glide      the captions of study_first_guess.py, for a comparison with GLIDE caption by caption
diversity  how different pictures of one caption are, by guidance, for unCLIP and GLIDE
           (its two GLIDEs come out of the git history)
diffs      text diffs of one attribute, by amount, beside a random direction
attack     a written word, a blank label of its size or a sticker on an emoji: what CLIP answers
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from study_first_guess import EARLIER, LATER, earlier, verdicts
from tqdm.auto import tqdm

from t2i_course.data.captioned import shapes, to_float, verify
from t2i_course.data.emoji import records, render
from t2i_course.data.shapes import BACKGROUNDS, COLOURS, SHAPES, layout, read_caption
from t2i_course.data.shapes import draw as draw_shapes
from t2i_course.data.shapes import sample_shapes, write_caption
from t2i_course.glide import GLIDE
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import last, noise_like, picture_generators
from t2i_course.unclip import UnCLIP, slerp

OUT = Path("nbs/readings/studies/unclip.json")
STEPS, BATCH = 10, 60
model = UnCLIP.from_pretrained("unclip-small")


def scene(caption, seed=0, size=32):
    """A picture (3, size, size) of a caption of shapes, by the program that drew the data."""
    claim = read_caption(caption)
    pixels = draw_shapes(layout(claim, np.random.default_rng(seed)), claim.background, size)
    return to_float(torch.from_numpy(pixels.copy()).permute(2, 0, 1))


@torch.no_grad()
def paint(z, captions, seeds, x_T=None, **options):
    """The decoder's pictures (N, 3, 32, 32). z (N, embed), None: no embedding; captions:
    N, empty ones are not told; seeds: of the noise, N.
    """
    found, chosen = [], model.options.given(**({"num_steps": STEPS} | options))
    for k in range(0, len(captions), BATCH):
        some, here = captions[k : k + BATCH], slice(k, k + BATCH)
        generators = picture_generators(seeds[here], len(some))
        embeddings, noise = (part if part is None else part[here] for part in (z, x_T))
        for step in model.decoding(embeddings, some, chosen, generators, noise):
            if step.i == chosen.num_steps - 1:
                break
        found.append(step.x[..., ::2, ::2].clamp(-1, 1))
    return torch.cat(found)


def silence(captions):
    """As many empty captions."""
    return [""] * len(captions)


def held_out(n, seed):
    """Captions and CLIP's embeddings of true pictures, (n, embed)."""
    data = shapes(n, 32, seed=seed, split="test")
    with torch.no_grad():
        return data.captions, model.see(to_float(data.images))


def told():
    captions, true = held_out(200, seed=21)
    given = {"no embedding": None, "true picture": true}
    for prior in ("text", "diffusion", "ar"):
        given[prior] = model.imagine(captions, prior=prior, seed=list(range(200)))
    rows, seeds = {}, list(range(200))
    for name, z in tqdm(given.items()):
        rows[name] = {"with caption": verdicts(paint(z, captions, seeds), captions)}
        if z is not None:
            alone = paint(z, silence(captions), seeds)
            rows[name]["alone"] = verdicts(alone, captions)
    return {"captions": 200, "seed": 21, "guidance": model.options.guidance, "rows": rows}


def prior():
    captions, true = held_out(100, seed=22)
    z_t, rows = model.read(captions)["vector"], []
    for guidance in (1.0, 1.5, 4.0):
        for candidates in (1, 2, 8):
            how = dict(prior_guidance=guidance, candidates=candidates)
            firsts = [list(range(s, s + 100)) for s in (0, 10_000)]
            z, other = (model.imagine(captions, seed=s, **how) for s in firsts)
            row = {"to_true": z * true, "to_text": z * z_t, "two_draws": z * other}
            row = {name: round(float(x.sum(-1).mean()), 4) for name, x in row.items()}
            if candidates == 2:
                x = paint(z, silence(captions), list(range(100)))
                row["all_true"] = verdicts(x, captions)["all true"]
            rows.append(how | row)
    return {"captions": 100, "seed": 22, "rows": rows}


def exchanged(caption):
    """The caption of two things with their colours exchanged; "" where nothing would change."""
    claim = read_caption(caption)
    if claim.relation or len(claim.objects) != 2:
        return ""
    (colour, shape), (other, second) = claim.objects
    if colour == other or shape == second:
        return ""
    return write_caption(replace(claim, objects=((other, shape), (colour, second))))


def binding():
    asked = dict.fromkeys(sample_shapes(4000, 32, seed=23, split="test")[1])
    pairs = [(c, exchanged(c)) for c in asked if exchanged(c)]
    captions, others = (list(side) for side in zip(*pairs[:120]))
    true = model.see(torch.stack([scene(c, i) for i, c in enumerate(captions)]))
    right, wrong = (model.read(side)["vector"] for side in (captions, others))
    knows = (true * right).sum(-1) > (true * wrong).sum(-1)
    found, seeds = {}, list(range(len(captions)))
    given = {"true picture": true, "diffusion": model.imagine(captions, seed=seeds)}
    for name, z in given.items():
        x = paint(z, silence(captions), seeds)
        found[name] = {
            "right": verdicts(x, captions)["binding"],
            "exchanged": verdicts(x, others)["binding"],
        }
    return {
        "captions": len(captions),
        "clip_prefers_the_right_one": "".join("01"[int(k)] for k in knows),
        "rows": found,
    }


def glide():
    first = read_json(OUT.parent / "first_guess.json")
    captions = sample_shapes(first["captions"], 32, seed=17, split="test")[1]
    how = dict(num_steps=first["num_steps"], guidance=first["guidance"]["without"])
    seeds, rows = list(range(len(captions))), {}
    given = {"unclip": model.imagine(captions, seed=seeds)}
    for name, z in tqdm(given.items()):
        rows[name] = verdicts(paint(z, captions, seeds, **how), captions)
    return how | {"captions": len(captions), "glides": first["commits"], "rows": rows}


def mean_of(values):
    """The mean of some numbers, None where there are none."""
    return round(float(values.mean()), 4) if len(values) else None


def apart(x, verdict):
    """{what: mean distance of two pictures of one caption, a number a caption}: in pixels (root
    mean square) and as CLIP sees them (1 - cosine); of all, and of those all true (None where
    there are no two). x: (captions, n, 3, 32, 32); verdict: (captions, n) bool.
    """
    n, found = x.shape[1], {}
    i, j = torch.triu_indices(n, n, 1)
    pixels = (x[:, i] - x[:, j]).square().mean((2, 3, 4)).sqrt()
    z = model.see(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    seen = 1 - (z[:, i] * z[:, j]).sum(-1)
    both = verdict[:, i] & verdict[:, j]
    for name, distance in (("pixels", pixels), ("clip", seen)):
        found[name] = [mean_of(d) for d in distance]
        rows = zip(distance, both)
        found[f"{name}, true"] = [mean_of(d[b]) for d, b in rows]
    return found


@torch.no_grad()
def of_glide(system, captions, seeds, guidance):
    """The base's pictures (N, 3, 32, 32), picture i from seed i."""
    found, options = [], system.options.given(num_steps=STEPS, guidance=guidance)
    for k in range(0, len(captions), BATCH):
        some = captions[k : k + BATCH]
        generators = picture_generators(seeds[k : k + BATCH], len(some))
        x_T = noise_like(torch.empty(len(some), 3, 32, 32), generators)
        found.append(last(system.base.sample(x_T, *system.base_conditions(some), options)))
    return torch.cat(found).clamp(-1, 1)


def diversity(captions=30, n=4):
    asked = sample_shapes(captions, 32, seed=24, split="test")[1]
    each = [c for c in asked for _ in range(n)]
    seeds = list(range(len(each)))
    fresh = model.imagine(each, seed=seeds)
    one = fresh[::n].repeat_interleave(n, 0)
    with_guess, _ = earlier(GLIDE, LATER, "glide-small")
    without, _ = earlier(GLIDE, EARLIER, "glide-small")
    systems = {
        "unCLIP": lambda s: paint(fresh, each, seeds, guidance=s),
        "unCLIP, one embedding": lambda s: paint(one, each, seeds, guidance=s),
        "unCLIP, caption alone": lambda s: paint(None, each, seeds, guidance=s),
        "GLIDE": lambda s: of_glide(without, each, seeds, s),
        "GLIDE with a first guess": lambda s: of_glide(with_guess, each, seeds, s),
    }
    true = torch.stack([scene(c, seed=i) for i, c in enumerate(each)])
    rows = []
    for name, draw in tqdm({"true pictures": None, **systems}.items()):
        for guidance in (1.0, 2.5, 6.0) if draw else (None,):
            x = draw(guidance) if draw else true
            verdict = [all(verify(p, c).values()) for p, c in zip(x, each)]
            verdict = torch.tensor(verdict).view(-1, n)
            row = {"system": name, "guidance": guidance}
            row["all_true"] = [round(float(v), 4) for v in verdict.float().mean(1)]
            rows.append(row | apart(x.unflatten(0, (-1, n)), verdict))
    return {"captions": captions, "each": n, "rows": rows}


def changes(n, dice):
    """n rows (picture, before, after, category): one attribute of a large thing exchanged."""
    kinds, rows = {"colour": COLOURS, "shape": SHAPES, "background": BACKGROUNDS}, []
    for i in range(n):
        now = {kind: str(dice.choice(list(values))) for kind, values in kinds.items()}
        kind = list(kinds)[i % 3]
        others = [v for v in kinds[kind] if v != now[kind]]
        words = "a large {colour} {shape} on a {background} background"
        before = words.format(**now)
        after = words.format(**now | {kind: str(dice.choice(others))})
        rows.append((scene(before, i), before, after, kind))
    return rows


def diffs(n=60):
    dice, amounts = np.random.default_rng(25), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    rows = changes(n, dice)
    before, after, kinds = (list(column) for column in list(zip(*rows))[1:])
    pictures = torch.stack([row[0] for row in rows])
    z, x_T = model.invert(pictures, num_steps=12)
    directions = model.read(after)["vector"] - model.read(before)["vector"]
    anywhere = torch.randn(directions.shape, generator=torch.Generator().manual_seed(0))
    ways, found = {"diff": directions, "random": anywhere}, {}
    for way, direction in tqdm(ways.items()):
        for amount in amounts:
            turned = slerp(z, F.normalize(direction, dim=-1), torch.full((n,), amount))
            options = dict(sampler="ddim", guidance=1.0, num_steps=12)
            x = paint(turned, silence(before), list(range(n)), x_T, **options)
            said = [verify(p, c) for p, c in zip(x, after)]
            there = "".join("01"[s[k]] for s, k in zip(said, kinds))
            rest = "".join("01"[all({**s, k: True}.values())] for s, k in zip(said, kinds))
            moved = (x - pictures).square().mean((1, 2, 3)).sqrt().mean()
            row = {"changed": there, "rest": rest, "moved": round(float(moved), 4)}
            found[f"{way} {amount}"] = row
    return {"pictures": n, "kinds": kinds, "rows": found}


def labelled(picture, word, ink=True):
    """A picture (3, 64, 64) with a white label on it that says `word`, or nothing."""
    pixels = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    image, font = Image.fromarray(pixels.copy()), ImageFont.load_default(18)
    pen = ImageDraw.Draw(image)
    width = pen.textlength(word, font=font)
    pen.rectangle([30 - width / 2, 22, 34 + width / 2, 44], fill="white")
    if ink:
        pen.text((32 - width / 2, 22), word, fill="black", font=font)
    return to_float(torch.from_numpy(np.array(image)).permute(2, 0, 1))


def sticker(picture, other, side):
    """A picture (3, 64, 64) with another in its lower right corner, `side` pixels wide."""
    x = picture.clone()
    x[:, -side:, -side:] = F.interpolate(other[None], (side, side), mode="area")[0]
    return x


NAMES = ("green apple", "red apple", "fox", "sun", "cat face", "dog face", "red heart")
NAMES += ("grinning face", "pizza", "rocket", "cactus", "banana", "frog", "snowman")
WORDS = {n: n.split()[-1 if "face" not in n else 0] for n in NAMES}


def attack():
    art = {r["label"]: r["svg"] for r in records("noto")}
    pictures = {}
    for name in NAMES:
        pixels = torch.from_numpy(render(art[name], 64).copy())
        pictures[name] = to_float(pixels.permute(2, 0, 1))
    z_t = model.read([f"{name}, noto style" for name in NAMES])["vector"]
    kinds = {
        "nothing": lambda a, b: pictures[a],
        "blank label": lambda a, b: labelled(pictures[a], WORDS[b], ink=False),
        "written word": lambda a, b: labelled(pictures[a], WORDS[b]),
        "sticker of 24": lambda a, b: sticker(pictures[a], pictures[b], 24),
        "sticker of 40": lambda a, b: sticker(pictures[a], pictures[b], 40),
    }
    pairs = [(a, b) for a in NAMES for b in NAMES if WORDS[a] != WORDS[b]]
    found = {}
    for kind, make in kinds.items():
        x = torch.stack([make(a, b) for a, b in pairs])
        answers = [NAMES[i] for i in (model.see(x) @ z_t.T).argmax(1).tolist()]
        rows = list(zip(answers, pairs))
        found[kind] = {
            "still": "".join("01"[answer == a] for answer, (a, _) in rows),
            "the other": "".join("01"[answer == b] for answer, (_, b) in rows),
        }
    return {"pairs": len(pairs), "names": list(NAMES), "rows": found}


PARTS = (told, prior, binding, glide, diversity, diffs, attack)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [part.__name__ for part in PARTS]
    weights = read_json(find_pretrained("unclip-small") / "card.json")["sha256"]
    found = read_json(OUT) if OUT.is_file() else {}
    if found.get("weights") != weights:
        found = {}
    found |= {"command": "python scripts/study_unclip.py", "weights": weights, "steps": STEPS}
    for part in PARTS:
        if part.__name__ in wanted:
            print(part.__name__, flush=True)
            found[part.__name__] = part()
            write_json(OUT, found)


if __name__ == "__main__":
    main()
