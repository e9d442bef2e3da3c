"""The package, README and sidebar are what the notebooks say; the notebooks are clean, small
and show their pictures.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from nbdev.config import get_config

cfg = get_config()
ROOT = cfg.config_path
JUNK = {"__pycache__", ".ipynb_checkpoints"}
NOTEBOOKS = sorted(p for p in cfg.nbs_path.rglob("*.ipynb") if not JUNK & set(p.parts))
READINGS = [p for p in NOTEBOOKS if p.parent.name == "readings"]
by_name = {"ids": lambda p: p.relative_to(cfg.nbs_path).as_posix()}


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def in_a_copy(tmp, code):
    """Run `code` in a copy of the tree."""
    for folder in ("nbs", "t2i_course"):
        shutil.copytree(
            ROOT / folder,
            tmp / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns(*JUNK, "*.safetensors", "*.xz"),
        )
    for name in ("pyproject.toml", "settings.ini", "setup.py", "README.md", "_quarto.yml"):
        shutil.copy(ROOT / name, tmp / name)
    env = {
        k: v for k, v in os.environ.items() if k != "IN_TEST"
    }  # nbdev writes less where it is set
    subprocess.run([sys.executable, "-c", code], cwd=tmp, env=env, check=True)


def differences(tmp, folder, pattern):
    """Files of `folder` that are not the same, byte for byte, in the copy."""

    def files(top):
        return {
            p.relative_to(top) for p in (top / folder).rglob(pattern) if not JUNK & set(p.parts)
        }

    ours, copy = files(ROOT), files(tmp)
    return sorted(
        map(
            str,
            (ours ^ copy)
            | {p for p in ours & copy if (ROOT / p).read_bytes() != (tmp / p).read_bytes()},
        )
    )


def test_package_is_exported(tmp_path):
    in_a_copy(tmp_path, "from nbdev.doclinks import nbdev_export; nbdev_export()")
    assert differences(tmp_path, "t2i_course", "*.py") == [], "run `make export`"


def test_notebooks_are_clean(tmp_path):
    in_a_copy(tmp_path, "from nbdev.clean import nbdev_clean; nbdev_clean()")
    assert differences(tmp_path, "nbs", "*.ipynb") == [], "run `make export`"


@pytest.mark.parametrize("script", ["readme.py", "sidebar.py"])
def test_written_files_are_fresh(script):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_notebook_is_small(path):
    assert path.stat().st_size < 2_000_000, "over 2 MB: shrink the saved pictures"


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_first_cell_is_the_title(path):
    """nbdev makes the page's head of the first cell, and drops what else is in it."""
    lines = "".join(cells(path)[0]["source"]).strip().splitlines()
    assert lines[0].startswith("# "), "begin with '# Title'"
    more = [x for x in lines[1:] if x.strip() and not x.startswith(("> ", "- "))]
    assert not more, f"goes into a cell of its own, or is not on the site: {more[0]}"


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_imports_have_cells_of_their_own(path):
    """The docs run every cell with an import and no other; one that also computes would fail
    there.
    """
    mixed = []
    for cell in cells(path):
        source = "".join(cell["source"])
        if (
            cell["cell_type"] != "code"
            or source.startswith(("%", "!"))
            or "#| export" in source
            or "#| eval: false" in source
        ):
            continue
        kinds = {
            isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(source).body
        }
        if kinds == {True, False}:
            mixed.append(source)
    assert mixed == [], "move the imports into a cell of their own:\n\n" + "\n\n".join(mixed)


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_run_all_fetches_and_trains_nothing_unasked(path):
    """JupyterLab runs every code cell, whatever the page says of it: what fetches gigabytes or
    trains for an hour stands in the text, as Python that can be read.
    """
    for cell in cells(path):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
                ast.parse(code)
        elif path.name != "index.ipynb":
            assert "#| eval: false" not in text, f"put it into the text:\n{text}"


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_notebook_starts_with_title_and_sentence(path):
    first = "".join(cells(path)[0]["source"]).strip().splitlines()
    assert first[0].startswith("# ") and any(
        line.startswith("> ") for line in first
    ), "first cell: '# Title' and '> one sentence'"


@pytest.mark.parametrize("path", READINGS, **by_name)
def test_reading_shows_its_pictures(path):
    kinds = [set(o.get("data", {})) for cell in cells(path) for o in cell.get("outputs", [])]
    assert (
        sum(bool(k & {"image/png", "image/svg+xml", "text/html"}) for k in kinds) >= 5
    ), "fewer than 5 saved pictures: run it and save"


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_no_saved_error_or_dead_widget(path):
    for cell in cells(path):
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error", "".join(cell["source"])
            source = "".join(cell["source"])
            assert output.get("name") != "stderr", f"a warning is saved: mend it\n{source}"
            assert "application/vnd.jupyter.widget-view+json" not in output.get(
                "data", {}
            ), "a stored live view shows 'model not found'"


def test_home_page_shows_what_the_model_draws():
    if not list(cfg.lib_path.rglob("*.safetensors")):
        pytest.skip("no weights are shipped yet")
    assert any(
        "image/png" in o.get("data", {})
        for c in cells(cfg.nbs_path / "index.ipynb")
        for o in c.get("outputs", [])
    )


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_what_a_cell_asks_of_its_page_can_be_read(path):
    """`#| fig-alt: One thing: another` is no YAML; with it all the cell asks for is lost."""
    for cell in cells(path):
        lines = "".join(cell["source"]).splitlines()
        asked = [line.removeprefix("#|").strip() for line in lines if line.startswith("#| ")]
        for line in asked:
            if ":" not in line:
                continue
            try:
                yaml.safe_load(line)
            except yaml.YAMLError:
                pytest.fail(f"put what follows the colon in quotes: {line}")
