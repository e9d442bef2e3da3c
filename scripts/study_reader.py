"""Reading 9's question: what does a language model bring to a painter that words alone do not?

python scripts/study_reader.py           # a minute on one core; needs MiniLM

Four painters learn the same captions, such as "a large red star on a white background", for the
same steps. Each draws what a diffusion model must answer first, at pure noise: the mean of all
pictures of the caption, 16 pixels. Only who reads to them differs:

random     a T5 encoder of the shipped reader's size, with random weights, frozen
learned    the same, and it learns together with the painter, as in GLIDE
distilled  the same, with the shipped reader's weights, frozen
minilm     MiniLM, the distilled reader's teacher, frozen: 22.6 million weights

Then each is asked for scenes it has not seen, in words that no caption of its training held:
one word is exchanged for a synonym ("crimson" for "red"). The picture is compared with the true
means of all scenes that differ in that word; the nearest says what was understood. Writes
nbs/readings/studies/reader.json:

known      by reader and kind: of the words of the training, how many were understood, by seed
words      by reader: for each synonym how often it was understood, a number a seed
heard      synonyms that stand in the emoji's captions or tags, of which the distilled reader
           learned; the painters never saw an emoji
"""

import re
from pathlib import Path

import torch
from torch import nn

from t2i_course.data.captioned import CaptionedImages, one_object
from t2i_course.data.emoji import STYLES, records
from t2i_course.data.shapes import BACKGROUNDS, COLOURS, SHAPES
from t2i_course.imagen import Imagen
from t2i_course.networks.imagen_unet import TextPool
from t2i_course.networks.language import Reader, read_all
from t2i_course.published.minilm import minilm
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.system import Stage
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

OUT = Path("nbs/readings/studies/reader.json")
RECIPE = Recipe(steps=300, batch_size=32, lr=0.002, warmup=20, decay=200, ema=0.97)
SEEDS, PICTURES = (0, 1, 2), 4
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


def mean_pictures(n: int = 6000) -> dict:
    """{(colour, shape, background): the mean of its pictures, (3, 16, 16)}."""
    images, names = one_object(n, 16, seed=5)
    rows = {}
    for i, name in enumerate(names):
        rows.setdefault(name, []).append(i)
    return {name: images[at].mean(0) for name, at in rows.items()}


def lessons(means: dict) -> CaptionedImages:
    """The training scenes: mean pictures and their captions."""
    names = [name for name in means if not held_out(*name)]
    pixels = torch.stack([((means[name] + 1) * 127.5).round().byte() for name in names])
    texts, n = [caption_of(*name) for name in names], len(names)
    return CaptionedImages(
        pixels, texts, [[]] * n, ["shapes"] * n, texts, ["train"] * n, torch.ones(n)
    )


def test_names() -> list[tuple[str, str, str]]:
    """Colour, shape and background of all scenes that no painter has seen."""
    names = [(c, s, b) for c in COLOURS for s in SHAPES for b in BACKGROUNDS]
    return [name for name in names if held_out(*name)]


def questions() -> list[dict]:
    """What is asked: {"kind", "word", "known", "prompt", "scene"}, PICTURES for each synonym,
    and as many for each word of the training.
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
                        "prompt": caption_of(*said), "scene": name,
                    })  # fmt: skip
    return asked


def understood(picture, q: dict, means: dict) -> bool:
    """Whether the nearest of the scenes that differ in the asked word is the one meant."""
    words, place = list(SYNONYMS[q["kind"]]), list(SYNONYMS).index(q["kind"])
    name, errors = list(q["scene"]), {}
    for word in words:
        name[place] = word
        errors[word] = (picture - means[tuple(name)]).square().mean().item()
    return min(errors, key=errors.get) == q["scene"][place]


class Painter(nn.Module):
    """From what is read, pooled, to a picture; `learns`: the reader is trained too."""

    def __init__(self, language, learns: bool = False):
        super().__init__()
        self.reader, self.learns = [language], learns  # in a list: frozen, and no part
        if learns:
            self.own = language
        self.pool = TextPool(language.dim, 128, 3)
        widths = nn.Linear(128, 256), nn.Linear(256, 3 * 16 * 16)
        self.picture = nn.Sequential(widths[0], nn.GELU(), widths[1])

    def forward(self, told):
        """Pictures (B, 3, 16, 16) of what is told."""
        return self.picture(self.pool(told["tokens"], told["mask"])).unflatten(1, (3, 16, 16))

    def loss(self, batch):
        """Squared error of the mean picture."""
        if self.learns:
            told = self.own(self.own.encode(batch["caption"]))
        else:
            told = {"tokens": batch["tokens"].float(), "mask": batch["mask"]}
        return {"loss": nn.functional.mse_loss(self(told), batch["image"])}

    def prepare(self, data):
        """A frozen reader is asked once."""
        return {} if self.learns else read_all(self.reader[0], data.captions, progress=False)

    @torch.no_grad()
    def draw(self, prompts):
        """Pictures (N, 3, 16, 16) of prompts."""
        return self(self.reader[0].read(prompts))


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


def count(table: dict, key: str, place: int, right: bool):
    """Add a verdict to a row of one number a seed."""
    table.setdefault(key, [0] * len(SEEDS))[place] += int(right)


def main():
    torch.set_num_threads(1)
    shipped, means, asked = Imagen.from_pretrained("imagen-small"), mean_pictures(), questions()
    data = lessons(means)
    known, words, losses = {}, {}, {}
    for place, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        for name, (language, learns) in readers(shipped).items():
            torch.manual_seed(100 + seed)
            painter = Painter(language, learns)
            stage = Stage(painter, painter.loss, painter.prepare)
            history = train(stage, data, RECIPE, progress=False, log_every=50, cpu=True)
            drawn = painter.eval().draw([q["prompt"] for q in asked])
            tables = known.setdefault(name, {}), words.setdefault(name, {})
            for picture, q in zip(drawn, asked):
                right = understood(picture, q, means)
                count(tables[0] if q["known"] else tables[1],
                      q["kind" if q["known"] else "word"], place, right)  # fmt: skip
            losses.setdefault(name, []).append(round(history[-1]["loss"], 5))
            new = sum(row[place] for row in words[name].values()) / len(words[name]) / PICTURES
            print(seed, name, losses[name][-1], round(new, 3), known[name], flush=True)
    write_json(OUT, {
        "command": "python scripts/study_reader.py",
        "weights": read_json(find_pretrained("imagen-small") / "card.json")["sha256"],
        "steps": RECIPE.steps, "scenes": len(data), "asked_each": PICTURES,
        "synonyms": SYNONYMS, "heard": heard(), "loss": losses, "known": known, "words": words,
    })  # fmt: skip


if __name__ == "__main__":
    main()
