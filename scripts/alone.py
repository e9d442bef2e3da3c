"""Run a notebook, then its cells once more, each alone, on the finished kernel.

A reader goes back, changes a number and runs that one cell again. It must find the names it
was written for, not what a later cell bound to them. A cell that would meet all it can read
just as it met it the first time is not run again: it would do the same.

usage: alone.py NOTEBOOK [FLAGS]    exit status: 0 fine, 1 the run fails, 2 cells fail alone
"""

import ast
import builtins
import dis
import os
import sys
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from weakref import WeakKeyDictionary

FAILS, FAILS_ALONE = 1, 2


def start(notebook: Path, flags: str = ""):
    """A shell in the notebook's folder, and the cells that a test runs."""
    from execnb.shell import CaptureShell
    from nbdev.config import get_config
    from nbdev.test import nb_test_cells

    notebook = notebook.resolve()
    cfg = get_config(notebook.parent)
    skipped = cfg.tst_flags.split() if isinstance(cfg.tst_flags, str) else cfg.tst_flags
    cells = nb_test_cells(notebook, skipped, flags.split())
    os.environ["IN_TEST"] = "1"
    os.chdir(notebook.parent)
    sys.path.insert(0, str(cfg.config_path))
    return CaptureShell(notebook), cells


def run(shell, cell) -> str:
    """Run one cell; what it failed with, if it did."""
    shell.exc = None
    shell.run(cell.source)
    if shell.exc is None:
        return ""
    said = str(shell.exc).strip().splitlines()
    return f"{type(shell.exc).__name__}: {said[0] if said else ''}"


def restore(names: dict, before: dict):
    """Bind every name of a kernel to what it was before a cell ran."""
    for name in set(names) - set(before):
        del names[name]
    names.update(before)


def first_line(cell) -> str:
    """The first line of a cell's code."""
    lines = [x for x in cell.source.splitlines() if x.strip() and not x.startswith("#")]
    return lines[0] if lines else ""


class Same:
    """A value as itself: equal to nothing but the same object. Keeps it, and so its id."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Same) and self.value is other.value


class Holds(dict):
    """What an object or a class holds, by name: equal to what it held before, if all that is
    still there. (A method more, a thing remembered: no cell that ran without can miss it.)
    """

    def __eq__(self, before):
        return isinstance(before, Holds) and all(self.get(k) == v for k, v in before.items())


def loads(code: CodeType) -> set[str]:
    """The names that code looks up in the kernel, also in functions defined in it."""
    found = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            found.add(step.argval)
        if isinstance(step.argval, CodeType):
            found |= loads(step.argval)
    return found


def compiled(node: ast.AST) -> CodeType:
    """The code of a statement or an expression alone."""
    node = ast.Expr(node) if isinstance(node, ast.expr) else node
    return compile(ast.fix_missing_locations(ast.Module([node], [])), "", "exec")


def stores(node: ast.stmt) -> set[str]:
    """The names that a statement binds in the kernel."""
    steps = dis.get_instructions(compiled(node))
    return {step.argval for step in steps if step.opname == "STORE_NAME"}


def bound_by(target: ast.expr | None) -> set[str]:
    """The names that the target of a loop or a with binds."""
    return stores(ast.Assign([target], ast.Constant(None))) if target else set()


def reads(statements: list[ast.stmt], bound: set[str]) -> set[str]:
    """The names that statements look up before they bind them; those go into `bound`."""
    found = set()
    for node in statements:
        if isinstance(node, ast.For):
            found |= loads(compiled(node.iter)) - bound
            bound |= bound_by(node.target)
            found |= reads(node.body + node.orelse, bound)
        elif isinstance(node, ast.With):
            for item in node.items:
                found |= loads(compiled(item.context_expr)) - bound
                bound |= bound_by(item.optional_vars)
            found |= reads(node.body, bound)
        elif isinstance(node, (ast.If, ast.While)):
            found |= loads(compiled(node.test)) - bound
            found |= reads(node.body, set(bound)) | reads(node.orelse, set(bound))
        elif isinstance(node, ast.Try):
            parts = [node.body, node.orelse, node.finalbody, *(h.body for h in node.handlers)]
            found |= set().union(*(reads(part, set(bound)) for part in parts))
        else:
            found |= loads(compiled(node)) - bound
            bound |= stores(node)
    return found


def functions_of(value, kernel: dict) -> list[FunctionType]:
    """The functions that a name of the notebook stands for: itself, or a class's methods."""
    if isinstance(value, type) and value.__module__ == kernel.get("__name__"):
        return [f for v in vars(value).values() for f in functions_of(v, kernel)]
    for inner in ("__wrapped__", "__func__", "fget", "func"):  # cached, bound, ..., partial
        if not isinstance(value, type) and hasattr(value, inner):
            return functions_of(getattr(value, inner), kernel)
    mine = isinstance(value, FunctionType) and value.__globals__ is kernel
    return [value] if mine else []


def readable(source: str, kernel: dict) -> set[str] | None:
    """The names that a cell can read, also through functions of the notebook; None: unclear."""
    try:
        new = reads(ast.parse(source).body, set())
    except SyntaxError:  # a magic
        return None
    found = set()
    while new:
        found |= new
        code = [f.__code__ for n in new for f in functions_of(kernel.get(n), kernel)]
        new = set().union(*map(loads, code)) - found
    return {n for n in found if n in kernel or hasattr(builtins, n)}


def looks(value, seen: set):
    """What of a value can be compared later: equal only where nothing in it has changed."""
    import numpy as np
    import torch
    from torch.utils.weak import WeakIdKeyDictionary

    if isinstance(value, (bool, int, float, complex, str, bytes, type(None), range, Path)):
        return repr(value)
    if id(value) in seen:
        return "again"
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        return Same(value), value._version
    if isinstance(value, np.ndarray):
        return Same(value), value.tobytes()
    plain = (torch.dtype, torch.device, ModuleType, BuiltinFunctionType)
    if isinstance(value, plain) or type(value).__module__ == "typing":
        return Same(value)
    if isinstance(value, torch.Generator):
        return Same(value), value.get_state().numpy().tobytes()
    if isinstance(value, dict):
        return [(looks(k, seen), looks(v, seen)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [looks(v, seen) for v in value]
    if isinstance(value, (set, frozenset)):
        return [looks(v, seen) for v in sorted(value, key=repr)]
    if isinstance(value, FunctionType):
        cells = [c.cell_contents for c in value.__closure__ or ()]
        return Same(value), looks([value.__defaults__, value.__kwdefaults__, cells], seen)
    if isinstance(value, WeakKeyDictionary | WeakIdKeyDictionary):  # remembers, no more
        return Same(value)
    if isinstance(value, type):
        return Same(value), Holds({k: Same(v) for k, v in vars(value).items()})
    ours = type(value).__module__.startswith(("t2i_course", "__main__"))
    if hasattr(value, "__dict__") and (ours or isinstance(value, torch.nn.Module)):
        return Same(value), Holds({k: looks(v, seen) for k, v in vars(value).items()})
    return object()  # who knows


def sight(source: str, kernel: dict) -> dict | None:
    """What a cell can read, by name, as it is now; None where that is unclear."""
    names = readable(source, kernel)
    if names is None:
        return None
    return {n: looks(kernel[n], set()) if n in kernel else "built in" for n in names}


def sees_the_same(before: dict | None, now: dict | None) -> bool:
    """Whether what a cell met when it first ran is what it would meet now. (What was not there
    then it does not need: it ran.)
    """
    if before is None or now is None:
        return False
    return all(name in now and now[name] == what for name, what in before.items())


def failing_alone(shell, cells, sights) -> tuple[list[str], int]:
    """Run the cells that would meet something else than the first time, each once more on a
    finished kernel; say which fail, and how many were run.

    The names are put back after each, so that a cell meets the finished kernel and not what
    another one left there; objects that a cell changes stay changed, as they do for a reader.
    """
    finished = dict(shell.user_ns)
    said, tried = [], 0
    for cell, before in zip(cells, sights):
        if sees_the_same(before, sight(cell.source, shell.user_ns)):
            continue
        error = run(shell, cell)
        tried += 1
        restore(shell.user_ns, finished)
        if error:
            said.append(f"cell {cell.idx_}, {first_line(cell)!r}: {error}")
    return said, tried


def main() -> int:
    """Do both, and print what fails."""
    shell, cells = start(Path(sys.argv[1]), "".join(sys.argv[2:3]))
    sights = []
    for cell in cells:
        sights.append(sight(cell.source, shell.user_ns))
        if run(shell, cell):
            shell._cell_idx = cell.idx_
            print(shell.prettytb(sys.argv[1]))
            return FAILS
    said, tried = failing_alone(shell, cells, sights)
    print("\n".join(said))
    print(f"{tried} of {len(cells)} cells would meet something new; {len(said)} fail alone")
    return FAILS_ALONE if said else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the shell's own thread would keep the process
