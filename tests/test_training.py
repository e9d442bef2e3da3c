"""Training survives: kill -9 and resume gives the same weights; two processes give the loss
curve of one.
"""

import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest, torch

ROOT = Path(__file__).parents[1]
WORKER = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
from t2i_course.guidance import PixelDiffusion
from t2i_course.data.captioned import shapes
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe
import torch
out, pause = Path(sys.argv[1]), float(sys.argv[2])
data = shapes(64, 32, seed=0)
torch.manual_seed(0)
text_encoder = dict(dim=32, depth=1, heads=2)
unet = dict(channels=(16, 32), attention=(1,), head_dim=16, emb_dim=32)
model = PixelDiffusion.create(data.captions, text_encoder=text_encoder, unet=unet)
recipe = Recipe(steps=12, batch_size=8, shards=2, warmup=3, decay=4, save_every=2)
def on_save(stage, step, history):
    print("saved", step, flush=True)
    time.sleep(pause)
options = dict(progress=False, cpu=True, log_every=1, on_save=on_save)
history = train(model, data, recipe, out, **options)
(out / "history.json").write_text(json.dumps([h["loss"] for h in history]))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("training") / "worker.py"
    path.write_text(WORKER)
    return path


def environment():
    return dict(
        os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT), TOKENIZERS_PARALLELISM="false"
    )


def run(script, out, launcher=(), pause=0):
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(out), str(pause)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def whole(script):
    out = script.parent / "whole"
    run(script, out)
    return out


def tensors(out):
    from safetensors.torch import load_file

    return load_file(out / "checkpoint.safetensors")


def test_kill_and_resume(script, whole):
    out = script.parent / "killed"
    worker = subprocess.Popen(
        [sys.executable, str(script), str(out), "0.5"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in worker.stdout:
        if line.startswith("saved 6"):
            break
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    run(script, out)
    a, b = tensors(whole), tensors(out)
    assert a.keys() == b.keys() and len(a) > 100
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


def test_two_processes_train_the_same(script, whole):
    out = script.parent / "two"
    run(
        script,
        out,
        (
            "-m",
            "accelerate.commands.launch",
            "--cpu",
            "--num_processes",
            "2",
            "--num_machines",
            "1",
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
            "--main_process_port",
            "0",
        ),
    )
    one, two = (json.loads((o / "history.json").read_text()) for o in (whole, out))
    assert len(one) == 12 and one == pytest.approx(two, rel=1e-3)
    a, b = tensors(whole), tensors(out)
    worst = max((a[k] - b[k]).abs().max().item() for k in a if k.startswith("model."))
    assert worst < 1e-3, worst


@pytest.mark.parametrize("damage", ["cut", "foreign", "other model"])
def test_bad_checkpoint_is_named(script, whole, tmp_path, damage):
    file = tmp_path / "checkpoint.safetensors"
    content = (whole / "checkpoint.safetensors").read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        file.write_bytes(b"not weights at all")
    else:
        from safetensors.torch import save_file

        save_file(
            {"model.a": torch.ones(1)}, file, {"t2i": json.dumps({"step": 1, "history": []})}
        )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "0"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert (
        done.returncode != 0
        and last.startswith("ValueError:")
        and "checkpoint.safetensors" in last
    ), done.stderr[-2000:]
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.safetensors"}
