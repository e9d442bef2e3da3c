"""Every system draws, edits and learns on a pretended accelerator (`pretended`): nothing mixes
devices or asks for double precision, what it says is what the CPU says, and it hardly waits.
"""

import pytest
import torch
from pretended import FAR, FarTensor, pretended_device, without_autocast
from tiny import CAPTIONS, DRAWS, EDITS, STAGES, SYSTEMS, lesson, made, stages_of
from torch import nn

from t2i_course.networks.text import Tokenizer
from t2i_course.training import loop
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*no-op")  # it says so of "meta"
EVERY_STAGE = [(name, stage) for name, stages in STAGES.items() for stage in stages]
OPTIMIZERS = ["adamw", "muon"]
TRAININGS = [(*stage, OPTIMIZERS[i % 2]) for i, stage in enumerate(EVERY_STAGE)]
TRAININGS += [("pixel", "model", "muon"), ("glide", "base", "muon")]


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
    # noise or a token; once, where a next stage begins, its words and the noise it begins with
    later = sorted(b - a for a, b in zip(uploads, uploads[1:]))
    assert later[-1] <= 3 and sum(later[:-1]) <= len(later) - 1, ledger.uploads


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
    # has begun; JPEG's losses are made on the CPU
    once = name in ("imagen", "palette") or (name, stage) == ("ldm_vq", "autoencoder")
    assert sum(waits.values()) <= (2 if stage == "language" else once), waits


def counted_steps(monkeypatch, ledger) -> list[tuple]:
    """A list that grows by a pair a training step from now on: its waits and its uploads."""
    take_step, counts = loop.take_step, []

    def counted(*args):
        waits, uploads = ledger.waits.copy(), ledger.uploads.copy()
        take_step(*args)
        counts.append((ledger.waits - waits, ledger.uploads - uploads))

    monkeypatch.setattr(loop, "take_step", counted)
    return counts


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
    with pretended_device(monkeypatch) as ledger:
        counts = counted_steps(monkeypatch, ledger)
        there = property(lambda self: FAR, lambda self, found: None)
        monkeypatch.setattr(PartialState, "device", there, raising=False)
        whole = run(model, None, FAR)
        waits, uploads = counts[1]  # the first step moves what stays there
        assert all(p.device.type == FAR.type for p in model.parameters())
        with pytest.raises(KeyboardInterrupt):
            run(stopped, tmp_path, FAR, on_save=stop)
        again = run(resumed, tmp_path, FAR)
    assert whole == pytest.approx(wanted, rel=2e-3)
    assert again == whole
    # CLIP: also who may be mirrored, the order of the captions, their meanings, near misses
    assert waits.total() <= 2, waits
    assert uploads.total() <= (6 if name == "clip" else 4), uploads
    for (n, a), b in zip(model.named_parameters(), resumed.parameters()):
        assert torch.equal(a.near, b.near), n
