"""Exercises: each holds, and stands once in its notebook: box, stub, check, what it pays."""

import ast
import builtins
import json
import re
import symtable
from importlib import import_module

import pytest
from nbdev.config import get_config

cfg = get_config()
FOUND = {p.stem for p in (cfg.nbs_path / "exercises").glob("[!._]*.ipynb")}
MODULES = sorted(FOUND - {"box", "progress"})


def code_cells(path):
    """(source, source_hidden) of a notebook's code cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        ("".join(c["source"]), bool(c["metadata"].get("jupyter", {}).get("source_hidden")))
        for c in cells
        if c["cell_type"] == "code"
    ]


def module_of(path):
    """The module that a notebook exports."""
    text = "\n".join(source for source, _ in code_cells(path))
    found = re.search(r"^#\| default_exp (\S+)", text, re.M)
    return found and found[1]


READINGS = {module_of(p): p for p in sorted((cfg.nbs_path / "readings").glob("*.ipynb"))}
# notebooks of other rooms that have exercises: networks.transformer
NETWORKS = {p.stem: p for p in (cfg.nbs_path / "networks").glob("*.ipynb") if p.stem in MODULES}
HOMES = NETWORKS | READINGS  # networks.gan is a part of reading 13


def exercises_of(module):
    """{key: exercise} of a reading's module; none where it has no notebook of exercises."""
    from t2i_course.exercises.box import EXERCISES

    if module in MODULES:
        import_module(f"t2i_course.exercises.{module}")
    return {k: e for k, e in EXERCISES.items() if k.split(".")[0] == module}


def without_directives(source):
    return "\n".join(x for x in source.splitlines() if not x.startswith("#|")).strip()


def asked(cells):
    """Keys of the boxes in a reading, in order."""
    return [k for s, _ in cells for k in re.findall(r"^box\(\"(.*?)\"\)", s, re.M)]


def bound(sources):
    """Names that cells bind, anywhere in them."""
    names = set(dir(builtins))
    for source in sources:
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a magic
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.alias):
                names.add(node.asname or node.name.split(".")[0])
    return names


def wanted(source):
    """Names that a solution takes from around it."""
    tables, found = [symtable.symtable(source, "solution", "exec")], set()
    own = {s.get_name() for s in tables[0].get_symbols() if s.is_assigned()}
    for table in tables:
        found |= {s.get_name() for s in table.get_symbols() if s.is_global()}
        tables += table.get_children()
    return found - own


def faults_of(key, exercise, cells):
    """What is wrong with an exercise's place in its reading."""
    from t2i_course.exercises.box import with_gaps, without_marks

    sources = [without_directives(s) for s, _ in cells]
    boxes = [i for i, s in enumerate(sources) if s == f'box("{key}")']
    if len(boxes) != 1:
        return [f"its box stands {len(boxes)} times"]
    at, stub = boxes[0], with_gaps(exercise.solution)
    box, given, verdict = (*cells[at : at + 3], ("", False), ("", False))[:3]
    name = ast.parse(stub).body[-1].name
    missing = wanted(without_marks(exercise.solution)) - bound(sources[:at])
    pay = rf"yours\(\s*\"{key}\""
    rules = {
        "its box lacks `#| echo: false`": "#| echo: false" in box[0],
        "its box's source is not folded": box[1],
        "its stub does not follow the box": given[0] == stub,
        "its stub stands more than once": sources.count(stub) == 1,
        "its stub is hidden": not given[1],
        f'check("{key}", {name}) does not follow the stub': (
            without_directives(verdict[0]) == f'check("{key}", {name})'
        ),
        f'nothing after it is drawn with yours("{key}", {name})': (
            any(re.search(pay, s) for s in sources[at:])
        ),
        f"its solution needs {sorted(missing)}, not there before it": not missing,
    }
    return [fault for fault, fine in rules.items() if not fine]


@pytest.mark.parametrize("module", MODULES)
def test_exercises_hold(module):
    from t2i_course.exercises.box import holds

    assert exercises_of(module), f"nbs/exercises/{module}.ipynb defines no exercise"
    for key in exercises_of(module):
        holds(key)


@pytest.mark.parametrize("module", MODULES)
def test_exercises_stand_in_their_reading(module):
    assert module in HOMES, f"no reading or network exports {module!r}"
    cells = code_cells(HOMES[module])
    found = {k: faults_of(k, e, cells) for k, e in exercises_of(module).items()}
    assert not {k: f for k, f in found.items() if f}


@pytest.mark.parametrize("module", HOMES)
def test_reading_has_enough_exercises(module):
    cells = code_cells(HOMES[module])
    keys = asked(cells)
    if not keys:
        pytest.skip("not yet moved to the new exercises")
    assert len(keys) >= 5, "a reading has at least five exercises"
    assert sorted(keys) == sorted(exercises_of(module))
    old = [s for s, _ in cells if re.search(r"^def (solution|holds)\(|^attempt\(", s, re.M)]
    assert not old, "exercises of the old kind are left"


def test_the_rules_themselves():
    from t2i_course.exercises.box import EXERCISES, Exercise, with_gaps

    solution = "def my_f(x):\n    return at(x)  #!"
    right = [
        ("from t2i_course.diffusion import at", False),
        ('#| echo: false\nbox("demo.f")', True),
        ("def my_f(x):\n    ...", False),
        ('check("demo.f", my_f)', False),
        ('show(yours("demo.f", my_f)(3))', False),
    ]
    exercise = Exercise("demo.f", "F", "You see f.", solution, print, ("a", "b"), {})
    del EXERCISES["demo.f"]
    assert with_gaps(solution) == right[2][0]
    assert faults_of("demo.f", exercise, right) == []
    wrong = [
        (0, ("import torch", False), "needs ['at']"),
        (1, ('box("demo.f")', True), "echo"),
        (1, (right[1][0], False), "not folded"),
        (1, ("1 + 1", False), "stands 0 times"),
        (2, ("def my_f(y):\n    ...", False), "does not follow the box"),
        (2, (right[2][0], True), "hidden"),
        (3, ('check("demo.f", my_g)', False), "does not follow the stub"),
        (4, ("show(my_f(3))", False), "nothing after it"),
        (4, right[1], "stands 2 times"),
        (4, right[2], "more than once"),
    ]
    for i, cell, fault in wrong:
        assert fault in str(faults_of("demo.f", exercise, [*right[:i], cell, *right[i + 1 :]]))
    assert faults_of("demo.f", exercise, right[:3]) != []
    text = "def h(x):\n    return x\ndef f(x):\n    return h(x) + torch.ones(len(x))"
    assert wanted(text) == {"torch", "len"}
