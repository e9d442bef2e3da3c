"""The players that are saved with the readings show a walk in frames enough to see it."""

import json
import re
from pathlib import Path

import pytest

READINGS = sorted(Path(__file__).resolve().parents[1].glob("nbs/readings/*.ipynb"))
WALK = re.compile(r"step \d|t = \d|\d+ steps to go")  # labels of a walk from noise to picture


def players(path):
    """The stored players of a reading: (cell, its labels, whether they are steps of a walk)."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if re.match(r"(Sampler)?Player\(", "".join(data.get("text/plain", ""))):
                page = "".join(data["text/html"])
                labels = json.loads(re.search(r'"labels": (\[.*?\])', page)[1])
                yield cell["id"], labels, bool(WALK.match(labels[0]))


@pytest.mark.parametrize("path", READINGS, ids=lambda p: p.stem)
def test_a_walk_is_seen_in_24_frames_at_least(path):
    few = {cell for cell, labels, walk in players(path) if walk and len(labels) < 24}
    assert not few, "save these cells again, with more steps"


@pytest.mark.parametrize("path", READINGS, ids=lambda p: p.stem)
def test_a_reading_holds_no_error_and_is_small(path):
    assert path.stat().st_size < 2_000_000
    cells = json.loads(path.read_text("utf-8"))["cells"]
    kinds = {o["output_type"] for cell in cells for o in cell.get("outputs", [])}
    assert "error" not in kinds


def test_there_are_walks():
    walks = [cell for path in READINGS for cell, _, walk in players(path) if walk]
    assert len(walks) >= 7 and WALK.match("80 steps to go") and WALK.match("t = 3")
    assert not WALK.match("N = 100") and not WALK.match("two green circles")
