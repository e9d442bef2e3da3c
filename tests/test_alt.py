"""Every picture and plot that a page shows says in words what it shows."""

import json
import re

import pytest
from nbdev.config import get_config

NBS = get_config().nbs_path
NOTEBOOKS = [p for p in sorted(NBS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
MUTE = re.compile(r"<img\b(?![^>]*\balt\s*=\s*(\"[^\"]|'[^']|\\\"[^\\]))[^>]*>")
DRAWN = re.compile(r"<svg\b(?![^>]*\b(aria-label|aria-labelledby|aria-hidden)\s*=)[^>]*>")
UNSAID = re.compile(r"!\[\s*\]\(")


def mute_pictures(nb: dict) -> list[str]:
    """Cells of a notebook with a picture that says nothing: their ids, and what is missing."""
    bad = []
    for cell in nb["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            if UNSAID.search(source) or MUTE.search(source):
                bad.append(f"{cell['id']}: a picture in the text without words")
            continue
        said = re.search(r"^#\|\s*fig-alt:\s*\S", source, re.M)
        hidden = re.search(r"^#\|\s*(hide|include: false)\s*$", source, re.M)
        for output in [] if hidden else cell.get("outputs", []):
            data = output.get("data", {})
            shown = "".join(data.get("text/html", ""))
            if "text/html" not in data and any(kind.startswith("image/") for kind in data):
                bad += [] if said else [f"{cell['id']}: a plot without `#| fig-alt:`"]
            elif DRAWN.search(shown) and not said:
                bad.append(f"{cell['id']}: a drawing without aria-label")
            elif MUTE.search(shown) and not said:
                bad.append(f"{cell['id']}: an <img> without alt")
    return bad


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(NBS).as_posix())
def test_every_picture_says_what_it_shows(path):
    assert mute_pictures(json.loads(path.read_text(encoding="utf-8"))) == []


def test_mute_pictures_are_found():
    def code(source, **data):
        return dict(cell_type="code", id="a", source=source, outputs=[dict(data=data)])

    picture, words = {"image/png": "iVBOR"}, "#| fig-alt: A fox\nfig"
    asked = [
        (code("fig", **picture), 1),
        (code(words, **picture), 0),
        (code("x", **{"text/html": "<img src='a'>"}), 1),
        (code("x", **{"text/html": '<img alt="" src="a">'}), 1),
        (code("x", **{"text/html": '<img alt="a fox" src="a">'}), 0),
        (code("x", **{"text/html": "<svg viewBox='0 0 1 1'></svg>"}), 1),
        (dict(cell_type="markdown", id="b", source="![](a.png)"), 1),
        (dict(cell_type="markdown", id="b", source="![a fox](a.png)"), 0),
    ]
    for cell, count in asked:
        assert len(mute_pictures({"cells": [cell]})) == count, cell
