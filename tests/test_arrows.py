"""Arrows point one way, room by room, and there is no cycle."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from nbdev.config import get_config

cfg = get_config()
LIB = cfg.lib_path
READINGS = [
    "diffusion",
    "ddpm",
    "guidance",
    "clip",
    "dalle",
    "glide",
    "ldm",
    "unclip",
    "imagen",
    "evaluation",
    "palette",
    "swift",
    "gan",
    "music",
]
# what `t2i train` and `t2i evaluate` may not need: a GPU machine has only torch, numpy, einops,
# safetensors, accelerate, tokenizers, pillow and tqdm
HEAVY = [
    "matplotlib",
    "ipywidgets",
    "anywidget",
    "IPython",
    "transformers",
    "diffusers",
    "open_clip",
    "torchvision",
    "torchmetrics",
    "resvg_py",
    "nbdev",
    "scipy",
    "pandas",
    "sklearn",
    "traitlets",
]


def module_name(path):
    return ".".join(path.relative_to(LIB).with_suffix("").parts)


MODULES = {module_name(p): p for p in sorted(LIB.rglob("*.py")) if not p.name.startswith("_")}


def imports(name, tree):
    """Modules of the package that `name` imports anywhere, also inside functions."""
    package = name.split(".")[:-1]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) + 1 - node.level] if node.level else []
            base = (["t2i_course", *up] if node.level else []) + (node.module or "").split(".")
            stem = ".".join(p for p in base if p)
            targets = [stem, *(f"{stem}.{a.name}" for a in node.names)]
        else:
            continue
        found |= {t.removeprefix("t2i_course.") for t in targets if t.startswith("t2i_course.")}
    return {f for f in found if f in MODULES and f != name}


# what each room may import beside itself; a reading knows all below it and the readings before
# it
BELOW = ["storage", "data", "networks", "training", "system", "published"]
MAY_KNOW = {
    "storage": [],
    "data": ["storage"],
    "networks": ["storage"],
    "training": ["storage"],
    "system": ["storage", "training", "data"],
    "published": ["storage", "networks"],
    "readings": BELOW,
    **dict.fromkeys(
        ["widgets", "measure", "papers", "exercises"],
        [*BELOW, "readings", "widgets", "measure", "papers", "exercises"],
    ),
    "command": [*BELOW, "readings", "widgets", "measure", "papers", "exercises"],
}


def room(name):
    return "readings" if name in READINGS else name.split(".")[0]


def fault(name, target):
    """What is wrong with `name` importing `target`; empty if nothing."""
    here, there = room(name), room(target)
    if here == there == "readings":
        early = READINGS.index(target) < READINGS.index(name)
        return "" if early else f"a reading knows only earlier ones: {name} -> {target}"
    if here == there or there in MAY_KNOW[here]:
        return ""
    return f"{here} may not know {there}: {name} -> {target}"


GRAPH = {
    name: imports(name, ast.parse(path.read_text(encoding="utf-8")))
    for name, path in MODULES.items()
}


def test_the_rule_itself():
    wrong = [
        ("networks.unet", "ddpm"),
        ("networks.unet", "data.shapes"),
        ("data.shapes", "networks.unet"),
        ("training.loop", "system"),
        ("system", "guidance"),
        ("published.glide", "glide"),
        ("ddpm", "guidance"),
        ("ddpm", "widgets.plots"),
        ("widgets.plots", "command.cli"),
    ]
    right = [
        ("guidance", "ddpm"),
        ("command.cli", "guidance"),
        ("ddpm", "networks.unet"),
        ("system", "training.loop"),
        ("published.glide", "networks.adm"),
        ("measure.rating", "widgets.players"),
    ]
    assert all(fault(*pair) for pair in wrong)
    assert not any(fault(*pair) for pair in right)
    sample = (
        "from ..ddpm import ddim\nfrom .unet import UNet\nfrom t2i_course import"
        " guidance\nimport t2i_course.diffusion"
    )
    found = imports("networks.adm", ast.parse(sample))
    assert found == {"ddpm", "guidance", "diffusion", "networks.unet"}


def test_every_module_lives_in_a_room():
    assert {room(name) for name in MODULES} <= set(MAY_KNOW)


@pytest.mark.parametrize("name", MODULES)
def test_arrows(name):
    assert [f for target in sorted(GRAPH[name]) if (f := fault(name, target))] == []


def test_no_cycle():
    list(TopologicalSorter(GRAPH).static_order())  # raises CycleError with the cycle in it


@pytest.mark.parametrize("name", MODULES)
def test_module_is_short_and_finished(name):
    text = MODULES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) < 1100, "a module stays under 1100 lines"
    assert not [w for w in ("TODO", "FIXME", "XXX", "NotImplemented") if w in text]
    assert name.split(".")[-1] != "utils"


BLOCKED = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {HEAVY!r}:
            raise ImportError(name + ' is not on the machine that trains')
sys.meta_path.insert(0, Block())
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code],
        cwd=cfg.config_path,
        capture_output=True,
        text=True,
    )


def test_the_block_blocks():
    assert "not on the machine" in run("import matplotlib").stderr


def test_training_and_evaluating_need_few_libraries():
    """Readings, what lies below them, the command line and the ruler import with only torch,
    numpy, einops, safetensors, accelerate, tokenizers, pillow, tqdm.
    """
    below = [n for n in MODULES if room(n) in [*BELOW, "readings"]]
    names = [*below, "command.cli", "measure.evaluation"]
    done = run(
        "import importlib\n"
        + "\n".join(f"importlib.import_module('t2i_course.{n}')" for n in names)
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_import_is_light():
    done = run(
        "import t2i_course, sys; print([m for m in ('torch', 'numpy', 'PIL') if m in"
        " sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import t2i_course.command.cli, sys; print('torch' in sys.modules)",
        ],
        cwd=cfg.config_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False", (
        "`t2i --help` waits for torch: import it inside the commands\n" + done.stderr[-2000:]
    )


@pytest.mark.parametrize("name", MODULES)
def test_what_is_defined_is_defined_once(name):
    """A second definition, in a later cell, would silently replace the first."""
    found = []
    for node in ast.parse(MODULES[name].read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        decorators = getattr(node, "decorator_list", [])
        patched = any("patch" in ast.unparse(d) for d in decorators)
        owner = ast.unparse(node.args.args[0].annotation) + "." if patched else ""
        found.append(owner + node.name)
    twice = sorted({name for name in found if found.count(name) > 1})
    assert not twice, f"written twice: {', '.join(twice)}"
