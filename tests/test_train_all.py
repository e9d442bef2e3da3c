"""scripts/train_all.py: in order, two at a time, on after a stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import train_all

ROOT = Path(__file__).parents[1]
# in the place of `t2i train`: leaves its name and place in a diary, fails or waits when told to
STAND_IN = """
import os, sys, time
from pathlib import Path
out, home = Path(sys.argv[sys.argv.index("--out") + 1]), Path(os.environ["DIARY"])
name = sys.argv[1]
with open(home / "diary", "a") as f:
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    print("begin", name, nice, os.environ["OMP_NUM_THREADS"], file=f)
sys.stderr.write("\\r 50%|#####     | 1/2 [00:01<00:01, loss=0.5]")
sys.stderr.flush()
deadline = time.time() + 60
while (home / f"hold-{name}").exists() and time.time() < deadline:
    time.sleep(0.02)
(out / "model").mkdir(exist_ok=True)
(out / "model" / "card.json").write_text(name)
with open(home / "diary", "a") as f:
    print("end", name, file=f)
sys.exit(3 if (home / f"fail-{name}").exists() else 0)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setenv("DIARY", str(tmp_path))
    monkeypatch.setattr(train_all, "COMMAND", [sys.executable, str(tmp_path / "stand_in.py")])
    monkeypatch.setattr(train_all, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(train_all.signal, "signal", lambda *a: None)
    return tmp_path


def diary(home, what):
    lines = (home / "diary").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith(what)]


def train(home, *argv):
    return train_all.main([*argv, "--out", str(home / "runs"), "--every", "0.05"])


def test_all_in_order_then_nothing_more_to_do(home, capsys):
    assert train(home, "--jobs", "2", "--install") == 0
    begun = (home / "diary").read_text().splitlines()
    order = [line.split()[:2] for line in begun]
    for system, needs in train_all.BUILDS_ON.items():
        for name in needs:
            assert order.index(["end", name]) < order.index(["begin", system])
    assert sorted(diary(home, "end")) == sorted(train_all.SYSTEMS)
    assert {tuple(line.split()[2:]) for line in begun if "begin" in line} == {
        (str(min(19, os.getpriority(os.PRIO_PROCESS, 0) + 15)), "1")
    }
    assert (home / "weights" / "glide-small" / "card.json").read_text() == "glide"
    before = (home / "diary").read_text()
    assert train(home) == 0 and (home / "diary").read_text() == before
    assert "glide: finished before" in capsys.readouterr().out


def test_after_a_failure_what_builds_on_it_waits(home, capsys):
    (home / "fail-clip").touch()
    assert train(home, "clip", "unclip", "imagen", "--jobs", "2") == 1
    assert sorted(diary(home, "begin")) == ["clip", "imagen"], "and not unclip"
    assert "clip: FAILED: 1/2 [00:01<00:01, loss=0.5]" in capsys.readouterr().out
    (home / "fail-clip").unlink()
    assert train(home, "clip", "unclip", "imagen") == 0
    assert diary(home, "begin")[2:] == ["clip", "unclip"]


def test_stopped_it_stops_its_runs(home):
    (home / "hold-pixel").touch()
    script = f"import train_all\ntrain_all.COMMAND = {train_all.COMMAND}\n"
    script += f"raise SystemExit(train_all.main(['pixel', '--out', {str(home / 'runs')!r}]))"
    where = os.pathsep.join([str(ROOT), str(ROOT / "scripts")])
    env = dict(os.environ, PYTHONPATH=where)

    argv = [sys.executable, "-c", script]
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)
    while not (home / "diary").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in said
    assert diary(home, "end") == [], "its run was stopped with it"
