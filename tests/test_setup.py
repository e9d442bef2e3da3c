"""scripts/setup.sh says what to do when a machine lacks something.

Each case is brought about, none is imagined.
"""

import json
import os
import shutil
import subprocess
import sys

from nbdev.config import get_config

SETUP = get_config().config_path / "scripts" / "setup.sh"


def setup(venv, path="", **env):
    return subprocess.run(
        ["sh", SETUP, venv],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}", **env},
    )


def fake(folder, name, script):
    """A command called `name` that does `script`."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return str(folder / name)


def test_python_too_old(tmp_path):
    old = fake(
        tmp_path / "bin",
        "python-old",
        'case "$*" in --version) echo Python 3.7.9;; *) exit 1;; esac',
    )
    done = setup(tmp_path / "venv", PYTHON=old)
    assert (
        done.returncode == 1
        and "Python 3.11 or newer is needed; found: Python 3.7.9" in done.stderr
        and "python3-venv" in done.stderr
    )
    assert not (tmp_path / "venv").exists()


def test_no_python(tmp_path):
    done = setup(tmp_path / "venv", PYTHON="no-such-python")
    assert (
        done.returncode == 1
        and "or newer is needed" in done.stderr
        and "python.org" in done.stderr
    )


def test_no_disk(tmp_path):
    fake(
        tmp_path / "bin",
        "df",
        "echo Filesystem 1024-blocks Used Available Capacity Mounted; echo /dev/x 100 90 10240"
        " 99% /",
    )
    done = setup(tmp_path / "venv", path=tmp_path / "bin", PYTHON=sys.executable)
    assert (
        done.returncode == 1 and "only 10 MB are free" in done.stderr and "VENV=" in done.stderr
    )
    assert not (tmp_path / "venv").exists()


def test_no_venv_module(tmp_path):
    python = fake(
        tmp_path / "bin",
        "python-bare",
        'case "$*" in "-m venv"*) mkdir -p "$3/bin"; echo ensurepip is not available; exit 1;;'
        f' esac; exec {sys.executable} "$@"',
    )
    done = setup(tmp_path / "venv", PYTHON=python)
    assert done.returncode == 1 and "apt install python3-venv" in done.stderr
    assert not (
        tmp_path / "venv"
    ).exists(), "a half-made environment would be taken for a whole one"


def test_no_network(tmp_path):
    done = setup(
        tmp_path / "venv",
        PYTHON=sys.executable,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_CONFIG_FILE=os.devnull,
        PIP_RETRIES="0",
        PIP_NO_CACHE_DIR="1",
        PIP_FIND_LINKS="",
        PIP_EXTRA_INDEX_URL="",
    )
    assert (
        done.returncode == 1
        and "could not reach the package index" in done.stderr
        and "HTTPS_PROXY" in done.stderr
    ), done.stderr
    assert (tmp_path / "venv" / "pip.log").exists()
    shutil.rmtree(tmp_path / "venv")


def test_jupyterlab_asks_no_server_and_wraps_lines(tmp_path):
    fake(tmp_path / "venv", "marker", "")
    fake(tmp_path / "venv" / "bin", "python", "exit 0")
    done = setup(tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    settings = "share/jupyter/lab/settings/overrides.json"
    chosen = json.loads((tmp_path / "venv" / settings).read_text())
    assert chosen["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert chosen["@jupyterlab/notebook-extension:tracker"] == {
        "codeCellConfig": {"lineWrap": True}
    }
    # JupyterLab knows these settings
    for name in chosen:
        plugin, setting = name.split(":")
        schema = f"{sys.prefix}/share/jupyter/lab/schemas/{plugin}/{setting}.json"
        with open(schema) as f:
            assert set(chosen[name]) <= set(json.load(f)["properties"]), name
