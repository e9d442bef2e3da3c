"""Tiny systems of every kind, untrained, and what they are asked for: for tests that go over
all of them.
"""

import atexit
import shutil
import tempfile
from functools import cache

import torch
from torch import nn

from t2i_course.data.captioned import CaptionedImages
from t2i_course.networks.language import Borrowed
from t2i_course.networks.text import Tokenizer

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


def ldm_plain():
    return ldm(guess=None)


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


def stable_diffusion():
    from t2i_course.ldm import StableDiffusion

    tokenizer = Tokenizer.from_captions(CAPTIONS)
    words = dict(vocab_size=len(tokenizer) + 2, dim=24, depth=1, heads=3)
    net = dict(channels=(16, 32), attention=(0,), heads=4, context_dim=24, groups=8)
    sizes = dict(autoencoder=dict(channels=(16, 32), groups=8, num_res=1), unet=net)
    return StableDiffusion(tokenizer.to_str(), 16, text_encoder=words, **sizes)


def deepfloyd():
    from t2i_course.imagen import DeepFloydIF

    def states(ids, mask):
        return (ids[..., None] * torch.linspace(0.1, 1, 32)).sin()

    language = Borrowed(states, Tokenizer.from_captions(CAPTIONS).bpe, 32, 77)
    net = dict(NET, text_dim=32, token_dim=48, pool_heads=2, attention=(1,), head_dim=8)
    net |= dict(out_channels=6, activation="gelu", token_group_norm=True)
    return DeepFloydIF(language, net, image_size=16)


def palette():
    from t2i_course.palette import Palette

    net = dict(patch=2, channels=(16, 32), attention=(1,), head_dim=16, emb_dim=32)
    return Palette.create(image_size=16, unet=net)


def swift():
    from t2i_course.swift import Swift

    return Swift.create(teacher=ldm_folder(), intervals=10, num_steps=2)


@cache
def ldm_folder() -> str:
    """A folder with a tiny LatentDiffusion, as long as the tests run."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    ldm_plain().save_pretrained(folder, dtype=torch.float32)
    return f"{folder}/"


def gan():
    from t2i_course.gan import GAN

    folder = clip_folder()
    torch.manual_seed(0)
    nets = dict(channels=(16, 16), look=(1,))
    losses = dict(every=1, clip=0.5)
    return GAN.create(clip=folder, generator=nets, discriminator=nets, losses=losses)


MADE = pixel, clip, dalle, glide, ldm, ldm_plain, ldm_vq, unclip, imagen
MADE += stable_diffusion, deepfloyd, palette, swift, gan
SYSTEMS = {f.__name__: f for f in MADE}
DRAWS = {
    "pixel": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")],
    "dalle": [dict(guidance=2.0), dict(top_k=5)],
    "glide": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")]
    + [dict(sampler="ddpm", num_steps=4, clip_guidance=3.0)],
    "ldm": [dict(sampler=s, num_steps=4) for s in ("ddpm", "ddim", "dpm++")],
    "ldm_plain": [dict(num_steps=2)],
    "ldm_vq": [dict(num_steps=2)],
    "unclip": [
        dict(num_steps=4, prior_steps=3),
        dict(num_steps=4, prior_steps=3, sampler="ddpm", prior="ar"),
    ],
    "imagen": [
        dict(num_steps=4, up_steps=3, sampler=s, threshold=t)
        for s, t in (("ddpm", "dynamic"), ("dpm++", "static"))
    ],
    "stable_diffusion": [dict(num_steps=4)],
    "deepfloyd": [dict(num_steps=4)],
    "gan": [dict(), dict(truncation=0.5)],
    "swift": [dict(num_steps=2), dict(num_steps=4)],
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
    "palette": [
        lambda m, x, mask: m.edit(x, "colourise", n=2, num_steps=3).images,
        lambda m, x, mask: m.edit(x, "fill", mask, n=2, num_steps=3, sampler="ddpm").images,
        lambda m, x, mask: m.edit(x, "uncrop", num_steps=3, sampler="ddim").images,
        lambda m, x, mask: m.edit(x, "restore", num_steps=3).images,
    ],
}
SPEECHLESS = {"clip", "palette"}  # draw no prompts
STAGES = {
    "pixel": ["model"],
    "clip": ["model"],
    "dalle": ["dvae", "transformer"],
    "glide": ["text", "base", "upsampler", "inpaint", "noisy_clip"],
    "ldm": ["autoencoder", "text", "model"],
    "ldm_plain": ["autoencoder", "model"],
    "ldm_vq": ["autoencoder", "text", "model"],
    "unclip": ["prior", "ar_prior", "decoder", "upsampler"],
    "imagen": ["language", "base", "upsampler"],
    "stable_diffusion": [],
    "deepfloyd": [],
    "palette": ["model"],
    "gan": ["model"],
    "swift": ["model"],
}


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
    """What draws no prompts is its own one stage."""
    return getattr(model, "stages", {"model": model})
