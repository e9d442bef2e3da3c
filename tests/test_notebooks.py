"""Every notebook of nbs/ is a test: its own process, one torch thread, a hard time limit.

Where ALONE says so, each cell also runs once more, alone, on the finished kernel.

T2I_FLAGS="slow cuda" also runs the cells with these flags; T2I_NB_TIMEOUT is the limit in
seconds.
"""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from alone import FAILS_ALONE, Trial, what_it_reads
from nbdev.config import get_config
from nbdev.doclinks import nbglob

cfg = get_config()
NOTEBOOKS = sorted(nbglob(cfg.nbs_path, as_path=True))
RUN = (
    "import sys; from nbdev.test import nbdev_test; nbdev_test.__wrapped__(sys.argv[1],"
    " flags=sys.argv[2], n_workers=0)"
)
ALONE = ("01_diffusion", "02_ddpm", "03_guidance")  # each of their cells runs again, alone


@pytest.mark.parametrize(
    "notebook", NOTEBOOKS, ids=lambda p: p.relative_to(cfg.nbs_path).as_posix()
)
def test_notebook(notebook):
    env = dict(
        os.environ,
        OMP_NUM_THREADS="1",
        MPLBACKEND="agg",
        TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="1",
    )
    limit = int(os.environ.get("T2I_NB_TIMEOUT", 600))
    program = ["-c", RUN]
    if notebook.stem in ALONE:
        program = [str(cfg.config_path / "scripts" / "alone.py")]
        limit *= 2
    cmd = [sys.executable, *program, str(notebook), os.environ.get("T2I_FLAGS", "")]
    done = subprocess.run(
        cmd, cwd=cfg.config_path, env=env, capture_output=True, text=True, timeout=limit
    )
    said = done.stdout + done.stderr
    if (
        done.returncode
        and notebook.parent.name == "parity"
        and (missing := re.search(r"MissingReference: (.*)", said))
    ):
        pytest.skip(missing[1])
    assert done.returncode == 0, said[-6000:]


def test_notebooks_are_found():
    names = {p.name for p in NOTEBOOKS}
    assert {"index.ipynb", "01_diffusion.ipynb", "02_ddpm.ipynb", "03_guidance.ipynb"} <= names


def test_a_rebound_name_is_found(tmp_path):
    sources = ["x, seen = 1, []", "assert x == 1", "seen.append(x)", "x = 2", "y = [x, seen]"]
    cells = [{"cell_type": "code", "source": s, "metadata": {}, "outputs": []} for s in sources]
    for number, cell in enumerate(cells):
        cell |= {"id": f"c{number}", "execution_count": None}
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    book["metadata"]["kernelspec"] = {"name": "python3", "language": "python"}
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps(book))
    (tmp_path / "pyproject.toml").write_text((cfg.config_path / "pyproject.toml").read_text())
    cmd = [sys.executable, str(cfg.config_path / "scripts" / "alone.py"), str(path)]
    done = subprocess.run(cmd, capture_output=True, text=True)
    assert done.returncode == FAILS_ALONE, done.stderr
    assert "cell 1, 'assert x == 1': AssertionError" in done.stdout
    assert "1 of 5 cells fail alone" in done.stdout


CHANGES = {
    "another name": "x = x + 1",
    "a number inside": "x[0] = 5",
    "a value": "k = 3",
    "a weight": "net.weight.data.zero_()",
    "a mode": "net.train(False)",
    "a list": "seen.append(2)",
    "an object": "thing.size = 4",
    "a function": "def of_x(): return k * x",
    "dice": "dice.manual_seed(1)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_long_cell_runs_again_where_something_changed(change):
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(
        "import torch\nx, k, seen = torch.ones(3), 2, [1]\nnet = torch.nn.Linear(2, 2)\n"
        "class Thing: size = 3\nthing, dice = Thing(), torch.Generator()\n"
        "def of_x(): return x * k\ndef of_net(): return net, thing, dice",
        names,
    )
    cell = SimpleNamespace(source="found = [of_x(), of_net()]\nfound += seen")
    trial = Trial(what_it_reads(cell, names), seconds=60.0)
    assert trial.would_do_the_same(cell, names)
    exec("other = x + 1", names)  # what it does not read
    assert trial.would_do_the_same(cell, names)
    assert not Trial(trial.read, 0.1).would_do_the_same(cell, names), "a short one runs again"
    assert not Trial(trial.read, 60.0, by_chance=True).would_do_the_same(cell, names)
    exec(CHANGES[change], names)
    assert not trial.would_do_the_same(cell, names)
