"""Every system draws, edits and learns on a pretended accelerator (`pretended`): nothing mixes
devices or asks for double precision, what it says is what the CPU says, and it hardly waits.
"""

import pytest
import torch
from pretended import FAR, FarTensor, pretended_device
from torch import nn

from t2i_course.data.captioned import CaptionedImages
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


SYSTEMS = {f.__name__: f for f in (pixel, dalle, glide, ldm, ldm_vq)}
DRAWS = {
    "pixel": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")],
    "dalle": [dict(guidance=2.0), dict(top_k=5)],
    "glide": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")]
    + [dict(sampler="ddpm", num_steps=4, clip_guidance=3.0)],
    "ldm": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")],
    "ldm_vq": [dict(num_steps=2)],
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
}
STAGES = {
    "pixel": ["model"],
    "dalle": ["dvae", "transformer"],
    "glide": ["text", "base", "upsampler", "inpaint", "noisy_clip"],
    "ldm": ["autoencoder", "text", "model"],
    "ldm_vq": ["autoencoder", "text", "model"],
}
EVERY_STAGE = [(name, stage) for name, stages in STAGES.items() for stage in stages]


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


def near(x):
    return x.near if isinstance(x, FarTensor) else x


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_stage_is_tried(name):
    assert list(made(name).stages) == STAGES[name]


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


@pytest.mark.parametrize("name, stage", EVERY_STAGE)
def test_loss(name, stage, monkeypatch):
    model, data = made(name), lesson()
    stage_near = model.stages[stage]
    prepared = getattr(stage_near, "prepare", lambda data: {})(data)
    batch = {"image": data.images[:4].float() / 127.5 - 1, "caption": data.captions[:4]}
    batch |= {k: v[:4] for k, v in prepared.items()}
    torch.manual_seed(7)
    wanted = stage_near.loss(batch)
    with pretended_device(monkeypatch) as ledger:
        model = model.to(FAR)
        stage_far = model.stages[stage]
        far = {k: v.to(FAR) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        ledger.waits.clear()
        torch.manual_seed(7)
        found = stage_far.loss(far)
        waits = dict(ledger.waits)
        found["loss"].backward()
        for k, v in found.items():
            assert torch.allclose(near(v.detach()), wanted[k].detach(), rtol=1e-3, atol=1e-5), k
    assert not waits, waits


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("name, stage", EVERY_STAGE)
def test_trains_and_goes_on(name, stage, optimizer, monkeypatch, tmp_path):
    from accelerate import PartialState

    recipe = Recipe(steps=4, batch_size=4, optimizer=optimizer, warmup=1, save_every=2)
    options = dict(progress=False, log_every=1)

    def run(out, device, **more):
        model = made(name).to(device)
        history = train(model.stages[stage], lesson(), recipe, out, **options, **more)
        return [h["loss"] for h in history], model

    def stop(stage, step, history):
        raise KeyboardInterrupt

    wanted, _ = run(None, "cpu", cpu=True)
    with pretended_device(monkeypatch):
        monkeypatch.setattr(PartialState(cpu=True), "device", FAR)
        whole, model = run(None, FAR)
        assert all(p.device.type == FAR.type for p in model.parameters())
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, FAR, on_save=stop)
        again, resumed = run(tmp_path, FAR)
    assert whole == pytest.approx(wanted, rel=1e-2)  # latents of bfloat16 differ a little
    assert again == whole
    for (n, a), b in zip(model.named_parameters(), resumed.parameters()):
        assert torch.equal(a.near, b.near), n
