"""What pip installs: metadata from settings.ini, the command, weights and data; and nothing
that only developers need.
"""

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
from nbdev.config import get_config

import t2i_course

ROOT = get_config().config_path
parser = configparser.ConfigParser(delimiters=["="])
parser.read(ROOT / "settings.ini")
settings = parser["DEFAULT"]
project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version():
    assert t2i_course.__version__ == settings["version"]


def test_pyproject_agrees_with_settings():
    assert project["name"] == settings["lib_name"]
    assert project["description"] == settings["description"]
    assert project["requires-python"] == f">={settings['min_python']}"
    assert project["urls"] == {
        "Repository": settings["git_url"],
        "Documentation": settings["doc_url"],
    }


def test_constraints_pin_what_make_installs():
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for name in (
        settings["requirements"]
        + " "
        + settings["dev_requirements"]
        + " "
        + settings["parity_requirements"]
    ).split():
        name = name.split(">")[0].split("=")[0].lower().replace("_", "-")
        assert name in pins | {"setuptools"}, f"constraints.txt does not pin {name}"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the package is built from, so that no build leaves anything in the tree.
    """
    src = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT / "t2i_course", src / "t2i_course", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "tests", src / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, src)
    return src


@pytest.fixture(scope="module")
def wheel(source):
    build = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        source / "dist",
        source,
    ]
    done = subprocess.run(
        build, capture_output=True, text=True, env={**os.environ, "PIP_NO_INDEX": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return next((source / "dist").glob("*.whl"))


def test_wheel_holds_modules_data_and_weights(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    kinds = {".py", ".xz", ".safetensors", ".json", ".toml"}
    wanted = [
        p
        for p in (ROOT / "t2i_course").rglob("*")
        if p.suffix in kinds or p.name == "ATTRIBUTION.md"
    ]
    assert {p.relative_to(ROOT).as_posix() for p in wanted} <= set(names)
    assert not [
        n for n in names if not n.startswith(("t2i_course/", "t2i_course-"))
    ], "the wheel holds more than the package"
    assert any(n.endswith(".json.xz") for n in names), "no emoji archive"
    assert any(n.endswith("LICENSE") for n in names)


def test_source_archive_can_be_built_from(source):
    code = "from setuptools.build_meta import build_sdist; build_sdist('sdist')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    with tarfile.open(next((source / "sdist").glob("*.tar.gz"))) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    assert {
        "settings.ini",
        "setup.py",
        "pyproject.toml",
        "t2i_course/data/ATTRIBUTION.md",
    } <= names, "setup.py reads settings.ini"


def test_wheel_is_within_its_budget(wheel):
    infos = zipfile.ZipFile(wheel).infolist()
    weights = [i.file_size for i in infos if i.filename.endswith(".safetensors")]
    assert sum(weights) <= 60e6 and max(weights, default=0) <= 8e6
    assert (
        weights
    ), "no weights are shipped: the command `t2i draw` would have nothing to draw with"


def test_wheel_metadata(wheel):
    archive = zipfile.ZipFile(wheel)

    def read(end):
        return archive.read(next(n for n in archive.namelist() if n.endswith(end))).decode()

    meta, entries = read("METADATA"), read("entry_points.txt")
    assert "t2i = t2i_course.command.cli:main" in entries
    core = [
        line.split(": ")[1].lower()
        for line in meta.splitlines()
        if line.startswith("Requires-Dist") and "extra ==" not in line
    ]
    assert any(c.startswith("torch>=") for c in core) and not [
        c for c in core if "nbdev" in c or "jupyterlab" in c
    ]
    for extra in ("dev", "parity", "bench", "openmoji", "real"):
        assert f"Provides-Extra: {extra}" in meta


def test_command_runs_from_the_wheel_without_developer_tools(wheel, tmp_path):
    """`t2i --help` from the unpacked wheel, with nbdev, fastcore and JupyterLab hidden."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys\nclass Block:\n def find_spec(self, name, path=None, target=None):\n  if"
        " name.split('.')[0] in ('nbdev', 'fastcore', 'execnb', 'jupyterlab', 'pytest'): raise"
        " ImportError(name)\nsys.meta_path.insert(0, Block())\nsys.argv = ['t2i',"
        " '--help']\nimport t2i_course; assert t2i_course.__file__.startswith(sys.path[0]),"
        " t2i_course.__file__\nfrom t2i_course.command.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[0] = {str(tmp_path)!r}\n{code}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0 and "draw" in done.stdout, done.stderr[-2000:]
