"""What another system than Linux needs: files whose names and bytes are the same there, text
read and written as UTF-8, nothing of POSIX alone, and commands that say what `make` does.
"""

import ast
import json
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from t2i_course.data import emoji

ROOT = Path(__file__).resolve().parents[1]
FILES = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8"
).stdout.split("\0")[:-1]
ONLY_POSIX = {"fcntl", "grp", "pwd", "resource", "termios", "pty"}
ONLY_THERE = {"fork", "getuid", "geteuid", "killpg", "setsid", "mkfifo", "getloadavg", "uname"}
TEXT = {"read_text": 0, "write_text": 1}  # arguments before the encoding
RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{i}" for p in ("com", "lpt") for i in range(10))}


def called(node) -> str:
    """The name of what is called, with the name it is called on: "Image.open", "open"."""
    return ast.unparse(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else ""


def mode_of(node) -> str:
    """The mode that a call of `open` gives, or may give; "r" where it gives none."""
    given = [k.value for k in node.keywords if k.arg == "mode"]
    given += node.args[(called(node) == "open") :][:1]
    words = [n.value for g in given for n in ast.walk(g) if isinstance(n, ast.Constant)]
    return next((w for w in words if isinstance(w, str)), "r")


def unencoded(source: str) -> list[str]:
    """Calls that open a text without saying how its letters are stored."""
    bad = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(k.arg == "encoding" for k in node.keywords):
            continue
        owner, _, name = called(node).rpartition(".")
        text = name in TEXT and len(node.args) <= TEXT[name]
        opened = name == "open" and owner not in ("Image", "os", "tarfile", "zipfile", "gzip")
        if text or (opened and "b" not in mode_of(node)):
            bad.append(ast.unparse(node))
    return bad


def of_posix(source: str) -> list[str]:
    """What a module uses that is not there on Windows, without asking first."""
    tree, bad = ast.parse(source), []
    asked = set()  # imports within `try`, attributes behind `hasattr`
    for kind in ast.walk(tree):
        if isinstance(kind, (ast.Try, ast.IfExp)):
            asked.update(ast.walk(kind))
    for node in set(ast.walk(tree)) - asked:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {a.name for a in node.names} | {getattr(node, "module", None)}
            bad += sorted(names & ONLY_POSIX)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            bad += {node.attr} & ONLY_THERE
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            bad += re.findall(r"^/(?:tmp|dev|home|usr|etc|var)/\S*$", node.value)
    return bad


def sources(*folders):
    """The Python files of these folders, and the code cells of the readings."""
    found = {p: p.read_text("utf-8") for f in folders for p in sorted((ROOT / f).rglob("*.py"))}
    for path in sorted((ROOT / "nbs" / "readings").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        found[path] = "\n".join(re.sub(r"(?m)^[%!].*", "", c) for c in code)
    return found


def test_every_text_says_its_encoding():
    bad = {p.name: unencoded(text) for p, text in sources("t2i_course", "scripts").items()}
    assert {name: calls for name, calls in bad.items() if calls} == {}


def test_the_package_and_the_readings_need_no_posix():
    bad = {p.name: of_posix(text) for p, text in sources("t2i_course").items()}
    assert {name: words for name, words in bad.items() if words} == {}


@pytest.mark.parametrize(
    "code, seen",
    [
        ("open('a')", unencoded),
        ("Path('a').open('w')", unencoded),
        ("open(a, mode='a+')", unencoded),
        ("p.read_text()", unencoded),
        ("p.write_text(x)", unencoded),
        ("import fcntl", of_posix),
        ("from pwd import getpwnam", of_posix),
        ("os.fork()", of_posix),
        ("place = '/tmp/pictures'", of_posix),
    ],
)
def test_the_checks_see(code, seen):
    assert len(seen(code)) == 1


def test_the_checks_let_pass():
    fine = "open(a, 'rb'); open(a, encoding='ascii'); Image.open(a); p.read_text('utf-8')"
    fine += "; open(a, 'ab' if have else 'wb'); p.write_text(x, 'utf-8'); os.open(a, 1)"
    assert unencoded(fine) == []
    asked = "try:\n    import fcntl\nexcept ImportError:\n    pass\n"
    assert of_posix(asked + "x = os.getuid() if hasattr(os, 'getuid') else 0") == []


def test_names_of_files_are_names_everywhere():
    assert len(FILES) > 200
    assert len({name.lower() for name in FILES}) == len(FILES), "two differ by case alone"
    for name in FILES:
        assert len(name) < 150 and not re.search(r'[<>:"|?*\\\x00-\x1f]', name), name
        for part in name.split("/"):
            assert part[-1] not in ". " and part.split(".")[0].lower() not in RESERVED, name


def test_texts_are_committed_with_unix_line_ends():
    rule = (ROOT / ".gitattributes").read_text("utf-8")
    assert "* text=auto eol=lf" in rule.splitlines()
    words = ["git", "ls-files", "--eol"]
    ends = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8").stdout
    assert not re.findall(r"(?m)^i/(?:crlf|mixed).*", ends)


def powershell() -> list[str]:
    """The lines for Windows, as the home page has them."""
    text = (ROOT / "README.md").read_text("utf-8")
    lines = re.search(r"```powershell\n(.*?)```", text, re.S)[1]
    return lines.replace("`\n", "").split("\n")  # a backtick goes on in the next line


def test_the_lines_for_windows_are_those_of_make():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    config = ConfigParser(delimiters="=")
    config.read(ROOT / "settings.ini", encoding="utf-8")
    lines = [line for line in powershell() if line]
    for line in lines[1:]:
        program, *words = line.split()
        assert program.startswith(".venv\\Scripts\\"), line
        name = program.rsplit("\\", 1)[1]
        if words[:2] == ["-m", "pip"]:
            assert words[2:5] == ["install", "-c", "constraints.txt"]
            assert f"{words[-1][3:-2]}_requirements" in config["DEFAULT"], line
        elif words[:2] == ["-m", "jupyterlab"]:
            assert all(word in makefile for word in words), line
        elif words and words[0].startswith("scripts\\"):
            own = [words[0].replace("\\", "/"), *words[1:]]
            assert f"python {' '.join(own)}\n" in makefile, line
        elif words:
            assert words == ["-m", "pytest", "tests"]
        else:
            assert f"$(BIN)/{name}\n" in makefile, line
    assert lines[0] == "py -3.12 -m venv .venv"


def test_a_user_without_a_home_on_windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(emoji.os.path, "expanduser", lambda place: place)
    monkeypatch.delattr(emoji.os, "getuid", raising=False)
    for name in ("T2I_CACHE", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert emoji.cache_folder().name == "t2i_course-user"
    monkeypatch.setenv("LOCALAPPDATA", r"C:\Users\fox\AppData\Local")
    assert str(emoji.cache_folder()).startswith(r"C:\Users\fox")
