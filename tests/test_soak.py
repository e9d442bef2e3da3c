"""A slice of `make soak`, and that the campaign sees what it looks for."""

import random

import pytest
import soak

from t2i_course import storage
from t2i_course.command import cli, draw

SHARE = 0.01  # of the whole; with the tests below half a minute on two idle cores


@pytest.mark.parametrize("name", soak.COUNTS)
def test_a_slice_of_the_campaign(name, capsys):
    """Nothing lost, nothing silent, no traceback, no hang."""
    count = max(3, round(soak.COUNTS[name] * SHARE))
    failures = soak.campaign(name, count, seed=0)
    assert failures == 0, capsys.readouterr().out


def failures_of(name, count, capsys, seed=1):
    """Trials that failed, and what they said."""
    return soak.campaign(name, count, seed=seed), capsys.readouterr().out


def test_it_sees_a_file_half_written(monkeypatch, capsys):
    def in_place(path, write, force=True):
        path = soak.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        return path

    for module in (storage, soak.sys.modules["t2i_course.system"]):
        monkeypatch.setattr(module, "write_atomically", in_place)
    monkeypatch.setattr(soak, "kill_training", soak.kill_writers)
    failed, said = failures_of("kills", 25, capsys)
    assert failed and "TORN" in said


def test_it_sees_weights_without_a_checksum(monkeypatch, capsys):
    monkeypatch.setattr(storage, "checksum", lambda tensors, words: 0)
    monkeypatch.setattr(storage, "check_digest", lambda folder: None)
    failed, said = failures_of("files", 60, capsys)
    assert failed and "SILENT" in said and "weights" in said


def test_it_sees_a_library_s_own_words(monkeypatch, capsys):
    monkeypatch.setattr(soak, "check_prompts", lambda text: [text])
    monkeypatch.setattr("t2i_course.networks.text.tidy", list)  # it checks once more
    failed, said = failures_of("prompts", 75, capsys)
    assert failed and "RAW" in said


def test_it_sees_injected_code(monkeypatch, capsys):
    page = "<figure>{}</figure>".format
    monkeypatch.setattr(soak.Gallery, "_repr_html_", lambda self: page(self.prompts[0]))
    failed, said = failures_of("prompts", 75, capsys, seed=2)
    assert failed and "INJECTED" in said


def test_it_sees_a_traceback_and_a_file_left_behind(monkeypatch, capsys):
    def bug(args):
        open("half.png", "w").close()
        raise ValueError("no")

    monkeypatch.setattr(cli, "systems_command", bug)
    monkeypatch.setattr(draw, "check_prompt", lambda prompt: {}[prompt])
    failed, said = failures_of("lines", 150, capsys)
    assert failed and "LEFT" in said and "RAW" in said


def test_some_lines_have_a_process_of_their_own(tmp_path):
    code, out, err = soak.main_apart(["draw", "a fox", "--n", "0"])
    assert code == 2 and not out and err.startswith("t2i: ") and "Traceback" not in err
    assert soak.main_apart(["--version"])[:2] == (0, f"t2i {soak.cli.__version__}\n")


def test_it_sees_a_hang_and_a_death(monkeypatch):
    def forever():
        while True:
            random.random()

    monkeypatch.setattr(soak, "CPU_SECONDS", 1)
    assert soak.outcome_of(forever).startswith("HUNG")
    dies = lambda: soak.os.kill(soak.os.getpid(), soak.signal.SIGKILL)
    assert soak.outcome_of(dies).startswith("DIED")
    assert soak.outcome_of(lambda: "read") == "read"
