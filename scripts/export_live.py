"""Models for the pages of the site, as ONNX graphs made of the weights as they are loaded: a
latent diffusion model in three, CLIP's text encoder with the vectors of the emoji that it
searches, and DALL-E in two; what the page's sampler and tokenizer need, and the library that
runs them.

All are held to PyTorch's before anything is kept: same prompt and seed, same picture; same
caption, same vector; same tokens, same logits.

usage: export_live.py FOLDER [MODEL]        MODEL: a shipped one or a folder; default ldm-small
"""

import base64
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
from t2i_course.dalle import DALLE, JointTransformer, attention_mask
from t2i_course.guidance import classifier_free, predicting_x0, walk
from t2i_course.data.captioned import CaptionedImages, emoji, to_float, to_uint8
from t2i_course.ldm import LatentDiffusion
from t2i_course.networks.codebooks import unmap_pixels
from t2i_course.networks.text import Tokenizer
from t2i_course.system import picture_generators
from t2i_course.widgets.pages import source
from t2i_course.widgets.plots import tile

PAGE = Path(__file__).parent / "live"  # the page's half: worker, tokenizer, generator, sampler
SHARED = ("random.js", "steps.js")  # of t2i_course/widgets
OPSET = 17
CLOSE = 1e-4  # of a picture's values, which lie in [-1, 1]
MODEL, JUDGE, WRITER = "ldm-small", "clip-small", "dalle-small"
COLUMNS = 64  # of the sheet of emoji
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


def plain_emoji() -> CaptionedImages:
    """The emoji that reading 4 searches: all styles, without the variants of skin tone."""
    art = emoji(32, progress=False)
    named = enumerate(zip(art.captions, art.concepts))
    return art.subset([i for i, (c, k) in named if c.split(",")[0] == k.split(",")[0]])


def export_pictures(model: CLIP, art: CaptionedImages, folder: Path) -> float:
    """Add what is searched to CLIP's folder: vectors of the pictures as whole numbers of 16
    bits, emoji.i16 (half as large as floats, and finer than halves); all pictures on one
    lossless sheet, emoji.webp; their names and the size of a step, emoji.json. Returns how far
    a cosine is from PyTorch's, at most. ValueError where too far.
    """
    with torch.no_grad():
        parts = [model.image_features(to_float(x)) for x in art.images.split(512)]
        captions = model.text_features([PROMPT, "fox", "sad face", *art.captions[:99]])
    features, side = torch.cat(parts), art.images.shape[-1]
    step = float(features.abs().max()) / 32767
    kept = (features / step).round()
    apart = float(((kept * step - features) @ captions.T).abs().max())
    if not apart < CLOSE:
        raise ValueError(f"the vectors of the pictures lose too much: {apart:.1e}")
    (folder / "emoji.i16").write_bytes(kept.numpy().astype("<i2").tobytes())
    tile(list(art.images), COLUMNS, gap=0).save(folder / "emoji.webp", lossless=True)
    about = {"names": art.captions, "step": step, "columns": COLUMNS, "side": side}
    (folder / "emoji.json").write_text(json.dumps(about), encoding="utf-8")
    told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    told["bytes"] |= {path.name: path.stat().st_size for path in folder.glob("emoji.*")}
    (folder / "model.json").write_text(json.dumps(told), encoding="utf-8")
    return apart


class Write(nn.Module):
    """One token of two sentences, a caption's and the empty caption's: token (2,), place (1,),
    keys and values (depth, 2, heads, length, d) of the places before -> logits of the token
    after it, (2, image_vocab), and this place's keys and values, (depth, 2, heads, 1, d).

    Text ids as the network has them; an image token's follow the text's.
    """

    def __init__(self, network: JointTransformer):
        super().__init__()
        self.network, self.texts = network, network.text_vocab + network.text
        cells = network.row_embedding[:, None] + network.column_embedding
        where = torch.cat([network.position_embedding, cells.flatten(0, 1)])
        self.register_buffer("where", where)
        for kind in set(network.kinds):
            mask = attention_mask(kind, network.text, network.grid)
            self.register_buffer(f"sees_{kind}", getattr(network, f"mask_{kind}", mask))

    def embed(self, token: Tensor) -> Tensor:
        text = self.network.text_embedding(token.clamp(max=self.texts - 1))
        image = self.network.image_embedding((token - self.texts).clamp(min=0))
        return torch.where((token < self.texts)[:, None], text, image)

    def attend(self, layer: nn.Module, x: Tensor, sees: Tensor, here: Tensor, old: list):
        """x: (2, 1, dim); here: (length, 1) bool, where it stands -> x, its key, its value."""
        q, k, v = layer.qkv(x).unflatten(-1, (3, layer.heads, -1)).permute(2, 0, 3, 1, 4)
        keys, values = (torch.where(here, new, row) for new, row in zip((k, v), old))
        h = F.scaled_dot_product_attention(q, keys, values, attn_mask=sees)
        return layer.out(h.transpose(1, 2).flatten(2)), k, v

    def forward(self, token: Tensor, place: Tensor, keys: Tensor, values: Tensor):
        x = (self.embed(token) + self.where[place])[:, None]
        here = (torch.arange(self.network.length) == place)[:, None]
        new_keys, new_values = [], []
        for i, (block, kind) in enumerate(zip(self.network.stack.blocks, self.network.kinds)):
            sees, old = getattr(self, f"sees_{kind}")[place], [keys[i], values[i]]
            change, k, v = self.attend(block.attend, block.norm1(x), sees, here, old)
            x = x + change
            x = x + block.mlp(block.norm2(x))
            new_keys.append(k)
            new_values.append(v)
        h = self.network.stack.norm(x)[:, 0]
        return self.network.image_logits(h), torch.stack(new_keys), torch.stack(new_values)


class Show(nn.Module):
    """Tokens (1, grid^2) -> picture (1, 3, H, W), as `DALLE.decode`."""

    def __init__(self, model: DALLE):
        super().__init__()
        self.dvae, self.grid = model.dvae, model.grid

    def forward(self, tokens: Tensor) -> Tensor:
        codes = self.dvae.codes(tokens.view(-1, self.grid, self.grid)).permute(0, 3, 1, 2)
        return unmap_pixels(self.dvae.decoder(codes)[:, :3].sigmoid())


def code_patches(model: DALLE) -> bytes:
    """What each code shows when it stands alone: red, green and blue of its pixels, one code
    after another.
    """
    with torch.no_grad():
        patches = model.dvae.decode(torch.arange(model.dvae.vocab).view(-1, 1, 1))
    return to_uint8(patches).movedim(1, -1).contiguous().numpy().tobytes()


def write_tokens(model: DALLE, folder: Path, prompt: str, tokens: Tensor) -> Tensor:
    """Logits (grid^2, 2, V) that the graph gives where `tokens` (grid^2,) are written."""
    from onnxruntime import InferenceSession

    graph = InferenceSession(folder / "write.onnx", providers=["CPUExecutionProvider"])
    network, found = model.transformer, []
    keys, values = (cache.numpy() for cache in empty_cache(network))
    sentence = model.encode([prompt, ""]).T.tolist()
    sentence += [[network.text_vocab + network.text + token] * 2 for token in tokens.tolist()]
    for place, pair in enumerate(sentence[:-1]):
        told = {"token": np.array(pair), "place": np.array([place])}
        logits, k, v = graph.run(None, told | {"keys": keys, "values": values})
        keys[:, :, :, place : place + 1], values[:, :, :, place : place + 1] = k, v
        found.append(torch.from_numpy(logits))
    return torch.stack(found[network.text - 1 :])


def empty_cache(network: JointTransformer) -> tuple[Tensor, Tensor]:
    """Zeros for the keys and the values of two sentences."""
    attend = network.stack.blocks[0].attend
    head = attend.qkv.in_features // attend.heads
    shape = len(network.stack.blocks), 2, attend.heads, network.length, head
    return torch.zeros(shape), torch.zeros(shape)


def export_writer(model: DALLE, folder: Path) -> float:
    """Write DALL-E's transformer and decoder, write.onnx, show.onnx and model.json, into a new
    folder; returns how far a logit or a pixel is from PyTorch's, at most. ValueError where too
    far.
    """
    folder.mkdir()
    network, tokens = model.transformer, torch.arange(model.grid**2)[None] % model.dvae.vocab
    keys, values = empty_cache(network)
    step = {"token": torch.tensor([0, 0]), "place": torch.tensor([0])}
    step |= {"keys": keys, "values": values}
    write_graph(folder / "write.onnx", Write(network), step, ["logits", "key", "value"])
    write_graph(folder / "show.onnx", Show(model), {"tokens": tokens}, ["picture"])
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.onnx"))}
    words = page_tokenizer(model.tokenizer, model.text_length)
    about = {
        "bytes": sizes,
        "cache": list(keys.shape),
        "vocab": model.dvae.vocab,
        "grid": model.grid,
        "text_vocab": network.text_vocab,
        "tokenizer": words,
        "patches": base64.b64encode(code_patches(model)).decode(),
    }
    (folder / "model.json").write_text(json.dumps(about), encoding="utf-8")
    return check_writer(model, folder)


@torch.no_grad()
def check_writer(model: DALLE, folder: Path) -> float:
    """How far logits and picture of a sentence are from PyTorch's; see `export_writer`."""
    from onnxruntime import InferenceSession

    *_, end = model.steps(PROMPT, seed=1)
    network, texts = model.transformer, model.encode([PROMPT, ""])
    h = network.run(network.embed(texts, end.tokens[:, :-1].expand(2, -1)))
    there = network.image_logits(h[:, network.text - 1 :]).transpose(0, 1)
    here = write_tokens(model, folder, PROMPT, end.tokens[0])
    graph = InferenceSession(folder / "show.onnx", providers=["CPUExecutionProvider"])
    (picture,) = graph.run(None, {"tokens": end.tokens.numpy()})
    pixels = (torch.from_numpy(picture) - end.x0_hat).abs().max()
    apart = max((here - there).abs().max(), pixels)
    if not apart < CLOSE:
        raise ValueError(f"the exported graphs do not write as PyTorch does: {apart:.1e} apart")
    return float(apart)


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


def make_live(
    folder: Path, name: str = MODEL, judge: str = JUDGE, writer: str = WRITER
) -> float:
    """All that a page needs to draw, judge and write by itself, in a new `folder`; returns how
    far it is from PyTorch, at most.

    `npm.Unavailable` where the library cannot be had, ImportError without onnx and onnxruntime.
    """
    library = files(ONNXRUNTIME)
    folder.mkdir(parents=True)
    try:
        model = LatentDiffusion.from_pretrained(name)
        export(model, folder)
        apart = check(model, folder)
        clip = CLIP.from_pretrained(judge)
        apart = max(apart, export_reader(clip, folder / "clip"))
        apart = max(apart, export_pictures(clip, plain_emoji(), folder / "clip"))
        copy_page(folder)
        apart = max(apart, export_writer(DALLE.from_pretrained(writer), folder / "dalle"))
        shutil.copy(library["dist/ort.wasm.bundle.min.mjs"], folder / "ort.js")
        shutil.copy(library["dist/ort-wasm-simd-threaded.wasm"], folder / "ort.wasm")
        for part in (folder, folder / "clip", folder / "dalle"):
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
