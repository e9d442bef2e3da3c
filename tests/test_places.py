"""Streams and places: what a command is given to read from, to write to and to live in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DRAW = ["draw", "a red star", "--system", "pixel", "--steps", "1", "--device", "cpu"]


def t2i(*argv, shell=None, env=None, cwd=ROOT, **options):
    """Run the command in a process of its own. shell: a redirection, such as "2>&-"."""
    words = [os.fsencode(str(word)) for word in argv]
    command = [sys.executable, "-m", "t2i_course.command.cli", *words]
    if shell:
        command = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *command]
    place = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env = (os.environ if env is None else env) | place
    options = {"cwd": cwd, "env": env, "timeout": 300} | options
    return subprocess.run(command, capture_output=True, **options)


def quiet(done, code=0):
    """The process ended with this code, and without a traceback."""
    words = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == code, words
    assert not any(w in words for w in ("Traceback", "Exception ignored", "BrokenPipe")), words
    return words


# ------------------------------------------------------------------------------------- streams
@pytest.mark.parametrize("shell", ["| true", "| head -1", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("argv", [["systems"], ["--help"], ["systems", "--json"]])
def test_a_stream_that_is_closed(argv, shell):
    quiet(t2i(*argv, shell=shell))


def test_a_picture_is_written_whatever_the_streams(tmp_path):
    for i, shell in enumerate(("| true", "2>&-", "<&- >&- 2>&-")):
        quiet(t2i(*DRAW, "--out", tmp_path / f"{i}.png", shell=shell))
        assert Image.open(tmp_path / f"{i}.png").size == (256, 256)


def test_a_stream_that_is_full():
    done = t2i("systems", shell="> /dev/full")
    words = quiet(done, 1).splitlines()
    assert len(words) == 1 and "No space left" in words[0]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_the_terminal_cannot_show(encoding, tmp_path):
    env = os.environ | {"PYTHONIOENCODING": encoding}
    name = tmp_path / "\u00e9 \u661f.png"
    shown = quiet(t2i(*DRAW, "--out", name, env=env))
    assert name.is_file() and "error" not in shown


def test_a_name_that_is_no_text(tmp_path):
    name = tmp_path / os.fsdecode(b"\xff.png")
    quiet(t2i(*DRAW, "--out", name))
    assert name.is_file()


def test_a_prompt_that_is_no_text(tmp_path):
    said = quiet(t2i("draw", os.fsdecode(b"a \xff fox"), "--out", tmp_path / "x.png"), 2)
    assert "not UTF-8" in said and not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------- places
def stranger(folder):
    """Run as a user that the system does not know, without HOME."""
    if os.geteuid():
        pytest.skip("only root may become another user")
    folder.chmod(0o777)
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return {"env": env, "user": 54321, "group": 54321, "cwd": folder}


@pytest.mark.parametrize("argv", [["doctor"], ["systems"], ["draw", "--help"]])
def test_no_home_and_a_user_that_nobody_knows(argv, tmp_path):
    try:
        done = t2i(*argv, **stranger(tmp_path))
    except PermissionError:
        pytest.skip("another user may not run this Python")
    if b"Permission denied" in done.stderr or b"can't open" in done.stderr:
        pytest.skip("another user may not read this Python")
    words = quiet(done, done.returncode)
    assert done.returncode == 0 or argv == ["doctor"] and "to mend" in words


def test_no_home_has_a_cache_all_the_same(monkeypatch):
    from t2i_course.data.emoji import cache_folder

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "T2I_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert str(os.getuid()) in cache_folder().name and cache_folder().parent.is_dir()


def test_out_is_written_as_the_user_asks(tmp_path):
    """The umask, an existing mode, a link: as any other program would have it."""
    before = os.umask(0o077)
    try:
        quiet(t2i(*DRAW, "--out", tmp_path / "a.png"))
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link.png").symlink_to("a.png")
    quiet(t2i(*DRAW, "--seed", "1", "--out", tmp_path / "link.png", "--force"))
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o600
    assert Image.open(tmp_path / "a.png").text["seed"] == "1"
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "link.png"}


def test_a_pipe_is_written_into_and_a_device_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    reader = subprocess.Popen(["cat", tmp_path / "pipe.png"], stdout=subprocess.PIPE)
    quiet(t2i(*DRAW, "--out", tmp_path / "pipe.png"))
    content = reader.communicate(timeout=60)[0]
    assert content.startswith(b"\x89PNG") and (tmp_path / "pipe.png").is_fifo()
    null = os.stat("/dev/null")
    code = "from t2i_course.data.captioned import shapes; shapes(2).save('/dev/null')"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert os.stat("/dev/null").st_rdev == null.st_rdev and Path("/dev/null").is_char_device()


def test_two_processes_with_one_name(tmp_path):
    """Neither overwrites the other's picture."""
    command = [sys.executable, "-m", "t2i_course.command.cli", *DRAW]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([*command, "--seed", str(seed)], cwd=tmp_path, env=env, stdout=-1)
        for seed in (1, 2)
    ]
    names = {p.communicate(timeout=300)[0].decode().strip() for p in both}
    assert names == {"picture.png", "picture-2.png"} == {p.name for p in tmp_path.iterdir()}
    assert {Image.open(tmp_path / n).text["seed"] for n in names} == {"1", "2"}


def test_killed_while_it_writes(tmp_path):
    """A whole file or none, at each moment of writing."""
    code = f"""
import os, signal, sys
from pathlib import Path
from t2i_course.storage import write_atomically
def write(path):
    path.write_bytes(b"new" * 1000)
    if sys.argv[2] == "written": os.kill(os.getpid(), signal.SIGKILL)
name = sys.argv[2]
if name != "written":
    old = getattr(os, name)
    setattr(os, name, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
write_atomically(sys.argv[1], write)
"""
    for moment in ("written", "fsync", "replace"):
        path = tmp_path / moment
        path.write_bytes(b"old")
        done = subprocess.run([sys.executable, "-c", code, path, moment], cwd=ROOT)
        assert done.returncode == -signal.SIGKILL and path.read_bytes() == b"old"
