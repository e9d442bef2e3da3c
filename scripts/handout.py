"""What a teacher hands out: two zips of the readings, one to learn from, one with the answers.

usage: handout.py [FOLDER]    (default: _handout)

learners.zip    the readings with stubs to fill in; no solution stands in them, and the boxes
                hide it also when they are run again
teachers.zip    the same with every stub filled in, and the boxes whole

Both work beside an installed t2i_course. The same tree gives the same bytes.
"""

import json
import re
import sys
import zipfile
from pathlib import Path

from nbdev.config import get_config

from t2i_course.exercises.box import box, find, stub, without_marks
from t2i_course.exercises.progress import HOMES, exercises_of
from t2i_course.storage import write_atomically

BOX = re.compile(r'^box\("(.*?)"\)', re.M)
FIRST_DAY = (2026, 1, 1, 0, 0, 0)  # a zip keeps dates; ours says the same every time
NOTE = """Readings of t2i_course, {what}.

Install the package (pip install t2i_course, or make lab in its source tree) and JupyterLab,
open a notebook under readings/ and run it from the top. Begin with 01_diffusion.ipynb.
"""


def notebooks(nbs: Path) -> list[Path]:
    """The readings, and other notebooks with exercises."""
    networks = [p for p in sorted((nbs / "networks").glob("*.ipynb")) if p.stem in HOMES]
    return sorted((nbs / "readings").glob("*.ipynb")) + networks


def source(cell: dict) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def write(cell: dict, text: str, page: str | None = None):
    """Put text into a cell; `page` becomes its output in HTML."""
    cell["source"] = text.splitlines(keepends=True)
    for output in cell.get("outputs", []) if page else []:
        if "text/html" in output.get("data", {}):
            output["data"]["text/html"] = page.splitlines(keepends=True)


def without_solutions(cells: list[dict]):
    """Boxes that hide their solution, as they are stored and as they run."""
    for cell in cells:
        for key in BOX.findall(source(cell)) if cell["cell_type"] == "code" else []:
            text = BOX.sub(r'box("\1", solution=False)', source(cell))
            write(cell, text, box(key, solution=False)._repr_html_())


def with_solutions(cells: list[dict], keys: list[str]) -> list[str]:
    """Fill in the stubs of these exercises; the keys of those that were found."""
    stubs, filled = {stub(key): key for key in keys}, []
    for cell in cells:
        key = stubs.get(re.sub(r"^#\|.*\n", "", source(cell), flags=re.M).strip())
        if key:
            write(cell, without_marks(find(key).solution))
            filled.append(key)
        if source(cell).startswith('check("'):
            cell["outputs"] = []  # it says what the empty stub was told
    return filled


def zipped(path: Path, files: dict[str, str]) -> Path:
    """Write a zip of texts by name, whole or not at all."""

    def fill(place):
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as folder:
            for name, text in files.items():
                folder.writestr(zipfile.ZipInfo(name, FIRST_DAY), text, zipfile.ZIP_DEFLATED)

    return write_atomically(path, fill)


def handout(out: Path) -> list[Path]:
    """Both zips in a folder. ValueError where an exercise has no stub in its notebook."""
    nbs = get_config().nbs_path
    what = {"learners": "with stubs and without solutions", "teachers": "with the solutions"}
    files = {who: {"README.txt": NOTE.format(what=words)} for who, words in what.items()}
    for path in notebooks(nbs):
        name, text = path.relative_to(nbs).as_posix(), path.read_text(encoding="utf8")
        learners, teachers = json.loads(text), json.loads(text)
        keys = BOX.findall("\n".join(map(source, learners["cells"])))
        missing = set(keys) - set(with_solutions(teachers["cells"], keys))
        if missing:
            raise ValueError(f"{name} has no stub of {', '.join(sorted(missing))}")
        without_solutions(learners["cells"])
        for who, nb in (("learners", learners), ("teachers", teachers)):
            files[who][name] = json.dumps(nb, indent=1, ensure_ascii=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    return [zipped(out / f"{who}.zip", inside) for who, inside in files.items()]


if __name__ == "__main__":
    for module in HOMES:
        exercises_of(module)
    for written in handout(Path(sys.argv[1] if sys.argv[1:] else "_handout")):
        print(f"{written}  {written.stat().st_size / 1e6:.1f} MB")
