"""`make handout`: no answer stands in the learners' readings, every one in the teachers'."""

import ast
import json
import zipfile

import handout
import pytest
from nbdev.config import get_config

from t2i_course.exercises.box import EXERCISES, find, judged, made_from, stub, without_marks
from t2i_course.exercises.progress import HOMES, exercises_of


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    """{who: {name: notebook}} of both zips."""
    found = {}
    for path in handout.handout(tmp_path_factory.mktemp("handout")):
        with zipfile.ZipFile(path) as folder:
            names = [n for n in folder.namelist() if n.endswith(".ipynb")]
            assert "README.txt" in folder.namelist()
            found[path.stem] = {n: json.loads(folder.read(n)) for n in names}
    return found


def boxes(nb) -> list[str]:
    """What a notebook's boxes show."""
    cells = [c for c in nb["cells"] if handout.source(c).find("\nbox(") >= 0]
    pages = [o["data"].get("text/html", []) for c in cells for o in c["outputs"] if "data" in o]
    return ["".join(page) for page in pages]


def code(nb) -> list[str]:
    """The code of a notebook's cells."""
    return [handout.source(c).strip() for c in nb["cells"] if c["cell_type"] == "code"]


def test_the_same_readings_in_both(zips):
    nbs = get_config().nbs_path
    readings = {p.relative_to(nbs).as_posix() for p in (nbs / "readings").glob("*.ipynb")}
    assert (
        readings < set(zips["learners"]) and zips["learners"].keys() == zips["teachers"].keys()
    )


def test_every_exercise_is_a_stub_or_an_answer(zips):
    keys = [key for module in HOMES for key in exercises_of(module)]
    learners = "\n".join(text for nb in zips["learners"].values() for text in code(nb))
    teachers = "\n".join(text for nb in zips["teachers"].values() for text in code(nb))
    for key in keys:
        assert stub(key) in learners and without_marks(find(key).solution) not in learners, key
        assert stub(key) not in teachers and without_marks(find(key).solution) in teachers, key
    assert len(keys) == len(EXERCISES) > 45


def test_no_box_of_a_learner_gives_the_answer_away(zips):
    shown = {who: sum(map(boxes, zips[who].values()), []) for who in zips}
    assert len(shown["learners"]) == len(shown["teachers"]) == len(EXERCISES)
    assert all("Solution</summary>" in page for page in shown["teachers"])
    assert all("Solution" not in page and "Hint 2" in page for page in shown["learners"])
    assert "Not solved yet" in json.dumps(zips["learners"])
    assert "Not solved yet" not in json.dumps(zips["teachers"])
    text = "\n".join(code(zips["learners"]["readings/03_guidance.ipynb"]))
    assert 'box("guidance.guide", solution=False)' in text


def test_an_answer_of_the_teachers_passes_its_check(zips):
    (answer,) = [
        t
        for t in code(zips["teachers"]["readings/03_guidance.ipynb"])
        if t == without_marks(find("guidance.guide").solution)
    ]
    ast.parse(answer)
    exercise = find("guidance.guide")
    assert judged(exercise, made_from(answer, exercise)).state == "solved"
    assert judged(exercise, made_from(stub("guidance.guide"), exercise)).state != "solved"


def test_the_same_bytes_again(tmp_path):
    first, second = (handout.zipped(tmp_path / n, {"a.txt": "x", "b.txt": "y"}) for n in "12")
    assert first.read_bytes() == second.read_bytes()


def test_a_missing_stub_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(handout, "stub", lambda key: "nowhere")
    with pytest.raises(ValueError, match="01_diffusion.ipynb has no stub of diffusion"):
        handout.handout(tmp_path)
