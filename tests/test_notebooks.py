"""Every notebook of nbs/ is a test: its own process, one torch thread, a hard time limit.

T2I_FLAGS="slow cuda" also runs the cells with these flags; T2I_NB_TIMEOUT is the limit in
seconds.
"""

import os
import re
import subprocess
import sys

import pytest
from nbdev.config import get_config
from nbdev.doclinks import nbglob

cfg = get_config()
NOTEBOOKS = sorted(nbglob(cfg.nbs_path, as_path=True))
RUN = (
    "import sys; from nbdev.test import nbdev_test; nbdev_test.__wrapped__(sys.argv[1],"
    " flags=sys.argv[2], n_workers=0)"
)


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
    cmd = [sys.executable, "-c", RUN, str(notebook), os.environ.get("T2I_FLAGS", "")]
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
