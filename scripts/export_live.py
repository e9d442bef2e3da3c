"""Models for the pages of the site, as ONNX graphs made of the weights as they are loaded: a
latent diffusion model in three, and CLIP's text encoder; what the page's sampler and tokenizer
need, and the library that runs them.

Both are held to PyTorch's before anything is kept: same prompt and seed, same picture; same
caption, same vector.

usage: export_live.py FOLDER [MODEL]        MODEL: a shipped one or a folder; default ldm-small
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from npm import ONNXRUNTIME, files
from t2i_course.clip import CLIP
from t2i_course.guidance import classifier_free, predicting_x0, walk
from t2i_course.ldm import LatentDiffusion
from t2i_course.networks.text import Tokenizer
from t2i_course.system import picture_generators
from t2i_course.widgets.pages import source

PAGE = Path(__file__).parent / "live"  # the page's half: worker, tokenizer, generator, sampler
SHARED = ("random.js", "steps.js")  # of t2i_course/widgets
OPSET = 17
CLOSE = 1e-4  # of a picture's values, which lie in [-1, 1]
MODEL, JUDGE = "ldm-small", "clip-small"
PROMPT = "a blue star left of a green square on a black background"


class Words(nn.Module):
    """ids (2, L) -> what the network is told of a prompt and of none, as `LatentDiffusion.read`
    gives it.
    """

    def __init__(self, model: LatentDiffusion):
        super().__init__()
        self.model = model

    def told(self, ids: Tensor) -> dict[str, Tensor]:
        told = self.model.text_encoder(ids)
        guess = self.model.guess
        return told if guess is None else told | {"channels": guess(**told)}

    def forward(self, ids: Tensor):
        return tuple(self.told(ids).values())


class Denoise(nn.Module):
    """z_t (1, c, h, w), time (1,), scale (1,) and two rows told -> the guided z0_hat."""

    def __init__(self, model: LatentDiffusion, names: list[str]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, z_t: Tensor, time: Tensor, scale: Tensor, *told: Tensor) -> Tensor:
        diffusion = self.model.diffusion
        caption = {name: rows[:1] for name, rows in zip(self.names, told)}
        nothing = {name: rows[1:] for name, rows in zip(self.names, told)}
        guided = classifier_free(diffusion, scale, nothing)
        clean = predicting_x0(guided, diffusion.schedule, diffusion.prediction_type)
        return clean(z_t, time, caption)


class Decode(nn.Module):
    """Two latents (2, c, h, w) -> two pictures (2, 3, H, W)."""

    def __init__(self, model: LatentDiffusion):
        super().__init__()
        self.model = model

    def forward(self, z: Tensor) -> Tensor:
        return self.model.to_pictures(z)


def halved(graph):
    """Store float weights as float16 where that loses nothing; the graph widens them first."""
    from onnx import TensorProto, helper, numpy_helper

    for weight in graph.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(weight)
        half = value.astype(np.float16)
        if value.size < 64 or not np.array_equal(half.astype(np.float32), value):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        cast = helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT)
        graph.graph.node.insert(0, cast)


def write_graph(path: Path, network: nn.Module, inputs: dict[str, Tensor], outputs: list[str]):
    """Trace a network on these inputs and write it."""
    import onnx

    names = dict(input_names=list(inputs), output_names=outputs, opset_version=OPSET)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of fixed shapes, which is what we want
        torch.onnx.export(network.eval(), (*inputs.values(),), str(path), dynamo=False, **names)
    graph = onnx.load(path)
    halved(graph)
    onnx.save(graph, path)


def page_tokenizer(tokenizer: Tokenizer, length: int) -> dict:
    """What words.js needs. ValueError for a tokenizer of another kind than it knows."""
    told = json.loads(tokenizer.to_str())
    kinds = [n["type"] for n in (told["normalizer"] or {}).get("normalizers", [])]
    before = told["pre_tokenizer"]
    known = before["type"] == "ByteLevel" and before["add_prefix_space"] and before["use_regex"]
    if told["model"]["type"] != "BPE" or kinds != ["NFKC", "Lowercase"] or not known:
        raise ValueError("scripts/live/words.js reads byte-level BPE, NFKC, lower case only")
    return {
        "vocab": told["model"]["vocab"],
        "merges": told["model"]["merges"],
        "length": length,
        "start": Tokenizer.start,
        "pad": Tokenizer.pad,
    }


def export(model: LatentDiffusion, folder: Path) -> dict:
    """Write words.onnx, denoise.onnx, decode.onnx and model.json; returns what that says."""
    sampler = model.options.sampler
    if sampler != "dpm++":
        raise ValueError(f"scripts/live/sampler.js walks by dpm++, not by {sampler!r}")
    ids = model.tokenizer.encode([PROMPT, ""], model.text_encoder.length)
    words = Words(model)
    with torch.no_grad():
        told = words.told(ids)
    z = model.noise(picture_generators(0))
    step = {"z_t": z, "time": torch.tensor([500]), "scale": torch.tensor([3.0])}
    write_graph(folder / "words.onnx", words, {"ids": ids}, list(told))
    write_graph(folder / "denoise.onnx", Denoise(model, list(told)), step | told, ["z0_hat"])
    write_graph(folder / "decode.onnx", Decode(model), {"z": torch.cat([z, z])}, ["pictures"])
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.onnx"))}
    about = {
        "bytes": sizes,
        "latent": list(z.shape[1:]),
        "image_size": model.image_size,
        "alpha_bar": model.diffusion.schedule.alpha_bar.tolist(),
        "tokenizer": page_tokenizer(model.tokenizer, model.text_encoder.length),
    }
    (folder / "model.json").write_text(json.dumps(about), encoding="utf-8")
    return about


def redraw(model: LatentDiffusion, folder: Path, prompt: str, seed: int) -> Tensor:
    """The picture that the graphs of `folder` draw, (1, 3, H, W), by the course's sampler."""
    from onnxruntime import InferenceSession

    def session(name):
        return InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])

    words, denoise, decode = map(session, ("words", "denoise", "decode"))
    ids = model.tokenizer.encode([prompt, ""], model.text_encoder.length).numpy()
    names = [output.name for output in words.get_outputs()]
    told = dict(zip(names, words.run(None, {"ids": ids})))
    scale = np.array([model.options.guidance], np.float32)

    def clean(z_t, time, conditioning):
        step = {"z_t": z_t.numpy(), "time": time.numpy(), "scale": scale}
        return torch.from_numpy(denoise.run(None, step | told)[0])

    z_T = model.noise(picture_generators(seed))
    steps = walk(clean, model.diffusion.schedule, z_T, None, model.options, "x0", clip=False)
    *_, end = steps
    return torch.from_numpy(decode.run(None, {"z": torch.cat([end.x, end.x]).numpy()})[0][:1])


def check(model: LatentDiffusion, folder: Path, seed: int = 1) -> float:
    """How far the graphs' picture is from PyTorch's, at most; ValueError where too far."""
    drawn = redraw(model, folder, PROMPT, seed).clamp(-1, 1)
    apart = float((drawn - model(PROMPT, seed=seed).images).abs().max())
    if not apart < CLOSE:
        raise ValueError(f"the exported graphs do not draw as PyTorch does: {apart:.1e} apart")
    return apart


class Reader(nn.Module):
    """ids (1, length) -> CLIP's unit vector of a caption, (embed,)."""

    def __init__(self, model: CLIP):
        super().__init__()
        self.text_encoder = model.text_encoder

    def forward(self, ids: Tensor) -> Tensor:
        return F.normalize(self.text_encoder(ids).float(), dim=-1)[0]


def filled(model: CLIP, caption: str) -> Tensor:
    """`encode` of one caption in all the places there are: what follows the end is not read."""
    ids = model.ids_of([caption])
    return F.pad(ids, (0, model.length - ids.shape[1]))


def export_reader(model: CLIP, folder: Path) -> float:
    """Write CLIP's text encoder, words.onnx and model.json, into a new folder; returns how far
    a vector is from PyTorch's, at most. ValueError where too far.
    """
    from onnxruntime import InferenceSession

    folder.mkdir()
    inputs = {"ids": filled(model, PROMPT)}
    write_graph(folder / "words.onnx", Reader(model), inputs, ["vector"])
    graph = InferenceSession(folder / "words.onnx", providers=["CPUExecutionProvider"])
    captions = [PROMPT, "fox", "red heart, twemoji style", "two green circles"]
    vectors = [graph.run(None, {"ids": filled(model, c).numpy()})[0] for c in captions]
    with torch.no_grad():
        there = model.text_features(captions)
    apart = float((torch.from_numpy(np.stack(vectors)) - there).abs().max())
    if not apart < CLOSE:
        raise ValueError(f"the exported graph does not read as PyTorch does: {apart:.1e} apart")
    words = page_tokenizer(model.tokenizer, model.length) | {"end": model.end}
    about = {"bytes": {"words.onnx": (folder / "words.onnx").stat().st_size}}
    (folder / "model.json").write_text(json.dumps(about | {"tokenizer": words}), "utf-8")
    return apart


def copy_page(folder: Path):
    """The page's half: workers, and what they share with the widgets."""
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    for name in SHARED:
        (folder / name).write_text(source(name), encoding="utf-8")


def weigh(folder: Path, wasm: int):
    """Let a model's file say how much else is fetched with it."""
    told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    told["bytes"]["ort.wasm"] = wasm
    (folder / "model.json").write_text(json.dumps(told), encoding="utf-8")


def make_live(folder: Path, name: str = MODEL, judge: str = JUDGE) -> float:
    """Everything a page needs to draw and to judge by itself, in a new `folder`; returns how
    far it is from PyTorch, at most.

    `npm.Unavailable` where the library cannot be had, ImportError without onnx and onnxruntime.
    """
    library = files(ONNXRUNTIME)
    folder.mkdir(parents=True)
    try:
        model = LatentDiffusion.from_pretrained(name)
        export(model, folder)
        apart = check(model, folder)
        apart = max(apart, export_reader(CLIP.from_pretrained(judge), folder / "clip"))
        copy_page(folder)
        shutil.copy(library["dist/ort.wasm.bundle.min.mjs"], folder / "ort.js")
        shutil.copy(library["dist/ort-wasm-simd-threaded.wasm"], folder / "ort.wasm")
        for part in (folder, folder / "clip"):
            weigh(part, (folder / "ort.wasm").stat().st_size)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return apart


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    apart = make_live(Path(sys.argv[1]), *sys.argv[2:])
    print(f"{sys.argv[1]}: draws and judges as PyTorch does, to {apart:.1e}")
