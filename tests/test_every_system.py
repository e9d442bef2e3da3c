"""What must hold for every system, tried on tiny ones (`tiny`): half precision, and how
captions are read.
"""

import pytest
import torch
from tiny import CAPTIONS, DRAWS, EDITS, SYSTEMS, made

HALVES = {torch.float16: 0.03, torch.bfloat16: 0.1}  # how far a picture may be off, in the mean
EVERY_DRAW = [(name, o) for name, options in DRAWS.items() for o in options]
READERS = [name for name in SYSTEMS if name != "palette"]
EVERY_EDIT = [(name, edit) for name, edits in EDITS.items() for edit in edits]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name, options", EVERY_DRAW, ids=str)
def test_draws_in_half_precision(name, options, dtype):
    wanted = made(name)(CAPTIONS[:2], seed=1, **options).images
    model = made(name).to(dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    found = model(CAPTIONS[:2], seed=1, **options).images
    assert found.dtype == torch.float32 and wanted.std() > 0.05
    assert (found - wanted).abs().mean() < HALVES[dtype]


@pytest.mark.parametrize("name, edit", EVERY_EDIT)
def test_edits_in_half_precision(name, edit):
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    mask = torch.zeros(16, 16)
    mask[4:11, 3:9] = 1
    wanted = edit(made(name), picture, mask)
    found = edit(made(name).half(), picture, mask)
    assert (found - wanted).abs().mean() < 2 * HALVES[torch.float16]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_clip_compares_in_half_precision(dtype):
    picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    wanted = made("clip").similarity(picture, CAPTIONS)
    found = made("clip").to(dtype).similarity(picture, CAPTIONS)
    assert (found - wanted).abs().max() < 0.1 * wanted.std() + HALVES[dtype]


def told(model, caption: str) -> list[torch.Tensor]:
    """What a system makes of a caption."""
    read = getattr(model, "read", None) or model.encode
    found = read([caption])
    return list(found.values()) if isinstance(found, dict) else [found]


def equal(a, b) -> bool:
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize("name", READERS)
@torch.no_grad()
def test_white_space_says_nothing(name):
    model = made(name)
    wanted = told(model, "a fox")
    for caption in ("a  fox", "a\tfox", "a\nfox", " a fox\r\n", "a\u00a0 fox"):
        assert equal(told(model, caption), wanted), caption
    assert not equal(told(model, "afox"), wanted)


@pytest.mark.parametrize("name", READERS)
@torch.no_grad()
def test_special_tokens_are_text(name):
    model = made(name)
    for special in ("[pad]", "[start]", "[PAD]"):
        with_it, before = told(model, f"a {special} fox"), told(model, "a")
        assert not equal(with_it, before), special
        assert not equal(with_it, told(model, "a fox")), special
        # what is behind it is read
        assert not equal(with_it, told(model, f"a {special} cat")), special


def test_painting_knows_where_words_stand():
    model, mask = made("imagen"), torch.zeros(16, 16)
    mask[:8] = 1
    plain = model.paint_maps("a red [pad] star", {"star": mask}, 24)
    odd = model.paint_maps(" a  red\n[pad]\tstar ", {"star": mask}, 24)
    assert torch.equal(plain, odd) and plain.any()
    two = model.paint_maps("a red  star", {"red star": mask}, 24)
    assert torch.equal(two, model.paint_maps("a red star", {"red \t star": mask}, 24))
    read = model.language.tokenizer.encode(["a red [pad] star"], 24)[0]
    painted = plain[0].flatten(1).any(1)
    assert model.language.tokenizer.decode(read[None, painted]) == ["star"]
