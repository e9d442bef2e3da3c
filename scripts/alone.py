"""Run a notebook, then each of its cells once more, alone, on the finished kernel.

A reader goes back, changes a number and runs that one cell again. It must find the names it
was written for, not what a later cell bound to them. A cell that took long is left out where it
would meet, name by name and number by number, what it met the first time: it would do the same.

usage: alone.py NOTEBOOK [FLAGS]    exit status: 0 fine, 1 the run fails, 2 cells fail alone
"""

import os
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

FAILS, FAILS_ALONE = 1, 2
LONG = 2.0  # CPU seconds of a cell


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


def names_in(code: CodeType) -> set[str]:
    """The names that a piece of code and what is defined in it may look up."""
    found = set(code.co_names)
    for inner in code.co_consts:
        found |= names_in(inner) if isinstance(inner, CodeType) else set()
    return found


def names_read(code: CodeType, names: dict) -> set[str]:
    """The names of a kernel that a cell may read, by itself or in functions and classes of the
    notebook.
    """
    found, left = set(), names_in(code)
    while left:
        name = left.pop()
        found.add(name)
        value = names.get(name)
        parts = vars(value).values() if isinstance(value, type) else [value]
        for part in parts:
            if isinstance(part, FunctionType) and part.__globals__ is names:
                left |= names_in(part.__code__) - found
    return found


def content(value, depth: int = 6):
    """Something that is equal for equal numbers: tensors, networks, arrays and generators by
    all their numbers, lists, dicts and objects of ours by what they hold, others by being the
    same.
    """
    import numpy as np
    import torch

    if value is None or isinstance(value, str | bytes | int | float | complex):
        return value
    if isinstance(value, torch.Tensor) and value.device.type == "cpu":
        flat = value.detach().contiguous().flatten().view(torch.uint8)
        return value.shape, value.dtype, zlib.adler32(flat.numpy())
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.shape, str(value.dtype), zlib.adler32(np.ascontiguousarray(value))
    if isinstance(value, torch.Generator):
        return content(value.get_state())
    if isinstance(value, torch.nn.Module):
        simple = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        held = [value.state_dict(), simple, [part.training for part in value.modules()]]
    elif isinstance(value, list | tuple | dict | set):
        held = value
    else:  # what we know to be small
        ours = type(value).__module__.startswith(("t2i_course.", "__main__"))
        held = getattr(value, "__dict__", None) if ours else None
    if depth == 0 or not isinstance(held, list | tuple | dict | set):
        return id(value)
    if isinstance(held, dict):
        held = held.items()
    return type(value), *(content(part, depth - 1) for part in held)


@dataclass
class Trial:
    """How a cell ran the first time: what it read, CPU seconds, and whether its outcome hangs
    on random numbers that it did not seed.
    """

    read: dict
    seconds: float = 0.0
    by_chance: bool = False

    def would_do_the_same(self, cell, names: dict) -> bool:
        """Does a cell that took long meet now what it met then?"""
        if self.seconds < LONG or self.by_chance:
            return False
        return self.read == what_it_reads(cell, names, self.read)


def what_it_reads(cell, names: dict, only=None) -> dict:
    """{name: its content} of what a cell may read that is there; of those in `only`."""
    try:
        code = compile(cell.source, "cell", "exec")
    except SyntaxError:  # a magic
        return {"its source": object()}
    read = names_read(code, names) & set(names if only is None else only)
    return {name: content(names[name]) for name in sorted(read)}


def first_run(shell, cell) -> tuple[str, Trial]:
    """Run a cell; what it failed with, and how it went."""
    import torch

    trial = Trial(what_it_reads(cell, shell.user_ns))
    dice, start = torch.get_rng_state(), time.process_time()
    error = run(shell, cell)
    trial.seconds = time.process_time() - start
    if trial.seconds >= LONG:
        code = compile(cell.source, "cell", "exec")
        seeds = "manual_seed" in names_read(code, shell.user_ns)
        trial.by_chance = not seeds and not torch.equal(dice, torch.get_rng_state())
    return error, trial


def restore(names: dict, before: dict):
    """Bind every name of a kernel to what it was before a cell ran."""
    for name in set(names) - set(before):
        del names[name]
    names.update(before)


def first_line(cell) -> str:
    """The first line of a cell's code."""
    lines = [x for x in cell.source.splitlines() if x.strip() and not x.startswith("#")]
    return lines[0] if lines else ""


def failing_alone(shell, cells, trials) -> list[str]:
    """Run each cell once more on a finished kernel and say which fail.

    The names are put back after each, so that a cell meets the finished kernel and not what
    another one left there; objects that a cell changes stay changed, as they do for a reader.
    """
    finished = dict(shell.user_ns)
    said = []
    for cell, trial in zip(cells, trials):
        if trial.would_do_the_same(cell, finished):
            continue
        error = run(shell, cell)
        restore(shell.user_ns, finished)
        if error:
            said.append(f"cell {cell.idx_}, {first_line(cell)!r}: {error}")
    return said


def main() -> int:
    """Do both, and print what fails."""
    shell, cells = start(Path(sys.argv[1]), "".join(sys.argv[2:3]))
    trials = []
    for cell in cells:
        error, trial = first_run(shell, cell)
        trials.append(trial)
        if error:
            shell._cell_idx = cell.idx_
            print(shell.prettytb(sys.argv[1]))
            return FAILS
    said = failing_alone(shell, cells, trials)
    print("\n".join(said))
    print(f"{len(said)} of {len(cells)} cells fail alone")
    return FAILS_ALONE if said else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the shell's own thread would keep the process
