"""Reading 9's question: what does a language model bring to a painter that words alone do not?

python scripts/study_reader.py           # two minutes on one core; needs MiniLM

Four painters of 16 pixels learn the same pictures in the same order for the same steps, from
captions such as "a large red star on a white background". Only who reads to them differs:

random     a T5 encoder of the shipped reader's size, with random weights, frozen
learned    the same, and it learns together with the painter, as in GLIDE
distilled  the same, with the shipped reader's weights, frozen
minilm     MiniLM, the distilled reader's teacher, frozen: 22.6 million weights

Then each is asked for pictures in words that no caption of its training held: one word of a
caption of a held-out scene is exchanged for a synonym ("crimson" for "red"). Writes
nbs/readings/studies/reader.json:

known      by reader and kind: of the words of the training, how many pictures show them
words      by reader: for each synonym how many of its pictures show what it means, a seed each
heard      synonyms that stand in the emoji's captions or tags, of which the distilled reader
           learned; the painters never saw an emoji
"""

import re
from pathlib import Path

import torch
from torch import nn

from t2i_course.data.captioned import CaptionedImages, one_object, verify
from t2i_course.data.emoji import STYLES, records
from t2i_course.data.shapes import BACKGROUNDS, COLOURS, SHAPES
from t2i_course.diffusion import Schedule
from t2i_course.guidance import Diffusion, SamplingOptions
from t2i_course.imagen import Imagen
from t2i_course.networks.imagen_unet import ImagenUNet
from t2i_course.networks.language import Reader, read_all
from t2i_course.published.minilm import minilm
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import Stage, last
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

OUT = Path("nbs/readings/studies/reader.json")
RECIPE = Recipe(steps=250, batch_size=32, lr=0.003, optimizer="muon", warmup=20, decay=180,
                ema=0.97)  # fmt: skip
SEEDS, PICTURES = (0,), 4
SYNONYMS = {
    "colour": {
        "red": ("crimson", "scarlet", "ruby"),
        "green": ("emerald", "lime", "olive"),
        "blue": ("azure", "navy", "sapphire"),
        "yellow": ("golden", "lemon", "canary"),
        "purple": ("violet", "lilac", "lavender"),
        "orange": ("tangerine", "amber", "apricot"),
    },
    "shape": {
        "circle": ("disc", "ball", "sphere"),
        "square": ("box", "block", "cube"),
        "triangle": ("pyramid", "wedge", "trigon"),
        "star": ("pentagram", "asterisk", "starfish"),
        "cross": ("plus", "crucifix", "x"),
    },
    "background": {
        "white": ("snowy", "ivory", "pale"),
        "black": ("dark", "ebony", "jet"),
        "gray": ("grey", "ashen", "silver"),
        "pink": ("rosy", "salmon", "rose"),
    },
}


def caption_of(colour: str, shape: str, ground: str) -> str:
    """The caption of one large object."""
    article = "an" if ground[0] in "aeiou" else "a"
    return f"a large {colour} {shape} on {article} {ground} background"


def held_out(colour: str, shape: str, ground: str) -> bool:
    """Whether a scene is kept for the test: a sixth are, each word in as many as the others."""
    tables = (COLOURS, SHAPES, BACKGROUNDS)
    c, s, b = (list(t).index(w) for t, w in zip(tables, (colour, shape, ground)))
    return (c + s + 2 * b) % 6 == 0


def lessons(n: int = 4000) -> CaptionedImages:
    """Pictures of 16 px of the training scenes, one large object each, and their captions."""
    images, names = one_object(n, 16, seed=5)
    captions = [caption_of(*name) for name in names]
    keep = [i for i, name in enumerate(names) if not held_out(*name)]
    pixels = ((images[keep] + 1) * 127.5).round().byte()
    texts, count = [captions[i] for i in keep], len(keep)
    return CaptionedImages(
        pixels, texts, [[]] * count, ["shapes"] * count, texts, ["train"] * count,
        torch.ones(count),
    )  # fmt: skip


def test_names() -> list[tuple[str, str, str]]:
    """Colour, shape and background of all scenes that no painter has seen."""
    names = [(c, s, b) for c in COLOURS for s in SHAPES for b in BACKGROUNDS]
    return [name for name in names if held_out(*name)]


def questions() -> list[dict]:
    """What is asked: {"kind", "word", "prompt", "caption"}, PICTURES for each synonym, and as
    many for each word of the training.
    """
    asked, scenes = [], test_names()
    for place, (kind, table) in enumerate(SYNONYMS.items()):
        for known, others in table.items():
            having = [name for name in scenes if name[place] == known]
            assert having, f"no held-out scene has {known!r}"
            for word in (known, *others):
                for i in range(PICTURES):
                    name = having[i % len(having)]
                    said = list(name)
                    said[place] = word
                    asked.append({
                        "kind": kind, "word": word, "known": word == known,
                        "prompt": caption_of(*said), "caption": caption_of(*name),
                    })  # fmt: skip
    return asked


class Painter(nn.Module):
    """A small base and whoever reads to it; `learns`: the reader is trained too."""

    def __init__(self, language, learns: bool = False):
        super().__init__()
        self.reader, self.learns = [language], learns  # in a list: frozen, and no part
        if learns:
            self.own = language
        network = ImagenUNet(
            text_dim=language.dim, channels=32, multipliers=(1, 1), depth=1, attention=(1,),
            head_dim=16, patch=2, groups=16, emb_dim=96, pool_heads=3,
        )  # fmt: skip
        self.base = Diffusion(network, Schedule.cosine(), "x0", 3.0)

    def read(self, captions):
        """What the base is told of captions, and of none."""
        language = self.reader[0]
        if self.learns:
            told = language(language.encode(captions))
        else:
            told = language.read(captions)
        return told, self.null(told)

    def null(self, told):
        """States of zero, one row."""
        first = torch.arange(told["mask"].shape[1]) == 0
        return {"tokens": torch.zeros_like(told["tokens"][:1]), "mask": first[None]}

    def loss(self, batch):
        """The base's, told what the reader says."""
        if self.learns:
            told, null = self.read(batch["caption"])
        else:
            longest = int(batch["mask"].sum(1).max())
            told = {"tokens": batch["tokens"].float()[:, :longest]}
            told["mask"] = batch["mask"][:, :longest]
            null = self.null(told)
        return self.base.loss(batch["image"], told, null, 0.1)

    def prepare(self, data):
        """A frozen reader is asked once."""
        return {} if self.learns else read_all(self.reader[0], data.captions, progress=False)

    @torch.no_grad()
    def draw(self, prompts, seed):
        """Pictures (N, 3, 16, 16) of prompts, at guidance 2."""
        dice = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(prompts), 3, 16, 16, generator=dice)
        found = []
        for x_T, some in zip(noise.split(64), batches(prompts, 64)):
            told, null = self.read(some)
            options = SamplingOptions(2.0, 10)
            found.append(last(self.base.sample(x_T, told, null, options)))
        return torch.cat(found)


def batches(items, n):
    """The items in lists of n."""
    return [items[i : i + n] for i in range(0, len(items), n)]


def readers(shipped: Imagen) -> dict:
    """{name: (language, whether it learns)}, random ones drawn anew."""

    def fresh():
        return Reader(shipped.language.tokenizer, **sizes)

    sizes = {k: v for k, v in shipped.config["language"].items() if k != "name"}
    return {
        "random": (fresh(), False),
        "learned": (fresh(), True),
        "distilled": (shipped.language, False),
        "minilm": (minilm(), False),
    }


def heard() -> list[str]:
    """Synonyms that stand in an emoji's caption or tags."""
    texts = [r["label"] + " " + " ".join(r["tags"]) for s in STYLES for r in records(s)]
    words = set(re.findall(r"[a-z]+", " ".join(texts).lower()))
    synonyms = {w for table in SYNONYMS.values() for some in table.values() for w in some}
    return sorted(synonyms & words)


def main():
    torch.set_num_threads(1)
    shipped, data, asked = Imagen.from_pretrained("imagen-small"), lessons(), questions()
    known, words, losses = {}, {}, {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        for name, (language, learns) in readers(shipped).items():
            torch.manual_seed(100 + seed)
            painter = Painter(language, learns)
            stage = Stage(painter, painter.loss, painter.prepare)
            history = train(stage, data, RECIPE, progress=False, log_every=50, cpu=True)
            drawn = painter.eval().draw([q["prompt"] for q in asked], seed)
            for picture, q in zip(drawn, asked):
                right = int(verify(picture, q["caption"])[q["kind"]])
                if q["known"]:
                    row = known.setdefault(name, {}).setdefault(q["kind"], [0] * len(SEEDS))
                else:
                    row = words.setdefault(name, {}).setdefault(q["word"], [0] * len(SEEDS))
                row[SEEDS.index(seed)] += right
            losses.setdefault(name, []).append(round(history[-1]["loss"], 5))
            new = [v[SEEDS.index(seed)] for v in words[name].values()]
            old = {kind: counts[SEEDS.index(seed)] for kind, counts in known[name].items()}
            print(seed, name, losses[name][-1], sum(new) / len(new) / PICTURES, old, flush=True)
    write_json(OUT, {
        "command": "python scripts/study_reader.py",
        "weights": read_json(find_pretrained("imagen-small") / "card.json")["sha256"],
        "steps": RECIPE.steps, "pictures": len(data), "asked_each": PICTURES,
        "synonyms": SYNONYMS, "heard": heard(), "loss": losses, "known": known, "words": words,
    })  # fmt: skip


if __name__ == "__main__":
    main()
