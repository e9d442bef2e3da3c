"""The model that draws in a page: its graphs against PyTorch, its JavaScript against torch's
generator and the tokenizer. (The drawing itself, in a built page: tests/test_site.py.)
"""

import base64
import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

import npm
from check_docs import NO_BROWSER, chromium, serve
from export_live import check, check_writer, copy_page, export, export_reader, export_writer
from export_live import CLOSE, export_pictures, page_tokenizer, plain_emoji
from t2i_course.clip import CLIP
from t2i_course.data.captioned import to_float
from t2i_course.dalle import DALLE, choose
from t2i_course.ddpm import step_indices
from t2i_course.ldm import LatentDiffusion

CAPTIONS = ["a red star", "two green circles on a white background", "a blue fox, noto style"]
ODD = [
    *("it's they'll DON'T", "  tabs\tand\nlines ", "１２ ﬁx ½ x² Å", "ΣΑΣ İ ẞ"),
    *("[pad] [start]", "\u00a8 x", "a\x1cb\x85c\ufeffd", "\u3000wide\u2003em", "-- ... 007"),
    *("naïve café 漢字 🎉", "constructor __proto__", "👨‍👩‍👧", "'s", "a" * 25),
]


def tiny(guess, first_stage="kl", **config):
    """An untrained system, its network not silent, nor so loud that rounding grows."""
    torch.manual_seed(0)
    autoencoder = dict(channels=(16,), num_res=1, patch=2, attend=False, groups=4)
    if first_stage == "kl":
        autoencoder["latent_channels"] = 4
    sizes = dict(
        image_size=16,
        first_stage=first_stage,
        autoencoder=autoencoder,
        text_encoder=dict(dim=24, depth=1, heads=2),
        unet=dict(channels=(16, 32), attention=(1,), head_dim=8, emb_dim=32),
    )
    model = LatentDiffusion.create(CAPTIONS * 9, guess, **(sizes | config)).eval()
    for p in model.diffusion.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.02)
    return model


KINDS = {
    "with a first guess": dict(guess=dict(hidden=16, heads=2)),
    "as in the paper": dict(guess=None, frozen_text=True),
    "v-prediction": dict(guess=None, prediction_type="v", guidance=1.5, num_steps=7),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_graphs_draw_as_pytorch_does(kind, tmp_path):
    model = tiny(**KINDS[kind])
    export(model, tmp_path)
    assert check(model, tmp_path) < 3e-5
    told = json.loads((tmp_path / "model.json").read_text())
    assert told["latent"] == [4, 8, 8]
    assert set(told["bytes"]) == {path.name for path in tmp_path.glob("*.onnx")}


def test_graphs_of_other_weights_are_refused(tmp_path):
    model = tiny(None)
    export(model, tmp_path)
    with torch.no_grad():
        model.diffusion.network.last.bias += 0.01
    with pytest.raises(ValueError, match="do not draw as PyTorch does"):
        check(model, tmp_path)


def test_the_readers_graph_reads_as_clip_does(tmp_path):
    torch.manual_seed(0)
    sizes = dict(length=40, embed=16, text=dict(dim=32, depth=2, heads=2))
    sizes |= dict(image_size=16, vision=dict(patch=8, dim=32, depth=1, heads=2))
    model = CLIP.create(CAPTIONS * 9, **sizes).eval()
    assert export_reader(model, tmp_path / "clip") < 1e-5
    told = json.loads((tmp_path / "clip" / "model.json").read_text())
    assert told["tokenizer"]["end"] == model.end and told["tokenizer"]["length"] == 40
    with pytest.raises(ValueError, match="does not read as PyTorch does"):
        with torch.no_grad():
            seen, model.text_features = model.text_features, lambda c: seen(c).flip(0)
        export_reader(model, tmp_path / "other")


def test_the_pictures_that_clip_searches_come_whole(tmp_path):
    model, art = CLIP.from_pretrained("clip-small"), plain_emoji()
    assert len(art) == 5163 and set(art.styles) == {"noto", "twemoji", "fluent"}
    art = art.subset(range(0, len(art), 40))
    export_reader(model, tmp_path / "clip")
    assert export_pictures(model, art, tmp_path / "clip") < CLOSE / 2
    about = json.loads((tmp_path / "clip" / "emoji.json").read_text())
    assert about["names"] == art.captions
    kept = np.fromfile(tmp_path / "clip" / "emoji.i16", "<i2").reshape(len(art), -1)
    with torch.no_grad():
        there = model.image_features(to_float(art.images))
    assert np.abs(kept * about["step"] - there.numpy()).max() < 1e-5
    sheet, side = Image.open(tmp_path / "clip" / "emoji.webp").convert("RGB"), about["side"]
    for i, image in enumerate(art.images):
        x, y = i % about["columns"] * side, i // about["columns"] * side
        here = torch.from_numpy(np.array(sheet.crop((x, y, x + side, y + side))))
        assert torch.equal(here.permute(2, 0, 1), image), art.captions[i]
    told = json.loads((tmp_path / "clip" / "model.json").read_text())["bytes"]
    assert set(told) == {"words.onnx", "emoji.i16", "emoji.webp", "emoji.json"}


def test_the_nearest_are_torchs(page):
    js = """async ([features, step, vector, count]) => {
        const { nearest } = await import('/nearest.js');
        return nearest(Int16Array.from(features), step, Float32Array.from(vector), count);
    }"""
    dice = torch.Generator().manual_seed(0)
    features = torch.randint(-32767, 32768, (300, 16), generator=dice)
    vector = torch.nn.functional.normalize(torch.randn(16, generator=dice), dim=0)
    best = (features * 1e-5 @ vector).topk(12)
    found = page.evaluate(js, [features.flatten().tolist(), 1e-5, vector.tolist(), 12])
    assert [row for row, _ in found] == best.indices.tolist()
    assert (torch.tensor([c for _, c in found]) - best.values).abs().max() < 1e-5


@pytest.mark.parametrize("attention", ["full", "paper", ["row", "full", "conv", "column"]])
def test_the_writers_graph_writes_as_dalle_does(attention, tmp_path):
    torch.manual_seed(0)
    dvae = dict(vocab=48, dim=56, hidden=16, depth=1, fine=16)
    sizes = dict(dim=32, depth=4, heads=2, attention=attention, kernel=3)
    how = dict(image_size=16, text_length=30, dvae=dvae, transformer=sizes)
    model = DALLE.create(CAPTIONS * 9, **how).eval()
    for p in model.transformer.parameters():
        torch.nn.init.normal_(p, std=0.2)  # so that every place matters
    assert export_writer(model, tmp_path / "dalle") < 3e-5
    told = json.loads((tmp_path / "dalle" / "model.json").read_text())
    assert told["cache"] == [4, 2, 2, 30 + 16, 16] and told["vocab"] == 48
    assert len(base64.b64decode(told["patches"])) == 48 * 48
    with torch.no_grad():
        model.transformer.row_embedding[2, 0] += 1
    with pytest.raises(ValueError, match="do not write as PyTorch does"):
        check_writer(model, tmp_path / "dalle")


def test_what_the_page_cannot_do_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dpm"):
        export(tiny(None, sampler="ddim"), tmp_path)
    other = tiny(None)
    other.tokenizer.bpe.normalizer = None
    with pytest.raises(ValueError, match="byte-level BPE"):
        page_tokenizer(other.tokenizer, 32)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    copy_page(folder := tmp_path_factory.mktemp("page"))
    with chromium() as browser, serve(folder) as base:
        if browser is None:
            pytest.skip(NO_BROWSER)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(base)
        yield page


def test_random_numbers_are_torchs(page):
    counts = [1024, 3, 16, 15, 17, 31, 1000, 5]  # blocks of 16 and not; in pairs and not
    js = """async ([seed, counts, double]) => {
        const { Generator } = await import('/random.js');
        const generator = new Generator(seed);
        return counts.flatMap((n) => [...generator.randn(n, double)]);
    }"""
    for seed in (0, 7, 2**32 - 1, 2**32 + 5, 2**53 - 1):
        for kind, close in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
            generator = torch.Generator().manual_seed(seed)
            there = torch.cat([torch.randn(n, generator=generator, dtype=kind) for n in counts])
            double = kind == torch.float64
            here = torch.tensor(page.evaluate(js, [seed, counts, double]), dtype=kind)
            assert (here - there).abs().max() < close, (seed, kind)


def test_tokens_are_chosen_as_by_torch(page):
    rows = 3 * torch.randn(6, 2, 300, generator=torch.Generator().manual_seed(0))
    ways = [(1.0, None), (0.7, 5), (0.0, None), (2.5, 299), (1.0, 1), (0.2, 300)]
    js = """async ([rows, ways, seed]) => {
        const { choose, guided, multinomial } = await import('/choose.js');
        const { Generator } = await import('/random.js');
        const generator = new Generator(seed);
        return rows.map((row, i) => {
            const logits = guided(Float32Array.from(row.flat()), 2.5);
            const { p } = choose(logits, ways[i][0], ways[i][1] ?? 300);
            return { logits: [...logits], p: [...p], drawn: multinomial(p, generator) };
        });
    }"""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        here = page.evaluate(js, [rows.tolist(), ways, seed])
        for (told, nothing), (heat, most), found in zip(rows.log_softmax(-1), ways, here):
            there = nothing + 2.5 * (told - nothing)
            p = choose(there, heat, most)
            assert (torch.tensor(found["logits"]) - there).abs().max() < 1e-4
            assert (torch.tensor(found["p"]) - p).abs().max() < 1e-5, (heat, most)
            assert found["drawn"] == torch.multinomial(p, 1, generator=generator).item()


def test_words_are_the_tokenizers(page):
    model = LatentDiffusion.from_pretrained("ldm-small")
    rng = random.Random(0)
    old = [chr(c) for c in range(33, 0x250)] + [chr(c) for c in range(0x4E00, 0x4F00)]
    mixed = ["".join(rng.choices(old + [" "] * 99, k=9)) + "x" for _ in range(200)]
    js = """async ([told, captions]) => {
        const { Tokenizer } = await import('/words.js');
        const tokenizer = new Tokenizer(told);
        const said = (caption) => {
            try { return [...tokenizer.encode(caption)].map(Number); }
            catch (error) { return error.message; }
        };
        return captions.map(said);
    }"""
    asked = [*CAPTIONS, *ODD, *mixed]
    told = page_tokenizer(model.tokenizer, model.text_encoder.length)
    here = page.evaluate(js, [told, asked])
    there = model.tokenizer.encode(asked, model.text_encoder.length).tolist()
    assert here == there
    wrong = page.evaluate(js, [told, [" \n", "zq" * 60]])
    assert "empty" in wrong[0] and "tokens and the model reads 31" in wrong[1]


def test_labels_are_the_tokens_that_clip_reads(page):
    model = CLIP.from_pretrained("clip-small")
    js = """async ([told, captions]) => {
        const { Tokenizer } = await import('/words.js');
        const tokenizer = new Tokenizer(told);
        return captions.map((caption) => [...tokenizer.encode(caption)].map(Number));
    }"""
    told = page_tokenizer(model.tokenizer, model.length) | {"end": model.end}
    asked = [*CAPTIONS, "fox, noto style", "it's DON'T  x", "a" * 25]
    for here, caption in zip(page.evaluate(js, [told, asked]), asked):
        (there,) = model.ids_of([caption]).tolist()
        assert here == there + [0] * (model.length - len(there)), caption


def test_the_sampler_visits_the_courses_times(page):
    js = """async () => {
        const { stepIndices } = await import('/steps.js');
        return Array.from({ length: 1000 }, (_, i) => stepIndices(1000, i + 1));
    }"""
    assert page.evaluate(js) == [step_indices(1000, n) for n in range(1, 1001)]


def test_a_library_that_cannot_be_had_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("T2I_CACHE", str(tmp_path))
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    with pytest.raises(npm.Unavailable, match="needs npm the first time"):
        npm.files(npm.ONNXRUNTIME)
    for name in npm.DIGESTS[npm.ONNXRUNTIME]:  # what lies there is another file
        path = npm.kept(npm.ONNXRUNTIME) / name.split("/")[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("something else")
    monkeypatch.setattr(npm, "fetch", lambda package: None)
    with pytest.raises(npm.Unavailable, match="is not the file"):
        npm.files(npm.ONNXRUNTIME)
