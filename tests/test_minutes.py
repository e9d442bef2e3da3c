"""The minutes that a reading promises are those of its words and exercises, part by part."""

import json
import re

import minutes
import pytest
from nbdev.config import get_config

READINGS = sorted((get_config().nbs_path / "readings").glob("*.ipynb"))


def promised(cells):
    """{part: (minutes to read, minutes of exercises)} of the table; none without a table."""
    text = "\n".join(minutes.source(c) for c in cells if c["cell_type"] == "markdown")
    shown = minutes.PLACE.search(text)
    row = re.compile(r"^\| (.+?) \| (\d+) min \| (\d+) min \|", re.M)
    rows = row.findall(shown[0]) if shown else []
    return {title: (int(a), int(b)) for title, a, b in rows if title != "**together**"}


@pytest.mark.parametrize("path", READINGS, ids=lambda p: p.stem)
def test_minutes_are_true(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    said = promised(cells)
    assert said == minutes.counted(cells), f"run: python scripts/minutes.py {path}"
    long = {t: m for t, m in said.items() if sum(m) > minutes.LONGEST}
    assert not long, "a part takes at most 45 minutes"


def cell(kind, text):
    return {"cell_type": kind, "source": text}


def test_counting():
    words = "word " * 400
    cells = [
        cell("markdown", "# Title\n" + words),
        cell("markdown", "## One\n<!-- minutes -->" + words + "<!-- /minutes -->"),
        cell("code", "#| hide\n" + words),
        cell("code", "#| export\n" + words),
        cell("markdown", "### not a part\n## Two"),
        cell("code", '#| echo: false\nbox("diffusion.jump")'),
    ]
    assert list(minutes.parts(cells).values()) == [[0, 1, 2, 3], [4, 5]]
    assert minutes.counted(cells) == {"One": (4, 0), "Two": (1, 8)}
    shown = minutes.table(cells, {3: 12.0, 5: 1.0})
    assert "| One | 4 min | 0 min | 10 s |" in shown
    assert "| **together** | 5 min | 8 min | 15 s |" in shown
