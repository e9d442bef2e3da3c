"""The house's rules for code, in notebooks, tests and scripts.

What breaks them still is counted in not_yet.json, and those numbers only fall.
"""

import json
from pathlib import Path

import house
import pytest

ALLOWED = json.loads(house.NOT_YET.read_text(encoding="utf-8"))
FILES = house.written(house.ROOT)
by_name = {"ids": lambda p: p.relative_to(house.ROOT).as_posix()}


@pytest.mark.parametrize("path", FILES, **by_name)
def test_code_reads_well(path):
    allowed = ALLOWED.get(path.relative_to(house.ROOT).as_posix(), {})
    too_many = {r: f for r, f in house.faults(path).items() if len(f) > allowed.get(r, 0)}
    shown = [f"{rule}: {place}" for rule, places in too_many.items() for place in places]
    assert not shown, "\n".join(shown)


def test_every_file_is_seen():
    names = {p.relative_to(house.ROOT).as_posix() for p in FILES}
    assert {"setup.py", "tests/test_house.py", "scripts/house.py"} <= names
    assert {"nbs/index.ipynb", "nbs/readings/02_ddpm.ipynb", "nbs/storage.ipynb"} <= names
    assert not [name for name in names if name.startswith("t2i_course/")]


WRONG = {
    "semicolon": ["a = 1; b = 2"],
    "lambda in a lambda": ["f = lambda x: lambda y: x"],
    "more than three names at once": ["a, b, c, d = range(4)", "a = b, c, d, e = range(4)"],
    "comprehension in a comprehension": [
        "[[x for x in y] for y in z]",
        "{a: max(b for b in a) for a in c}",
    ],
    "over 96 characters": ["x" * 97],
    "cell too long": ["\n".join(["x = 1"] * 26), "#| export\n" + "\n".join(["x = 1"] * 41)],
    "helper cell not folded": ["#| hide\nx = 1", "#| code-fold: true\nx = 1"],
}
RIGHT = [
    "a = 'x;y'  # ; and lambda: lambda",
    "f, g = (lambda x: x), (lambda y: y)",
    "a, b, c = range(3)\nfor a, b, c, d in e:\n    pass",
    "[x for y in z for x in y]\n[f([1]) for _ in x]",
    "x" * 96,
    "\n".join(["x = 1", ""] * 25),
    "#| export\n" + "\n".join(["x = 1"] * 40),
    "%matplotlib inline; 1",
]


def notebook(folder: Path, source: str, hidden: bool = False) -> Path:
    """A notebook of one cell."""
    metadata = {"jupyter": {"source_hidden": True}} if hidden else {}
    cell = {"cell_type": "code", "source": source, "metadata": metadata}
    path = folder / "one.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    return path


@pytest.mark.parametrize("rule", WRONG)
def test_the_rules_catch(rule, tmp_path):
    for source in WRONG[rule]:
        assert list(house.faults(notebook(tmp_path, source))) == [rule], source


def test_the_rules_let_pass(tmp_path):
    for source in RIGHT:
        assert house.faults(notebook(tmp_path, source)) == {}, source
    long = "#| hide\n" + "\n".join(["x = 1"] * 60)
    assert house.faults(notebook(tmp_path, long, hidden=True)) == {}


def test_the_list_only_shrinks():
    allowed = {"a": {"semicolon": 3, "cell too long": 1}, "b": {"semicolon": 2}}
    found = {"a": {"semicolon": ["x"] * 5, "cell too long": []}, "c": {"semicolon": ["x"]}}
    assert house.shrink(allowed, found) == {"a": {"semicolon": 3}}
