"""The emoji cache under real trouble: a kill -9 while it draws, two processes at once, a folder
that cannot be written.

Only the first pictures of a style are drawn, so that the test is short; everything else is the
real code.
"""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from t2i_course.data import emoji

# The child process: `few` pictures only, and a word on stdout whenever one of them starts to be
# drawn.
CHILD = """
import sys
from t2i_course.data import emoji
folder, few = sys.argv[1], int(sys.argv[2])
every = emoji.records
emoji.records = lambda style: every(style)[:few]

def draw(style, size, progress=True, workers=2):
    print("drawing", flush=True)
    return emoji.np.stack([emoji.render(r["svg"], size) for r in emoji.records(style)])

emoji.render_style = draw
images = emoji.rendered("fluent", 32, folder, progress=False)
print("done", images.shape[0], emoji.zlib.crc32(images), flush=True)
"""


def child(folder, few):
    env = dict(os.environ, OMP_NUM_THREADS="1")
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(few)],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )


def finish(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.split()


def truth(few):
    images = np.stack([emoji.render(r["svg"], 32) for r in emoji.records("fluent")[:few]])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def test_kill_while_drawing_leaves_nothing_broken(tmp_path):
    victim = child(tmp_path, 3000)
    assert (
        victim.stdout.readline() == "drawing\n"
    )  # the lock is held, the file is not written yet
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    assert not list(tmp_path.glob("*.safetensors"))
    out = finish(child(tmp_path, 40))  # the dead process' lock does not stop the next one
    (path,) = tmp_path.glob("*.safetensors")
    assert out[0] == "drawing" and (load_file(path)["images"] == truth(40)).all()


def test_kill_while_writing_leaves_a_part_that_the_next_run_removes(tmp_path):
    finish(child(tmp_path, 5))
    (path,) = tmp_path.glob("*.safetensors")
    whole = path.read_bytes()
    path.unlink()
    part = tmp_path / f".{path.name}.999999.1.part"
    part.write_bytes(whole[:999])
    finish(child(tmp_path, 5))
    assert path.read_bytes() == whole and not part.exists()


def test_two_processes_at_once_draw_once(tmp_path):
    first, second = child(tmp_path, 400), child(tmp_path, 400)
    a, b = finish(first), finish(second)
    assert a[-3:] == b[-3:] and a[-2] == "400"  # both got the same pictures
    assert sorted([a[0], b[0]]) == ["done", "drawing"]  # one drew, the other waited and read
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 and not list(tmp_path.glob(".*.part"))


def fake_workers(code):
    """Two workers that run `code` instead of drawing."""
    command = [sys.executable, "-c", code]
    return lambda *_: [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]


@pytest.mark.parametrize(
    "code, reason",
    [
        ("raise SystemExit('out of ink')", "drawing fluent failed: out of ink"),
        (
            "import os; os.write(1, bytes(5000)); os.kill(os.getpid(), 9)",
            "drawing fluent failed: a worker was killed; try again",
        ),
    ],
)
def test_a_worker_that_fails_is_one_line(tmp_path, monkeypatch, code, reason):
    monkeypatch.setattr(emoji, "_start_workers", fake_workers(code))
    with pytest.raises(ValueError) as error:
        emoji.rendered("fluent", 32, tmp_path, progress=False)
    assert str(error.value) == reason
    assert not list(tmp_path.glob("*.safetensors")) and not list(tmp_path.glob(".*.part"))


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        emoji,
        "render_style",
        lambda *_: np.zeros((len(emoji.records("fluent")), 32, 32, 3), np.uint8),
    )
    monkeypatch.setattr(emoji.os, "replace", full)
    with pytest.raises(ValueError, match="No space left on device.*; set T2I_CACHE"):
        emoji.rendered("fluent", 32, tmp_path, progress=False)
    assert not list(tmp_path.glob("*.safetensors")) and not list(tmp_path.glob(".*.part"))


def test_a_read_only_folder_with_pictures_is_enough(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(
        0, 255, (len(emoji.records("fluent")), 32, 32, 3), np.uint8
    )
    monkeypatch.setattr(emoji, "render_style", lambda *_: images)
    emoji.rendered("fluent", 32, tmp_path, progress=False)
    for path in tmp_path.iterdir():
        path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert (emoji.rendered("fluent", 32, tmp_path) == images.transpose(0, 3, 1, 2)).all()
        if os.geteuid():  # root may write anywhere
            with pytest.raises(ValueError, match="set T2I_CACHE"):
                emoji.rendered("noto", 32, tmp_path)
    finally:
        tmp_path.chmod(0o755)
