"""The board speaks of the weights that ship; a sample of its pictures, drawn again, agrees."""

import json
from pathlib import Path

import pytest
from PIL import Image

from t2i_course.command.cli import main
from t2i_course.measure import board
from t2i_course.measure.evaluation import SYSTEMS, read_card

ROWS = board.read_board().rows


def test_every_system_is_on_the_board():
    assert set(ROWS) == {n for n, s in SYSTEMS.items() if s.draws and board.folder_of(n)}
    lengths = {len(letters) for row in ROWS.values() for letters in row["claims"].values()}
    assert lengths == {board.read_board().content["captions"]}, "the same captions for all"


@pytest.mark.parametrize("name", ROWS)
def test_row_and_weights_agree(name):
    """What is wrong is said with what to do: t2i evaluate all draws anew what has changed."""
    assert board.recomputed(name, ROWS[name], n=4) == []


def test_the_sheet_on_the_home_page_is_of_these_weights():
    """Else: scripts/sheet.py --out nbs/images/the-same-twelve-prompts.png, and run index."""
    images = Path(__file__).parents[1] / "nbs" / "images"
    told = json.loads(Image.open(images / "the-same-twelve-prompts.png").text["weights"])
    assert told == {name: read_card(board.folder_of(name))["sha256"] for name in ROWS}


def test_the_command_asks_the_same_of_all(monkeypatch, tmp_path, capsys):
    asked = {}

    def pretended(out, **wish):
        asked.update(wish, out=out)
        return board.read_board().content

    monkeypatch.setattr(board, "evaluate_all", pretended)
    out = tmp_path / "board.json"
    assert main(["evaluate", "all", "--captions", "7", "--out", str(out)]) == 0
    assert asked == {"out": out, "n": 7, "recognise": 0, "device": asked["device"]}
    shown = capsys.readouterr().out
    assert "all true" in shown and str(out) in shown
    assert main(["evaluate", "all", "--out", str(out)]) == 0 and asked["n"] == 1000
    for wish in (["--guidance", "2"], ["--seed", "3"], ["--rerank", "4"], ["--speed"]):
        assert main(["evaluate", "all", *wish]) == 2
        assert "all systems are asked the same" in capsys.readouterr().err


def test_a_row_of_other_weights_is_found():
    name = "dalle"
    said = board.recomputed(name, ROWS[name] | {"sha256": "of other weights"})
    assert "run: t2i evaluate all" in said[0]
    assert board.stale(name, {"sha256": "of other weights"})
