"""How long the parts of a reading take: words at 200 a minute, exercises, and the cells' run.

The table stands in the reading between `<!-- minutes -->` and `<!-- /minutes -->`. A part is a
heading of the second level; what stands before the first belongs to it.

usage: minutes.py NOTEBOOK ...    runs each notebook's cells and writes its table
"""

import json
import os
import re
import sys
import time
from pathlib import Path

WORDS_A_MINUTE, LONGEST = 200, 45
PLACE = re.compile(r"<!-- minutes -->.*<!-- /minutes -->", re.S)
HIDDEN = re.compile(r"^#\| *(hide|code-fold|echo: *false|eval: *false|default_exp)", re.M)
BOX = re.compile(r"^box\(\"(.*?)\"\)", re.M)


def source(cell: dict) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def read(cell: dict) -> str:
    """What of a cell is read: prose without its table of minutes, code that is not folded."""
    text = source(cell)
    if cell["cell_type"] == "markdown":
        return PLACE.sub("", text)
    return "" if HIDDEN.search(text) else re.sub(r"^#\|.*$", "", text, flags=re.M)


def parts(cells: list[dict]) -> dict[str, list[int]]:
    """{heading of the second level: its cells}, cells by their index."""
    found, title, before = {}, None, []
    for i, cell in enumerate(cells):
        heading = re.search(r"^## (.+)$", source(cell), re.M)
        if cell["cell_type"] == "markdown" and heading:
            title = heading[1]
            found[title] = before
            before = []
        (before if title is None else found[title]).append(i)
    return found


def reading_minutes(cells: list[dict]) -> int:
    """Minutes of reading: prose, formulas and code, by words."""
    words = sum(len(read(cell).split()) for cell in cells)
    return max(1, round(words / WORDS_A_MINUTE))


def exercise_minutes(cells: list[dict]) -> int:
    """Minutes of the exercises whose boxes stand among some cells."""
    from t2i_course.exercises.box import find

    keys = [key for cell in cells for key in BOX.findall(source(cell))]
    return sum(find(key).minutes for key in keys)


def counted(cells: list[dict]) -> dict[str, tuple[int, int]]:
    """{part: (minutes to read, minutes of exercises)}."""
    found = {}
    for title, at in parts(cells).items():
        chosen = [cells[i] for i in at]
        found[title] = reading_minutes(chosen), exercise_minutes(chosen)
    return found


def run(path: Path, cells: list[dict]) -> dict[int, float]:
    """Seconds of one core that each code cell takes, by its index."""
    from execnb.shell import CaptureShell

    os.environ["IN_TEST"] = "1"
    os.chdir(path.parent)
    shell, seconds = CaptureShell(path), {}
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "code" and "#| eval: false" not in source(cell):
            start = time.process_time()
            shell.run(source(cell))
            seconds[i] = time.process_time() - start
            if shell.exc:
                raise SystemExit(f"{path}, cell {i}: {shell.exc}")
    return seconds


def rounded(seconds: float) -> int:
    """Seconds to the next five: the next machine is another."""
    return 5 * max(1, round(seconds / 5))


def table(cells: list[dict], seconds: dict[int, float]) -> str:
    """The table, in markdown."""
    lines = ["| part | to read | exercises | the cells run |", "|---|---|---|---|"]
    total = [0, 0, 0]
    for title, (reads, solves) in counted(cells).items():
        runs = sum(seconds.get(i, 0) for i in parts(cells)[title])
        lines.append(f"| {title} | {reads} min | {solves} min | {rounded(runs)} s |")
        total = [total[0] + reads, total[1] + solves, total[2] + runs]
    together = f"{total[0]} min | {total[1]} min | {rounded(total[2])} s"
    lines.append(f"| **together** | {together} |")
    return "\n".join(lines)


def main():
    """Time the notebooks of the command line and write their tables."""
    for path in [Path(name).resolve() for name in sys.argv[1:]]:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = notebook["cells"]
        shown = table(cells, run(path, cells))
        text = f"<!-- minutes -->\n{shown}\n<!-- /minutes -->"
        for cell in cells:
            if cell["cell_type"] == "markdown" and PLACE.search(source(cell)):
                cell["source"] = PLACE.sub(lambda _: text, source(cell)).splitlines(True)
        path.write_text(
            json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        print(f"{path.name}\n{shown}")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the shell's own thread would keep the process
