"""Whatever is wrong with a picture, a mask, a file or a number, every public method that takes
one says so itself, in words: never an error of torch or PIL, never a drawing from it.
"""

import linecache
import traceback
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CAPTIONS, SPEECHLESS, SYSTEMS, lesson, made

from t2i_course.data.captioned import CaptionedImages
from t2i_course.data.emoji import read_archive, render_style
from t2i_course.data.pictures import open_picture, read_mask, read_picture, to_pil, to_pixels
from t2i_course.data.shapes import parse, verify
from t2i_course.glide import GLIDE
from t2i_course.measure.evaluation import best_of
from t2i_course.networks.codebooks import psnr
from t2i_course.networks.perception import perceptual_distance
from t2i_course.papers.cards import read_paper
from t2i_course.storage import load_tensors, read_json
from t2i_course.system import Gallery
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe, read_recipes
from t2i_course.widgets.plots import compare, show_images, tile, to_picture

SIDE, TWO = 16, CAPTIONS[:2]
PROMPT = CAPTIONS[0]
model = cache(made)


def picture(side: int = SIDE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(3, side, side, generator=generator) * 2 - 1


def mask(*shape: int) -> torch.Tensor:
    half = torch.zeros(*(shape or (SIDE, SIDE)))
    half[..., : half.shape[-2] // 2, :] = 1
    return half


ANYTHING = {
    "nothing": None,
    "a number": 0.5,
    "a name": "fox.png",
    "a list": [[0.0, 1.0]],
    "a module": torch.nn.Identity(),
}
PICTURES = ANYTHING | {
    "of numpy": picture().numpy(),
    "of PIL": to_pil(picture()),
    "bytes": picture().mul(100).add(100).byte(),
    "whole numbers": picture().round().long(),
    "true and false": picture() > 0,
    "complex": picture().to(torch.complex64),
    "bytes as floats": picture().add(1).mul(127),
    "beyond -1 and 1": picture() * 3,
    "a NaN": picture().index_fill(1, torch.tensor([3]), torch.nan),
    "an infinity": picture().index_fill(1, torch.tensor([3]), torch.inf),
    "sparse": picture().to_sparse(),
    "empty": torch.zeros(0, 3, SIDE, SIDE),
    "one number": torch.tensor(0.5),
    "a row": picture()[0, 0],
    "grey": picture()[0],
    "one channel": picture()[:1],
    "four channels": torch.cat([picture(), picture()[:1]]),
    "channels last": picture().permute(1, 2, 0),
    "oblong": picture()[:, :, : SIDE // 2],
    "five dimensions": picture()[None, None],
    "odd size": picture(SIDE + 1),
    "tiny": picture(1),
}
MASKS = ANYTHING | {
    "of numpy": mask().numpy(),
    "complex": mask().to(torch.complex64),
    "beyond 1": mask() * 255,
    "below 0": -mask(),
    "a NaN": mask() * torch.nan,
    "sparse": mask().to_sparse(),
    "empty": torch.zeros(0, SIDE),
    "nowhere": torch.zeros(SIDE, SIDE),
    "one number": torch.tensor(1.0),
    "a row": torch.ones(SIDE),
    "oblong": mask(SIDE, SIDE // 2),
    "five dimensions": mask()[None, None, None],
    "of three channels": mask(3, SIDE, SIDE),
    "odd size": mask(SIDE + 1, SIDE + 1),
}
FEW = dict(num_steps=2)


def batch(x):
    """A batch of one, where x is one picture."""
    return x[None] if getattr(x, "ndim", 0) == 3 else x


def enlarged(x):
    return model("imagen").enlarge(batch(x), TWO[:1], up_steps=2)


def painted(region):
    return model("imagen").paint(PROMPT, {"star": region}, num_steps=2, up_steps=2)


# what takes a picture: {name: (call, the wrong ones that are right there)}
SIZES = {"odd size", "tiny", "oblong"}
# values are looked at once, where a system takes the picture
VALUES = {"bytes as floats", "beyond -1 and 1", "a NaN", "an infinity"} | {"sparse"}
LOOKS = {
    "CLIP.image_features": (lambda x: model("clip").image_features(batch(x)), set()),
    "CLIP.similarity": (lambda x: model("clip").similarity(batch(x), TWO), set()),
    "CLIP.rerank": (lambda x: model("clip").rerank(batch(x), PROMPT), set()),
    "best_of": (lambda x: best_of(batch(x), [PROMPT], 1, model("clip")), SIZES),
    "GLIDE.edit": (lambda x: model("glide").edit(x, mask(), TWO, **FEW), set()),
    "GLIDE.image_to_image": (lambda x: model("glide").image_to_image(x, TWO, **FEW), set()),
    "LatentDiffusion.edit": (lambda x: model("ldm").edit(x, mask(), TWO, **FEW), set()),
    "LatentDiffusion.image_to_image": (
        lambda x: model("ldm").image_to_image(x, TWO, **FEW),
        set(),
    ),
    "UnCLIP.see": (lambda x: model("unclip").see(x), {"odd size", "tiny"}),
    "UnCLIP.invert": (lambda x: model("unclip").invert(x, 2), {"odd size"}),
    "UnCLIP.vary": (lambda x: model("unclip").vary(x, 1, **FEW), {"odd size"}),
    "UnCLIP.interpolate first": (
        lambda x: model("unclip").interpolate(x, picture(), 2, **FEW),
        set(),
    ),
    "UnCLIP.interpolate second": (
        lambda x: model("unclip").interpolate(picture(), x, 2, **FEW),
        set(),
    ),
    "UnCLIP.text_diff": (
        lambda x: model("unclip").text_diff(x, *TWO, amounts=[0.2], **FEW),
        {"odd size"},
    ),
    "Imagen.enlarge": (enlarged, set()),
    "Palette.edit": (lambda x: model("palette").edit(x, "restore", **FEW), set()),
    "DiscreteVAE.ids": (lambda x: model("dalle").dvae.ids(batch(x)), {"sparse"} | {"oblong"}),
    "Autoencoder.encode": (
        lambda x: model("ldm").autoencoder.encode(batch(x)),
        VALUES | {"oblong"},
    ),
    "LatentDiffusion.to_latent": (
        lambda x: model("ldm").to_latent(batch(x)),
        VALUES | {"oblong"},
    ),
}
MASKED = {
    "GLIDE.edit": lambda m: model("glide").edit(picture(), m, TWO, **FEW),
    "LatentDiffusion.edit": lambda m: model("ldm").edit(picture(), m, TWO, **FEW),
    "Palette.edit": lambda m: model("palette").edit(picture(), "fill", m, **FEW),
    "Imagen.paint": painted,
    "Imagen.paint_maps": lambda m: model("imagen").paint_maps(PROMPT, {"star": m}, 24),
}


def answer(call, wrong) -> str:
    """What is wrong with the answer to a wrong argument; nothing where it is refused in words:
    by a `raise` of the course, a ValueError or a TypeError of more than four words.
    """
    try:
        call(wrong)
    except Exception as e:
        last = traceback.extract_tb(e.__traceback__)[-1]
        line = linecache.getline(last.filename, last.lineno)
        ours = "t2i_course" in last.filename and "raise" in line
        if ours and isinstance(e, (ValueError, TypeError)) and len(str(e).split()) > 4:
            return ""
        return f"{type(e).__name__}: {e} ({Path(last.filename).name}:{last.lineno})"
    return "accepted"


def refuses(call, wrong: dict, right: set = frozenset()):
    """Each of these wrong arguments is refused in words, except the kinds that are right."""
    answers = {kind: answer(call, value) for kind, value in wrong.items() if kind not in right}
    assert not {kind: said for kind, said in answers.items() if said}


@pytest.mark.parametrize("name", LOOKS)
def test_a_wrong_picture(name):
    call, right = LOOKS[name]
    refuses(call, PICTURES, right)


# what shows a picture also takes bytes, numpy, PIL, one channel and any size
SHOWN = {"of numpy", "of PIL", "bytes", "true and false", "beyond -1 and 1", "oblong"} | SIZES
SHOWN |= {"grey", "one channel", "channels last", "a list"}
DRAWN = SIZES | {"of numpy", "bytes", "true and false", "beyond -1 and 1"}
SHOWS = {
    "to_pixels": (to_pixels, SHOWN),
    "to_picture": (to_picture, SHOWN),
    "compare": (lambda x: compare(x)._repr_html_(), SHOWN),
    "show_images": (lambda x: show_images([x]), SHOWN),
    "tile": (lambda x: tile([x]), SHOWN),
    "parse": (parse, SHOWN - {"oblong", "a list"}),
    "verify": (lambda x: verify(x, PROMPT), SHOWN - {"oblong", "a list"}),
    "to_pil": (to_pil, DRAWN),
    "Gallery": (lambda x: Gallery(batch(x), ["a fox"]).grid(), DRAWN),
    "psnr": (
        lambda x: psnr(batch(x), picture()[None]),
        VALUES | {"bytes", "complex", "true and false", "whole numbers"},
    ),
}


@pytest.mark.parametrize("name", SHOWS)
def test_a_wrong_picture_to_show(name):
    call, right = SHOWS[name]
    refuses(call, PICTURES, right)


@pytest.mark.parametrize("name", MASKED)
def test_a_wrong_mask(name):
    any_size = {"odd size"} if name.startswith("Imagen") else set()
    refuses(MASKED[name], MASKS, any_size)


WORDS = {
    "nothing": None,
    "a number": 7,
    "bytes": b"a fox",
    "a picture": picture(),
    "one number": torch.tensor(0.5),
    "a picture in a list": [picture()],
    "numbers in a list": [1, 2],
    "no prompt": [],
    "an empty one": ["a fox", " "],
    "half a letter": "a fox \ud83e",
    "far too long": "fox " * 9000,
}
READS = {
    "CLIP.similarity": lambda p: model("clip").similarity(picture()[None], p),
    "CLIP.rerank": lambda p: model("clip").rerank(picture()[None], p),
    "CLIP.text_features": lambda p: model("clip").text_features(p),
    "GLIDE.edit": lambda p: model("glide").edit(picture(), mask(), p, **FEW),
    "GLIDE.image_to_image": lambda p: model("glide").image_to_image(picture(), p, **FEW),
    "LatentDiffusion.edit": lambda p: model("ldm").edit(picture(), mask(), p, **FEW),
    "LatentDiffusion.image_to_image": (
        lambda p: model("ldm").image_to_image(picture(), p, **FEW)
    ),
    "UnCLIP.imagine": lambda p: model("unclip").imagine(p, prior_steps=2),
    "UnCLIP.text_diff before": lambda p: model("unclip").text_diff(picture(), p, PROMPT, **FEW),
    "UnCLIP.text_diff after": lambda p: model("unclip").text_diff(picture(), PROMPT, p, **FEW),
    "Imagen.enlarge": lambda p: model("imagen").enlarge(picture()[None], p, up_steps=2),
    "Imagen.paint": lambda p: model("imagen").paint(p, {"star": mask()}, **FEW, up_steps=2),
    "Imagen.paint words": lambda p: model("imagen").paint(PROMPT, {p: mask()}, **FEW),
} | {name: lambda p, name=name: model(name)(p) for name in SYSTEMS if name not in SPEECHLESS}


# CLIP compares with the empty caption, too
RIGHT = {f"CLIP.{call}": {"an empty one"} for call in ("similarity", "rerank", "text_features")}
# no list can be the name of a region
RIGHT["Imagen.paint words"] = {kind for kind, words in WORDS.items() if isinstance(words, list)}
RIGHT["UnCLIP.vary seed"] = RIGHT["Palette.edit seed"] = {"a list"}
RIGHT["UnCLIP.text_diff amounts"] = {"a list", "two numbers"}


@pytest.mark.parametrize("name", READS)
def test_wrong_words(name):
    refuses(READS[name], WORDS, RIGHT.get(name, set()))


NUMBERS = {
    "text": "3",
    "a list": [1],
    "complex": 1j,
    "a NaN": float("nan"),
    "endless": float("inf"),
    "below zero": -1,
    "two numbers": torch.ones(2),
}
OPTIONS = [
    (name, field.name)
    for name in SYSTEMS
    if name not in SPEECHLESS
    for field in fields(model(name).options)
] + [(name, number) for name in ("pixel", "dalle") for number in ("n", "seed")]


@pytest.mark.parametrize("name, option", OPTIONS)
def test_a_wrong_option(name, option):
    one_a_prompt = {"a list"} if option == "seed" else set()
    refuses(lambda x: model(name)(PROMPT, **{option: x}), NUMBERS, one_a_prompt)


COUNTED = {
    "GLIDE strength": lambda x: model("glide").image_to_image(picture(), TWO, x, **FEW),
    "LatentDiffusion strength": lambda x: model("ldm").image_to_image(picture(), TWO, x, **FEW),
    "UnCLIP.invert num_steps": lambda x: model("unclip").invert(picture(), x),
    "UnCLIP.vary n": lambda x: model("unclip").vary(picture(), x, **FEW),
    "UnCLIP.vary eta": lambda x: model("unclip").vary(picture(), 1, x, **FEW),
    "UnCLIP.vary seed": lambda x: model("unclip").vary(picture(), 1, seed=x, **FEW),
    "UnCLIP.vary guidance": lambda x: model("unclip").vary(picture(), 1, guidance=x, **FEW),
    "UnCLIP.vary num_steps": lambda x: model("unclip").vary(picture(), 1, num_steps=x),
    "UnCLIP.interpolate n": (
        lambda x: model("unclip").interpolate(picture(), -picture(), x, **FEW)
    ),
    "UnCLIP.text_diff amounts": lambda x: model("unclip").text_diff(picture(), *TWO, x, **FEW),
    "UnCLIP.text_diff amount": lambda x: model("unclip").text_diff(picture(), *TWO, [x], **FEW),
    "Palette.edit n": lambda x: model("palette").edit(picture(), "restore", n=x, **FEW),
    "Palette.edit seed": lambda x: model("palette").edit(picture(), "restore", seed=x, **FEW),
    "Palette.edit guidance": (
        lambda x: model("palette").edit(picture(), "restore", guidance=x, **FEW)
    ),
    "Palette.edit num_steps": (
        lambda x: model("palette").edit(picture(), "restore", num_steps=x)
    ),
    "Imagen.paint strength": (
        lambda x: model("imagen").paint(PROMPT, {"star": mask()}, strength=x, **FEW)
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_wrong_number(name):
    refuses(COUNTED[name], NUMBERS, RIGHT.get(name, set()))


EMBEDDINGS = ANYTHING | {
    "of numpy": torch.ones(1, 16).numpy(),
    "too short": torch.ones(1, 15),
    "whole numbers": torch.ones(1, 16).long(),
    "empty": torch.ones(0, 16),
    "one number": torch.tensor(1.0),
}
TOKENS = ANYTHING | {
    "of numpy": torch.zeros(1, 16).long().numpy(),
    "floats": torch.zeros(1, 16),
    "too few": torch.zeros(1, 15).long(),
    "below 0": -torch.ones(1, 16).long(),
    "unknown": torch.full((1, 16), 32),
    "empty": torch.zeros(0, 16).long(),
}
NOISES = {
    "too small": torch.zeros(1, 3, 4, 4),
    "too many": torch.zeros(2, 3, 8, 8),
    "grey": torch.zeros(1, 8, 8),
}


def test_wrong_embeddings_tokens_and_noise():
    unclip, z = model("unclip"), torch.ones(1, 16)
    refuses(lambda z: unclip.decode(z, **FEW), EMBEDDINGS)
    refuses(model("dalle").decode, TOKENS)
    refuses(lambda x: unclip.decode(z, x_T=x, **FEW), NOISES)
    refuses(lambda x: unclip.decode(z, x_T_up=x, **FEW), NOISES)


def folder_of(tmp_path: Path) -> dict[str, Path]:
    """Files and folders that hold nothing of use."""
    whole = tmp_path / "whole.png"
    to_pil(picture()).save(whole)
    files = {
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "text": b"a red star on a black background",
        "of another kind": b"[1, 2, 3]",
        "cut.png": whole.read_bytes()[:99],
        "cut.safetensors": b"\x99\0\0\0\0\0\0\0{",
        "a link of git-lfs": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
        ),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    places = {name: tmp_path / name for name in files}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").write_bytes(b"{")
    (tmp_path / "full" / "model.safetensors").write_bytes(b"")
    places |= {
        "a folder": tmp_path / "full",
        "missing": tmp_path / "no" / "such",
        "folder": tmp_path,
    }
    return places


FILES = {
    "open_picture": open_picture,
    "read_picture": lambda path: read_picture(path, SIDE),
    "read_mask": lambda path: read_mask(path, path, SIDE),
    "load_tensors": load_tensors,
    "read_json": read_json,
    "read_recipes": read_recipes,
    "CaptionedImages.load": CaptionedImages.load,
    "read_archive": read_archive,
    "read_paper": read_paper,
    "from_pretrained": lambda path: GLIDE.from_pretrained(f"{path}/"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file(name, tmp_path):
    any_json = {"of another kind"} if name == "read_json" else set()
    refuses(FILES[name], folder_of(tmp_path), any_json)


def test_a_wrong_set_of_pictures(tmp_path):
    """Of another type or length, captions that are none, weights that are no chances."""
    whole = lesson()
    changes = {
        "pictures of floats": {"images": whole.images.float()},
        "too few pictures": {"images": whole.images[:3]},
        "a caption that is none": {"captions": [None, *whole.captions[1:]]},
        "a split of another name": {"splits": ["exam"] * 8},
        "a weight that is no number": {"weights": whole.weights * torch.nan},
        "an endless weight": {"weights": whole.weights / 0},
        "a negative weight": {"weights": -whole.weights},
    }
    refuses(lambda change: replace(whole, **change), changes)
    nothing = {
        "no pictures": whole.subset([]),
        "weights of 0": replace(whole, weights=torch.zeros(8)),
    }
    how = dict(progress=False, cpu=True)
    refuses(lambda data: train(model("pixel"), data, Recipe(steps=1), tmp_path, **how), nothing)
    refuses(lambda n: render_style("noto", 32, workers=n), {"none": 0, "thousands": 4000})
