"""A campaign against the package: kills at random moments, damaged files, odd prompts, odd
command lines. Prints trials and outcomes; exit code 1 where something was lost, silently other,
raw or endless.

usage: soak.py [--seed N] [--share P] [--only kills|files|prompts|lines]

The whole takes five minutes on two quiet cores, at most 20. Trials run in forked processes with
a limit on their CPU seconds and memory. Trial i of a campaign draws from Random("SEED CAMPAIGN
i") alone, so a failure is found again.
"""

import argparse
import contextlib
import copy
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path

import safetensors.torch
import torch
from PIL import Image

from t2i_course.command import cli, draw
from t2i_course.data import emoji
from t2i_course.data.captioned import CaptionedImages, shapes
from t2i_course.data.pictures import read_picture
from t2i_course.guidance import PixelDiffusion
from t2i_course.measure import evaluation, familiar
from t2i_course.storage import WEIGHTS, digest_of, load_tensors, read_header, save_tensors
from t2i_course.storage import signed, write_json
from t2i_course.system import Gallery, check_prompts
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

COUNTS = {"kills": 200, "files": 1_000, "prompts": 10_000, "lines": 10_000}
CPU_SECONDS, MEMORY = 60, 12 << 30
FINE = {"refused", "whole", "the same", "read", "drawn", "said no", "done"}
SMALL = {
    "text_encoder": {"dim": 32, "depth": 1, "heads": 2},
    "unet": {"channels": (16, 32), "attention": (1,), "head_dim": 16, "emb_dim": 32},
}


# ------------------------------------------------------------------------------------ processes
def child(job) -> int:
    """Start job() in a fork that ends with it; its number."""
    sys.stdout.flush()
    number = os.fork()
    if number:
        return number
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries that panic say so there
        job()
    finally:
        os._exit(0)


def outcome_of(job) -> str:
    """What job() returned in a fork: a word, a colon, details. An exception is "RAW", a signal
    "DIED", and 60 s of CPU "HUNG".
    """
    read, write = os.pipe()

    def said():
        try:
            words = job()
        except BaseException as e:
            words = f"RAW: {type(e).__name__}: {e}"
        with open(write, "wb") as f:
            f.write(words.encode("utf8", "backslashreplace"))

    number = child(said)
    os.close(write)
    with open(read, "rb") as f:
        words = f.read().decode()
    end = os.waitpid(number, 0)[1]
    if end == signal.SIGXCPU:
        return "HUNG: more than a minute of CPU"
    return words or f"DIED: signal {end}"


def killed(job, seconds: float):
    """Run job() in a fork and kill it after so many seconds."""
    number = child(job)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)


# ---------------------------------------------------------------------------------------- kills
def kill_writers(folder: Path, dice: random.Random) -> str:
    """Kill a process that writes one file, or one folder, again and again: it is whole."""
    kind = dice.choice(("tensors", "pictures", "data", "folder"))
    place = folder / f"{kind}-{dice.random()}"
    place.mkdir()
    model, data = small_model(), shapes(8, 16, seed=1)
    gallery = Gallery(torch.zeros(1, 3, 64, 64), ["x"])
    big = {"w": torch.arange(200_000.0)}
    write = {
        "tensors": lambda i: save_tensors(place / "a", big, {"i": i}),
        "pictures": lambda i: gallery.save(place / "a.png", scale=1 + i % 9),
        "data": lambda i: data.save(place / "a"),
        "folder": lambda i: model.save_pretrained(place / "a", {"i": i}),
    }[kind]
    read = {
        "tensors": lambda: load_tensors(place / "a"),
        "pictures": lambda: Image.open(place / "a.png").load(),
        "data": lambda: CaptionedImages.load(place / "a"),
        "folder": lambda: PixelDiffusion.from_pretrained(place / "a"),
    }[kind]
    write(0)

    def writer():
        for i in range(1_000_000):
            write(i)

    killed(writer, dice.uniform(0.0, 0.2))
    try:
        read()
    except Exception as e:
        return f"TORN: {kind}: {e}"
    write(1)
    return "whole"


@lru_cache
def small_model():
    """A small system with weights of its own."""
    torch.manual_seed(0)
    return PixelDiffusion.create(shapes(64, 32).captions, **SMALL)


@lru_cache
def pictures() -> CaptionedImages:
    """What is trained on."""
    return shapes(32, 32)


def run_training(out: Path):
    """Eight steps of training, saved after each."""
    recipe = Recipe(steps=8, batch_size=4, warmup=3, decay=4, save_every=1)
    model, data = copy.deepcopy(small_model()), pictures()
    history = train(model, data, recipe, out, progress=False, cpu=True, log_every=3)
    save_tensors(out / "end", model.state_dict(), {"loss": [h["loss"] for h in history]})


@lru_cache
def unbroken(folder: Path) -> tuple[bytes, float]:
    """The end of a run that nobody killed, and how long it took."""
    start = time.monotonic()
    outcome_of(lambda: run_training(folder / "unbroken") or "done")
    return (folder / "unbroken" / "end").read_bytes(), time.monotonic() - start


def kill_training(folder: Path, dice: random.Random) -> str:
    """Kill a training run, resume it, kill it again: the end is that of an unbroken run."""
    small_model(), pictures()  # once, before the forks
    wanted, seconds = unbroken(folder)
    out = folder / f"run-{dice.random()}"
    for _ in range(dice.randint(1, 3)):
        killed(lambda: run_training(out), dice.uniform(0, seconds))
    said = outcome_of(lambda: run_training(out) or "done")
    if said != "done":
        return f"LOST: {said}"
    same = (out / "end").read_bytes() == wanted
    return "the same" if same else "OTHER: the resumed run has other weights or losses"


def kill(folder: Path, dice: random.Random) -> str:
    """One trial: a fifth are training runs, which take longer."""
    return (kill_training if dice.random() < 0.2 else kill_writers)(folder, dice)


# ---------------------------------------------------------------------------------------- files
def digest(content) -> str:
    """One text for tensors, dicts and the like, equal for equal ones."""
    found = hashlib.sha256()
    if isinstance(content, dict):
        for name in sorted(content):
            found.update(f"{name} {digest(content[name])}".encode())
    elif isinstance(content, torch.Tensor):
        found.update(content.contiguous().reshape(-1).view(torch.uint8).numpy())
    else:
        found.update(repr(content).encode("utf8", "backslashreplace"))
    return found.hexdigest()


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The content with a few bits flipped, cut, with a block of zeros, or other bytes."""
    way = dice.choice(("flip", "flip", "flip", "flips", "cut", "zeros", "empty", "noise"))
    changed = bytearray(content)
    if way in ("flip", "flips"):
        for _ in range(1 if way == "flip" else dice.randint(2, 9)):
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    elif way == "zeros":
        at = dice.randrange(len(changed))
        changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    else:
        length = {"cut": dice.randrange(len(changed)), "empty": 0, "noise": 64}[way]
        changed = bytearray(dice.randbytes(64) if way == "noise" else changed[:length])
    return bytes(changed) if changed != content else damaged(content, dice)


def unsigned(folder: Path) -> Path:
    """The weights of a folder without their own checksum, as the first that shipped have none:
    what they must be stands on their card.
    """
    file, card = folder / "model.safetensors", evaluation.read_card(folder)
    words = signed(read_header(file)[1])[1]
    tensors = safetensors.torch.load_file(file)
    file.write_bytes(safetensors.torch.save(tensors, {"t2i": words}))
    write_json(folder / "card.json", card | {"sha256": digest_of(folder)})
    return folder


def targets(folder: Path) -> dict[str, tuple[Path, object, bool]]:
    """{kind: (file, how it is read, whether it carries a checksum)}: other content in a file
    with a checksum must be refused; without one it must only do no harm.
    """
    shipped, saved = folder / "pixel-small", folder / "saved"
    shutil.copytree(WEIGHTS / "pixel-small", shipped)
    unsigned(shipped)
    small_model().save_pretrained(saved, {"name": "saved"})
    data, checkpoint = folder / "set.safetensors", folder / "run" / "checkpoint.safetensors"
    shapes(16, 32).save(data)
    outcome_of(lambda: run_training(folder / "run") or "done")
    archive = Path(shutil.copy(emoji.ARCHIVE, folder))
    words = ["--system", str(saved), "--steps", "1", "--out", str(folder / "fox.png")]
    main_quietly(["draw", "a fox", *words])
    Image.open(folder / "fox.png").convert("RGB").save(folder / "fox.jpg")

    def weights(place):
        return lambda: PixelDiffusion.from_pretrained(place).state_dict()

    def config(place):
        return lambda: PixelDiffusion.from_pretrained(place).config

    def resume():
        tensors, about = load_tensors(checkpoint)
        return tensors | about

    return {
        "shipped weights": (shipped / "model.safetensors", weights(shipped), True),
        "saved weights": (saved / "model.safetensors", weights(saved), True),
        "config": (saved / "config.json", config(saved), True),
        "shipped config": (shipped / "config.json", config(shipped), True),
        "card": (shipped / "card.json", lambda: evaluation.read_card(shipped), False),
        "data": (data, lambda: vars(CaptionedImages.load(data)), True),
        "checkpoint": (checkpoint, resume, True),
        "archive": (archive, lambda: emoji.read_archive(archive), True),
        "drawn PNG": (folder / "fox.png", lambda: draw.recorded(folder / "fox.png"), False),
        "JPEG": (folder / "fox.jpg", lambda: read_picture(folder / "fox.jpg", 32), False),
    }


def damage(folder: Path, dice: random.Random) -> str:
    """Damage one file and read it: refused by name, or the same, or (without checksum) read."""
    known = targets_once(folder)
    kind = dice.choice(list(known))
    path, read, signed = known[kind]
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, dice))

    def trial():
        try:
            found = digest(read())
        except ValueError as e:
            named = path.name in str(e) and "\n" not in str(e)
            return "refused" if named else f"RAW: {kind}: the file is not named: {e}"
        if found == original(folder, kind):
            return "the same"
        return f"SILENT: {kind}" if signed else "read"

    said = outcome_of(trial)
    path.write_bytes(whole)
    return said if said in FINE else f"{said} ({kind})"


@lru_cache
def targets_once(folder: Path) -> dict:
    """The files to damage, made once; their true contents are remembered."""
    found = targets(folder)
    for kind, (_, read, _) in found.items():
        ORIGINAL[kind] = digest(read())
    return found


ORIGINAL = {}


def original(folder: Path, kind: str) -> str:
    """The digest of what a file held before it was damaged."""
    return ORIGINAL[kind]


# -------------------------------------------------------------------------------------- prompts
PIECES = (
    *("a red star", "on a white background", "two", "fox", "[pad]", "[start]", "[end]"),
    *("$x^2$", "cost: $5"),
    *("<|endoftext|>", "\n", "\t", "\r\n", "\0", " ", "\u00a0", "\u200b", "\u202e", "\ufeff"),
    *("\ud800", "\udcff", "<|", "5 $ or 6 $"),
    *("{}", "%s", "%n", "\\", "'", '"', "`", "$(true)", "<script>alert(1)</script>", "</div>"),
    *("\u0301" * 40, "\U0001f98a", "\u661f", "\u0639\u0631\u0628", "\uff21", "\u1e9e", "&lt;"),
)


def odd_prompt(dice: random.Random) -> str:
    """A prompt that somebody might type, paste or send."""
    way = dice.random()
    if way < 0.6:
        return " ".join(dice.choice(PIECES) for _ in range(dice.randint(0, 9)))
    if way < 0.9:
        top = dice.choice((0x80, 0x800, 0x10000, 0x110000))
        return "".join(chr(dice.randrange(top)) for _ in range(dice.randint(1, 60)))
    return dice.choice(PIECES) * dice.choice((50, 900, 20_000))


class Tags(HTMLParser):
    """The names of all tags in a page."""

    def __init__(self, page: str):
        super().__init__()
        self.names, self.handlers = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def prompt(folder: Path, dice: random.Random) -> str:
    """Give an odd prompt to a system: it is refused in words, or read, shown and written."""
    readers = [name for name, s in evaluation.SYSTEMS.items() if not (s.edits or s.plays)]
    text, name = odd_prompt(dice), dice.choice(readers)
    try:
        check_prompts(text)
        read_by(system(name), text, draws=dice.random() < 0.02)
    except ValueError as e:
        return "refused" if str(e) and len(str(e)) < 2_000 else f"RAW: {name}: {e!r}"
    gallery = Gallery(torch.zeros(1, 3, 8, 8), [text])
    tags = Tags(gallery._repr_html_())
    if tags.names - {"div", "figure", "figcaption", "img"} or tags.handlers:
        return f"INJECTED: {text!r}"
    sheet, file = gallery.grid(captions=True), folder / "prompt.png"
    draw.png_writer(sheet, {"prompt": text})(file)
    kept = draw.text_in(str(file))["prompt"] == text
    return "read" if kept else f"LOST: the PNG says another prompt than {text!r}"


@lru_cache(None)
def system(name: str):
    """A shipped system, loaded once."""
    return evaluation.load_system(name)


def read_by(model, text: str, draws: bool):
    """Let a system read a prompt, and where it `draws` take the first step."""
    if draws and hasattr(model, "draw"):
        next(iter(model.steps(text)))
    elif hasattr(model, "encode"):
        model.encode([text])
    else:
        model.read([text])


# ---------------------------------------------------------------------------------------- lines
COMMANDS = "draw edit train evaluate systems data doctor completion help".split()
OPTIONS = (
    *"--system --style --n --guidance --steps --seed --device --out --scale --grid".split(),
    *"--sampler --rerank --init-image --strength --again --mask --preset --stage".split(),
    *"--data --export --lr --init --captions --batch --emoji --speed --sheet --size".split(),
    *"--shapes --json --force --help --version -h -- --no-resume --colour".split(),
)
VALUES = (
    *"0 1 2 -1 3.5 nan inf 1e99 99999999999999999999 0x10 cpu cuda pixel clip-small".split(),
    *"./pixel noto nito ddim ddpm bash gpu shipped x.png x.jpg none.png . .. /".split(),
    *("", " ", "a red star", "\udcff", "caf\u00e9", "x" * 300, "no/such/x.png", "/dev/null"),
    *("-", "--", "%s"),
)
# what would take minutes, or may end with 1
SLOW = {"train", "evaluate", "doctor"}


def odd_line(dice: random.Random) -> list[str]:
    """Words behind `t2i`: often nearly right."""
    words = [dice.choice(COMMANDS)] if dice.random() < 0.95 else []
    for _ in range(dice.randint(0, 7)):
        words.append(dice.choice(OPTIONS if dice.random() < 0.5 else VALUES))
    if words[:1] == ["draw"] and dice.random() < 0.7:
        words += ["--system", "pixel", "--steps", "1", "--n", "1"]
    if SLOW & set(words):
        words.append("--colour")  # refused at the latest there
    return words


def main_quietly(words: list[str]) -> tuple[int, str, str]:
    """`t2i` with these words in this process: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    return code, out.getvalue(), err.getvalue()


def main_apart(words: list[str]) -> tuple[int, str, str]:
    """The same in a process of its own, as from a shell."""
    command = [sys.executable, "-m", "t2i_course.command.cli", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    out, err = (text.decode("utf8", "backslashreplace") for text in (done.stdout, done.stderr))
    return done.returncode, out, err


@lru_cache
def quick():
    """What command lines draw with: a small system that takes two steps where none are asked
    for. Behind "--" all words are prompts, also those that ask for one picture and one step.
    """
    model = system("pixel")
    model.options = model.options.given(num_steps=2)
    return model


def line(folder: Path, dice: random.Random) -> str:
    """Run an odd command line in an empty folder: it does it, or says no in one line. One of
    250 has a process of its own.
    """
    words, place = odd_line(dice), folder / f"line-{dice.random()}"
    place.mkdir()
    os.chdir(place)
    draw.load_system = lambda name, device="cpu": quick()
    run = main_apart if dice.random() < 0.004 else main_quietly
    code, _, err = run(words)
    left = [p.name for p in place.rglob("*")]
    os.chdir(folder)
    shutil.rmtree(place)
    said = [part.rsplit("\r", 1)[-1] for part in err.split("\n") if part.strip()]
    if "Traceback" in err or "T2I_DEBUG" in err:
        return f"RAW: {words}: {err[-300:]}"
    if code == 0:
        return "done"
    if left:
        return f"LEFT: {words}: {left} after {err[-200:]}"
    one = len(said) == 1 and said[0].startswith("t2i: ") and len(said[0]) < 1500
    return "said no" if code == 2 and one else f"RAW: {words}: exit code {code}: {err[-300:]}"


# ------------------------------------------------------------------------------------- campaign
CAMPAIGNS = {"kills": kill, "files": damage, "prompts": prompt, "lines": line}
# trials that fork by themselves come one by one; the others share a fork by so many
TOGETHER = {"kills": 1, "files": 1, "prompts": 25, "lines": 25}


def trials(name: str, folder: Path, seed: int, numbers: range) -> list[str]:
    """The outcomes of some trials; where the fork they share dies, each gets one of its own."""

    def one(i):
        try:
            return CAMPAIGNS[name](folder, random.Random(f"{seed} {name} {i}"))
        except BaseException as e:
            return f"RAW: {type(e).__name__}: {e}"

    if TOGETHER[name] == 1:
        return [one(i) for i in numbers]
    said = outcome_of(lambda: json.dumps([one(i) for i in numbers]))
    if said.startswith("["):
        return json.loads(said)
    if len(numbers) == 1:
        return [said]
    return [trials(name, folder, seed, range(i, i + 1))[0] for i in numbers]


def campaign(name: str, count: int, seed: int) -> int:
    """Run `count` trials and print their outcomes. Returns the number of failures."""
    outcomes, failures, start = Counter(), [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, count, TOGETHER[name]):
            numbers = range(first, min(count, first + TOGETHER[name]))
            for i, said in zip(numbers, trials(name, Path(folder), seed, numbers)):
                outcomes[said.split(":")[0]] += 1
                if said.split(":")[0] not in FINE:
                    failures.append(f"  {name} {i}: {said[:600]}")
    seconds = time.monotonic() - start
    found = ", ".join(f"{n:,} {word}" for word, n in outcomes.most_common())
    print(f"{name}: {count:,} trials in {seconds:.0f} s: {found}", flush=True)
    print("\n".join(failures[:20]), end="\n" * bool(failures), flush=True)
    return len(failures)


def main() -> int:
    """All campaigns, or a share of them; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the trials (default: all)")
    parser.add_argument("--only", choices=list(COUNTS))
    args = parser.parse_args()
    torch.set_num_threads(1)  # a fork has one thread
    for name in evaluation.SYSTEMS:
        system(name)  # once, before the forks
    familiar.memory()
    failures = 0
    for name in [args.only] if args.only else COUNTS:
        failures += campaign(name, max(1, round(COUNTS[name] * args.share)), args.seed)
    print("nothing lost" if not failures else f"{failures} trials failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
