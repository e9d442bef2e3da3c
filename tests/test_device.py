"""Every system draws, edits and learns on a pretended accelerator (`pretended`): nothing mixes
devices or asks for double precision, what it says is what the CPU says, and it hardly waits.
"""

import atexit
import shutil
import tempfile
from functools import cache

import pytest
import torch
from pretended import FAR, FarTensor, pretended_device, without_autocast
from torch import nn

from t2i_course.data.captioned import CaptionedImages
from t2i_course.networks.text import Tokenizer
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*no-op")  # it says so of "meta"
CAPTIONS = [
    "a large red star on a black background",
    "two green circles on a white background",
    "red heart, noto style",
    "a blue cross left of a red square",
]
NET = dict(channels=16, multipliers=(1, 2), depth=1, groups=8, emb_dim=32)


def pixel():
    from t2i_course.guidance import PixelDiffusion

    sizes = dict(
        text_encoder=dict(dim=24, depth=1, heads=2),
        unet=dict(channels=(16, 32), attention=(1,), head_dim=16, emb_dim=32),
    )
    return PixelDiffusion.create(CAPTIONS, image_size=16, **sizes)


def dalle():
    from t2i_course.dalle import DALLE

    sizes = dict(
        dvae=dict(vocab=32, dim=64, hidden=8, depth=1, fine=8, likelihood="gaussian"),
        transformer=dict(dim=32, depth=3, heads=2, attention="paper", kernel=3),
    )
    return DALLE.create(CAPTIONS, image_size=16, text_length=14, **sizes)


def glide(**changes):
    from t2i_course.glide import GLIDE

    sizes = dict(
        text_encoder=dict(length=16, dim=24, depth=1, heads=2),
        base=dict(NET, in_channels=10, attention=(1,), head_dim=16),
        upsampler=dict(NET, in_channels=6, attention=(), middle=False),
        clip=dict(patch=4, dim=24, depth=1, heads=2, embed=16),
        guess=dict(hidden=16, heads=2),
    )
    return GLIDE.create(CAPTIONS, base_size=8, image_size=16, crop=8, **(sizes | changes))


def ldm(**changes):
    from t2i_course.ldm import LatentDiffusion

    tiny = dict(channels=(8, 16), latent_channels=3, num_res=1, attend=False, groups=4)
    sizes = dict(
        autoencoder=dict(tiny, patch=1),
        text_encoder=dict(dim=24, depth=1, heads=2),
        guess=dict(hidden=16, heads=2),
        unet=dict(channels=(16,), attention=(0,), head_dim=16, emb_dim=32),
    )
    return LatentDiffusion.create(CAPTIONS, image_size=16, crop=16, **(sizes | changes))


def ldm_vq():
    sizes = dict(channels=(8, 16), latent_channels=3, codes=16, num_res=1, groups=4)
    vq = dict(sizes, attend=False, decay=0.99)
    return ldm(first_stage="vq", autoencoder=vq)


def clip():
    from t2i_course.clip import CLIP

    sizes = dict(
        vision=dict(patch=8, dim=24, depth=1, heads=2), text=dict(dim=24, depth=1, heads=2)
    )
    return CLIP.create(CAPTIONS, image_size=16, length=32, embed=16, **sizes)


def unclip():
    from t2i_course.unclip import UnCLIP

    prior = dict(dim=24, depth=1, heads=2)
    net = dict(NET, attention=(1,), head_dim=16)
    sizes = dict(
        prior=prior,
        ar_prior=dict(prior, keep=6, buckets=8),
        upsamplers=[dict(size=16, crop=0.5, num_steps=2, unet=NET)],
        decoder=dict(width=24, depth=1, heads=2, unet=net),
    )
    folder = clip_folder()
    torch.manual_seed(0)
    return UnCLIP.create(clip=folder, base_size=8, **sizes)


@cache
def clip_folder() -> str:
    """A folder with a tiny CLIP, as long as the tests run."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    clip().save_pretrained(folder, dtype=torch.float32)
    return f"{folder}/"


def imagen():
    from t2i_course.imagen import Imagen

    wide = dict(patch=2, head_dim=8, pool_heads=2, emb_dim=32)
    deep = dict(heads=2, groups=8, emb_dim=16, pool_heads=2)
    sizes = dict(
        language=dict(name="reader", length=24, dim=24, depth=1, heads=2, hidden=32),
        base=dict(NET, attention=(1,)) | wide,
        upsampler=dict(deep, first=8, channels=(8, 16), depths=(1, 1), attention=(1,)),
    )
    sizes |= dict(base_size=8, image_size=16, crop=8)
    return Imagen.create(CAPTIONS, glide=None, **sizes)


SYSTEMS = {f.__name__: f for f in (pixel, clip, dalle, glide, ldm, ldm_vq, unclip, imagen)}
DRAWS = {
    "pixel": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")],
    "dalle": [dict(guidance=2.0), dict(top_k=5)],
    "glide": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")]
    + [dict(sampler="ddpm", num_steps=4, clip_guidance=3.0)],
    "ldm": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")],
    "ldm_vq": [dict(num_steps=2)],
    "unclip": [
        dict(num_steps=4, prior_steps=3),
        dict(num_steps=4, prior_steps=3, sampler="ddpm", prior="ar"),
    ],
    "imagen": [
        dict(num_steps=4, up_steps=3, sampler=s, threshold=t)
        for s, t in (("ddpm", "dynamic"), ("dpm++", "static"))
    ],
}
# with a picture (3, 16, 16) and a mask (16, 16), both on the CPU
EDITS = {
    "glide": [
        lambda m, x, mask: m.edit(x, mask, CAPTIONS[:2], num_steps=3, sampler="ddpm").images,
        lambda m, x, mask: m.image_to_image(x, CAPTIONS[:2], 0.5, num_steps=4).images,
    ],
    "ldm": [
        lambda m, x, mask: m.edit(x, mask, CAPTIONS[:2], num_steps=3).images,
        lambda m, x, mask: m.image_to_image(x, CAPTIONS[:2], 0.5, num_steps=4).images,
    ],
    "unclip": [
        lambda m, x, mask: m.vary(x, n=2, num_steps=3).images,
        lambda m, x, mask: m.interpolate(x, -x, n=2, num_steps=3).images,
        lambda m, x, mask: m.text_diff(x, CAPTIONS[0], CAPTIONS[1], num_steps=3).images,
    ],
    "imagen": [
        lambda m, x, mask: m.enlarge(x[None, :, ::2, ::2], CAPTIONS[:1], up_steps=3).images,
        lambda m, x, mask: m.paint(CAPTIONS[0], {"star": mask}, num_steps=3, up_steps=2).images,
    ],
}
STAGES = {
    "pixel": ["model"],
    "clip": ["model"],
    "dalle": ["dvae", "transformer"],
    "glide": ["text", "base", "upsampler", "inpaint", "noisy_clip"],
    "ldm": ["autoencoder", "text", "model"],
    "ldm_vq": ["autoencoder", "text", "model"],
    "unclip": ["prior", "ar_prior", "decoder", "upsampler"],
    "imagen": ["language", "base", "upsampler"],
}
EVERY_STAGE = [(name, stage) for name, stages in STAGES.items() for stage in stages]
OPTIMIZERS = ["adamw", "muon"]
TRAININGS = [(*stage, OPTIMIZERS[i % 2]) for i, stage in enumerate(EVERY_STAGE)]
TRAININGS += [("pixel", "model", "muon"), ("glide", "base", "muon")]


def made(name: str) -> nn.Module:
    """A tiny system whose layers that begin at zero hold noise: else all would be 0 = 0."""
    torch.manual_seed(0)
    model = SYSTEMS[name]().eval()
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        if not p.detach().any():
            p.data.normal_(std=0.05, generator=generator)
    return model


def lesson() -> CaptionedImages:
    images = torch.randint(256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(2))
    captions = CAPTIONS * 2
    return CaptionedImages(
        images.byte(), captions, [[]] * 8, ["x"] * 8, captions, ["train"] * 8, torch.ones(8)
    )


def stages_of(model) -> dict[str, nn.Module]:
    """CLIP, which draws nothing, is its own one stage."""
    return getattr(model, "stages", {"model": model})


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    without_autocast(monkeypatch)
    monkeypatch.setattr("t2i_course.imagen.minilm", Teacher)


def near(x):
    return x.near if isinstance(x, FarTensor) else x


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_stage_is_tried(name):
    assert list(stages_of(made(name))) == STAGES[name]


@pytest.mark.parametrize(
    "name, options", [(name, o) for name, options in DRAWS.items() for o in options], ids=str
)
def test_draws(name, options, monkeypatch):
    model = made(name)
    wanted = model(CAPTIONS[:3], seed=5, **options).images
    with pretended_device(monkeypatch) as ledger:
        model = model.to(FAR)
        steps, waits, uploads = [], [], []
        ledger.waits.clear()
        for step in model.steps(CAPTIONS[:3], seed=5, **options):
            steps.append(step)
            waits.append(ledger.waits.total())
            uploads.append(ledger.uploads.total())
        drawn = step.x.cpu()
    assert torch.allclose(drawn.clamp(-1, 1), wanted, atol=1e-4)
    later = [b - a for a, b in zip(waits, waits[1:])]
    assert max(later) <= (1 if name == "dalle" else 0), ledger.waits
    assert max(b - a for a, b in zip(uploads, uploads[1:])) <= 8, ledger.uploads


@pytest.mark.parametrize(
    "name, edit", [(name, e) for name, edits in EDITS.items() for e in edits]
)
def test_edits(name, edit, monkeypatch):
    model = made(name)
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    mask = torch.zeros(16, 16)
    mask[4:11, 3:9] = 1
    wanted = edit(model, picture, mask)
    with pretended_device(monkeypatch):
        model = model.to(FAR)
        found = edit(model, picture, mask)
        assert torch.allclose(found, wanted, atol=1e-4)
        # what is given may lie on the device
        assert torch.allclose(edit(model, picture.to(FAR), mask.to(FAR)), wanted, atol=1e-4)


class Teacher:
    """Stands for the language model that Imagen's reader learns from: states of its own."""

    dim = 160

    def __init__(self):
        self.bpe = Tokenizer.from_captions(CAPTIONS).bpe

    def read(self, texts: list[str]) -> dict[str, torch.Tensor]:
        n = max(len(e.ids) for e in self.bpe.encode_batch(list(texts)))
        states = torch.randn(n, self.dim, generator=torch.Generator().manual_seed(4))
        scale = torch.tensor([float(len(t)) for t in texts])[:, None, None]
        return {"tokens": torch.cos(scale * states)}


def loss_of(model: nn.Module, name: str, device) -> tuple[nn.Module, dict]:
    """A stage, ready to learn on the device, and a batch for it."""
    stage, data = stages_of(model)[name].train().to(device), lesson()
    prepared = getattr(stage, "prepare", lambda data: {})(data)
    image = data.images[:4].to(device).float() / 127.5 - 1
    rows = {k: v[:4].to(device) for k, v in prepared.items()}
    return stage, {"image": image, "caption": data.captions[:4]} | rows


@pytest.mark.parametrize("name, stage", EVERY_STAGE)
def test_loss(name, stage, monkeypatch):
    trained, batch = loss_of(made(name), stage, "cpu")
    torch.manual_seed(7)
    wanted, model = trained.loss(batch), made(name)
    with pretended_device(monkeypatch) as ledger:
        trained, batch = loss_of(model.to(FAR), stage, FAR)
        ledger.waits.clear()
        torch.manual_seed(7)
        found = trained.loss(batch)
        waits = dict(ledger.waits)
        found["loss"].backward()
    for k, v in found.items():
        assert torch.allclose(near(v.detach()), wanted[k].detach(), rtol=2e-3, atol=1e-5), k
    # the reader and Imagen cut a batch to its longest text; a codebook looks once whether it
    # has begun
    once = name == "imagen" or (name, stage) == ("ldm_vq", "autoencoder")
    assert sum(waits.values()) <= (3 if stage == "language" else once), waits


@pytest.mark.parametrize("name, stage, optimizer", TRAININGS)
def test_trains_and_goes_on(name, stage, optimizer, monkeypatch, tmp_path):
    from accelerate import PartialState

    recipe = Recipe(steps=2, batch_size=4, optimizer=optimizer, warmup=1, save_every=1)
    options = dict(progress=False, log_every=1)

    def run(model, out, device, **more):
        torch.manual_seed(0)  # a stage may begin with layers of its own
        trained = stages_of(model.to(device))[stage]
        history = train(trained, lesson(), recipe, out, **options, **more)
        return [h["loss"] for h in history]

    def stop(stage, step, history):
        raise KeyboardInterrupt

    model, stopped, resumed = (made(name) for _ in range(3))
    wanted = run(made(name), None, "cpu", cpu=True)
    with pretended_device(monkeypatch):
        there = property(lambda self: FAR, lambda self, found: None)
        monkeypatch.setattr(PartialState, "device", there, raising=False)
        whole = run(model, None, FAR)
        assert all(p.device.type == FAR.type for p in model.parameters())
        with pytest.raises(KeyboardInterrupt):
            run(stopped, tmp_path, FAR, on_save=stop)
        again = run(resumed, tmp_path, FAR)
    assert whole == pytest.approx(wanted, rel=2e-3)
    assert again == whole
    for (n, a), b in zip(model.named_parameters(), resumed.parameters()):
        assert torch.equal(a.near, b.near), n
