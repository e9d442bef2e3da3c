"""Run a notebook, then each of its cells once more, alone, on the finished kernel.

A reader goes back, changes a number and runs that one cell again. It must find the names it
was written for, not what a later cell bound to them.

usage: alone.py NOTEBOOK [FLAGS]    exit status: 0 fine, 1 the run fails, 2 cells fail alone
"""

import os
import sys
from pathlib import Path

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


def failing_alone(shell, cells) -> list[str]:
    """Run each cell once more on a finished kernel and say which fail.

    The names are put back after each, so that a cell meets the finished kernel and not what
    another one left there; objects that a cell changes stay changed, as they do for a reader.
    """
    finished = dict(shell.user_ns)
    said = []
    for cell in cells:
        error = run(shell, cell)
        restore(shell.user_ns, finished)
        if error:
            said.append(f"cell {cell.idx_}, {first_line(cell)!r}: {error}")
    return said


def main() -> int:
    """Do both, and print what fails."""
    shell, cells = start(Path(sys.argv[1]), "".join(sys.argv[2:3]))
    for cell in cells:
        if run(shell, cell):
            shell._cell_idx = cell.idx_
            print(shell.prettytb(sys.argv[1]))
            return FAILS
    said = failing_alone(shell, cells)
    print("\n".join(said))
    print(f"{len(said)} of {len(cells)} cells fail alone")
    return FAILS_ALONE if said else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the shell's own thread would keep the process
