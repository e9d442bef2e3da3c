"""Training survives: kill -9 and resume gives the same weights and the same log, two processes
train what one trains, and a signal stops with a word.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from t2i_course.command.train import size_of
from t2i_course.measure.evaluation import SYSTEMS
from t2i_course.storage import digest_of, load_tensors, save_tensors

ROOT = Path(__file__).parents[1]
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
# a run that is killed while it pauses after a save
PIXELS = """
import sys, time
import torch
from t2i_course.data.captioned import shapes
from t2i_course.guidance import PixelDiffusion
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

out, pause = sys.argv[1], float(sys.argv[2])
data = shapes(64, 32, seed=0)
torch.manual_seed(0)
small = dict(
    text_encoder=dict(dim=32, depth=1, heads=2),
    unet=dict(channels=(16, 32), attention=(1,), head_dim=16, emb_dim=32),
)
model = PixelDiffusion.create(data.captions, **small)
recipe = Recipe(steps=12, batch_size=8, shards=2, warmup=3, decay=4, save_every=2)


def on_save(stage, step, history):
    print("saved", step, flush=True)
    time.sleep(pause)


train(model, data, recipe, out, progress=False, cpu=True, log_every=3, on_save=on_save)
"""
# a system of two stages: the first counts its updates in a buffer, the second reads what the
# first made of all pictures
TINY = """
import sys
from t2i_course.command import cli
from t2i_course.dalle import DALLE
from t2i_course.measure import evaluation


class Tiny(DALLE):
    batches = 0

    @classmethod
    def create(cls, captions):
        dvae = dict(vocab=32, dim=56, hidden=16, depth=1, fine=16, anneal=10)
        return super().create(captions, dvae=dvae, transformer=dict(dim=32, depth=2, heads=2))

    def dvae_loss(self, batch):
        Tiny.batches += 1
        return super().dvae_loss(batch)


evaluation.SYSTEMS["tiny"] = evaluation.System("__main__", "Tiny", "tiny-small", 5, "for tests")
code = cli.main(sys.argv[1:])
print("batches:", Tiny.batches)
sys.exit(code)
"""
# each process draws its share of four pictures, with every system and sampler
DRAWING = """
import sys
from pathlib import Path
from accelerate import PartialState
from t2i_course.storage import save_tensors

folder = Path(__file__).parent
sys.path.insert(0, sys.argv[1])
from tiny import CAPTIONS, DRAWS, made

state, drawn = PartialState(cpu=True), {}
mine = range(state.process_index, 4, state.num_processes)
for name, ways in DRAWS.items():
    model = made(name)
    for k, options in enumerate(ways):
        images = model(CAPTIONS[:1] * len(mine), seed=[7 + i for i in mine], **options).images
        drawn |= {f"{name} {k} {i}": x for i, x in zip(mine, images)}
save_tensors(folder / f"drawn{state.process_index}.safetensors", drawn, {})
"""
TINYS_RECIPE = """
[cpu.dvae]
steps = 6
batch_size = 16
shards = 2
warmup = 2
save_every = 4
ema = 0.5

[cpu.transformer]
steps = 5
batch_size = 16
shards = 2
warmup = 2
optimizer = "muon"
precision = "bf16"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the programs above, a recipe, and pictures of 32 and of 64 pixels."""
    from t2i_course.data.captioned import shapes

    folder = tmp_path_factory.mktemp("training")
    (folder / "pixels.py").write_text(PIXELS)
    (folder / "tiny.py").write_text(TINY)
    (folder / "drawing.py").write_text(DRAWING)
    (folder / "tiny.toml").write_text(TINYS_RECIPE)
    for size in (32, 64):
        shapes(32, size, seed=0).save(folder / f"set{size}.safetensors")
    return folder


def start(*argv, **options):
    """A Python process of ours."""
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT), T2I_DEBUG="1")
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, *map(str, argv)], env=env, **pipes, **options)


def run(*argv) -> str:
    """What a Python process of ours prints that ends well."""
    process = start(*argv)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-4000:]
    return said


def checkpoint(file):
    """A checkpoint's tensors, and its facts without those that time has a part in."""
    tensors, facts = load_tensors(file)
    for entry in facts["history"]:
        del entry["images_per_second"]
    del facts["seconds"]
    return tensors, facts


def differing(a: dict, b: dict) -> list[str]:
    """Names of tensors that two files do not agree on, to the last bit."""
    assert a.keys() == b.keys()
    return [k for k in a if not torch.equal(a[k], b[k])]


def test_kill_and_resume(place):
    run(place / "pixels.py", place / "whole", 0)
    worker = start(place / "pixels.py", place / "killed", 0.5)
    for line in worker.stdout:
        if line.startswith("saved 4"):
            break
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    run(place / "pixels.py", place / "killed", 0)
    files = [place / way / "checkpoint.safetensors" for way in ("whole", "killed")]
    (a, facts), (b, same) = map(checkpoint, files)
    assert len(a) > 100 and differing(a, b) == []
    assert facts == same and [e["step"] for e in facts["history"]] == [3, 6, 9, 12]


def test_two_processes_train_what_one_trains(place):
    argv = ["train", "tiny", "--preset", "cpu", "--recipe", place / "tiny.toml"]
    argv += ["--data", place / "set32.safetensors", "--device", "cpu", "--out"]
    alone = run(place / "tiny.py", *argv, place / "one")
    both = run(*TWO, place / "tiny.py", *argv, place / "two")
    assert re.findall("batches: (.*)", alone) == ["12"], "two shards in each of six steps"
    assert re.findall("batches: (.*)", both) == ["6", "6"], "the work was shared"
    for stage in ("dvae", "transformer"):
        name = f"stages/{stage}/checkpoint.safetensors"
        (a, facts), (b, same) = (checkpoint(place / way / name) for way in ("one", "two"))
        # half of a gradient and half of another are added in one process as in two
        assert len(a) > 40 and differing(a, b) == []
        assert facts == same and facts["recipe"]["shards"] == 2
        if stage == "dvae":
            assert a["model.trained.updates"] == facts["step"] == 6, "counted once a step"
    ways = [load_tensors(place / way / "model/model.safetensors")[0] for way in ("one", "two")]
    assert differing(*ways) == []


def test_two_processes_draw_what_one_draws(place):
    from tiny import CAPTIONS, DRAWS, made

    run(*TWO, place / "drawing.py", ROOT / "tests")
    shares = [load_tensors(place / f"drawn{rank}.safetensors")[0] for rank in (0, 1)]
    count = 2 * sum(map(len, DRAWS.values()))
    assert [len(share) for share in shares] == [count, count]
    for name, ways in DRAWS.items():
        model = made(name)
        for k, options in enumerate(ways):
            together = model(CAPTIONS[0], n=4, seed=7, **options).images
            for i, x in enumerate(together):
                apart = shares[i % 2][f"{name} {k} {i}"]
                assert torch.allclose(x, apart, atol=1e-4), (name, options, i)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_stops_with_a_word(place, name):
    out = place / name
    argv = ["train", "tiny", "--preset", "cpu", "--recipe", place / "tiny.toml", "--steps"]
    argv += [100_000, "--data", place / "set32.safetensors", "--device", "cpu", "--out", out]

    def as_usual():  # a run of the tests under nohup would pass on that hanging up is ignored
        signal.signal(getattr(signal, name), signal.SIG_DFL)

    worker = start(place / "tiny.py", *argv, preexec_fn=as_usual)
    for line in worker.stderr:
        if "checkpoints in" in line:
            break
    while not (out / "stages/dvae/checkpoint.safetensors").exists() and worker.poll() is None:
        os.sched_yield()
    worker.send_signal(getattr(signal, name))
    _, errors = worker.communicate(timeout=60)
    last = errors.strip().splitlines()[-1]
    assert worker.returncode == 130 and "Traceback" not in errors
    assert f"training stopped by {name}; the same command goes on" in last
    assert not [p for p in out.rglob("*.part")]


@pytest.mark.parametrize("damage", ["cut", "foreign", "turned", "other model"])
def test_bad_checkpoint_is_named(place, tmp_path, damage):
    from t2i_course.training.loop import train
    from t2i_course.training.recipe import Recipe

    class Colour(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.colour = torch.nn.Parameter(torch.zeros(3, 1, 1))

        def loss(self, batch):
            return {"loss": (batch["image"] - self.colour).square().mean()}

    from t2i_course.data.captioned import shapes

    def again():
        train(Colour(), shapes(8, 16), Recipe(steps=2), tmp_path, progress=False, cpu=True)

    again()
    file = tmp_path / "checkpoint.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        file.write_bytes(b"not weights at all")
    elif damage == "turned":
        content[-3] ^= 4
        file.write_bytes(content)
    else:
        tensors, facts = load_tensors(file)
        tensors["model.extra"] = tensors.pop("model.colour")
        save_tensors(file, tensors, facts)
    with pytest.raises(ValueError, match="checkpoint.safetensors") as said:
        again()
    assert "\n" not in str(said.value)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


@pytest.mark.slow
def test_killed_at_any_moment(place):
    """Whatever it was doing: what is on the disk can be read, belongs together, goes on."""
    dice, kills = random.Random(0), 0
    recipe = place / "often.toml"
    first = TINYS_RECIPE.split("[cpu.transformer]")[0].replace("dvae", "model")
    often = first.replace("steps = 6", "steps = 15").replace("save_every = 4", "save_every = 1")
    recipe.write_text(often)
    (place / "one.py").write_text(TINY.replace("    batches = 0\n", ONE_STAGE))
    argv = [place / "one.py", "train", "tiny", "--preset", "cpu", "--recipe", recipe]
    argv += ["--data", place / "set32.safetensors", "--device", "cpu", "--out"]
    run(*argv, place / "unkilled")
    out = place / "often killed"
    file, model = out / "checkpoint.safetensors", out / "model"
    step = 0
    while step < 15:
        worker = start(*argv, out)
        while worker.poll() is None:
            time.sleep(0.02)
            if file.exists() and load_tensors(file)[1]["step"] > step:
                time.sleep(dice.random() / 5)
                worker.kill()
                kills += worker.wait() == -signal.SIGKILL
        worker.communicate()
        step = load_tensors(file)[1]["step"]
        if (model / "card.json").exists():
            card = json.loads((model / "card.json").read_text())
            assert card["sha256"] == digest_of(model) and card["recipe"]["steps"] == 15
    (a, facts), (b, same) = (checkpoint(f) for f in (place / "unkilled" / file.name, file))
    print(f"{kills} kills")
    assert kills >= 5 and differing(a, b) == [] and facts == same


ONE_STAGE = """    batches = 0

    @property
    def stages(self):
        return {"model": super().stages["dvae"]}

"""
# Losses that compare the pictures of a batch with each other see those of all processes at
# once, where one process sees a shard: there two processes are another run, and a better one.
COMPARING = {"clip": ["model"], "glide": ["noisy_clip"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, s in SYSTEMS.items() if not s.plays])
def test_every_system_by_two_processes(place, tmp_path, name):
    """All stages of each system as it is shipped, two steps each, by one process and by two."""
    recipe = tmp_path / "short.toml"
    new = SYSTEMS[name].load_class().create(["a fox, noto style"])
    stages = list(getattr(new, "stages", {"model": new}))
    short = "steps = 2\nbatch_size = 8\nwarmup = 1\nshards = 2\n"
    recipe.write_text("".join(f"[cpu.{s}]\n{short}" for s in stages))
    size = size_of(SYSTEMS[name].load_class()) or 32
    argv = ["-m", "t2i_course.command.cli", "train", name, "--preset", "cpu"]
    argv += ["--recipe", recipe, "--data", place / f"set{size}.safetensors"]
    argv += ["--device", "cpu", "--out"]
    run(*argv, tmp_path / "one")
    run(*TWO, *argv, tmp_path / "two")
    for stage in stages:
        inside = f"stages/{stage}/" if len(stages) > 1 else ""
        name_of = f"{inside}checkpoint.safetensors"
        (a, facts), (b, same) = (checkpoint(tmp_path / way / name_of) for way in ("one", "two"))
        if stage in COMPARING.get(name, []):
            apart, together = (told["history"][0]["loss"] for told in (facts, same))
            assert apart < together, "there is more to tell apart"
        else:
            assert differing(a, b) == [] and facts == same, stage
