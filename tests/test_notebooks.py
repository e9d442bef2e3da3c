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

import pytest
from alone import FAILS_ALONE
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
    sources += ["k = 3\ndef f():\n    return k", "assert f() == 3", "k = 4", "z = k"]
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
    assert "cell 6, 'assert f() == 3': AssertionError" in done.stdout
    assert "2 of 9 cells fail alone" in done.stdout
