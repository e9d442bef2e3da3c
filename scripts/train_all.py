"""Train every system by its recipe, as many at once as there are cores, each on one thread.

usage: train_all.py [SYSTEM ...]    (make train-all)

What a system builds on is trained before it. A run's log lies beside it, and every minute a
line says how far each is. Stop it at any time, in any way: the same command goes on. With
--install a finished model takes the place of the shipped one, and those after it build on it.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from t2i_course.measure.evaluation import SYSTEMS
from t2i_course.storage import WEIGHTS
from t2i_course.training.recipe import SHIPPED

# unCLIP inverts CLIP; its decoder and Imagen's base begin with GLIDE's
BUILDS_ON = {"unclip": ["clip", "glide"], "imagen": ["glide"]}
COMMAND = [sys.executable, "-m", "t2i_course.command.cli", "train"]


class Run:
    """The training of one system: its folder, its log, its process."""

    def __init__(self, name: str, args):
        self.name, self.args, self.process = name, args, None
        self.folder = Path(args.out) / name
        self.log, self.done = self.folder / "train.log", self.folder / "done"
        recipe = (SHIPPED / f"{name}.toml").read_text("utf-8")
        self.recipe = recipe + f"\n# {args.preset} {args.steps}"

    @property
    def state(self) -> str:
        """"waiting", "running", "finished" or "failed"."""
        if self.process is not None and self.process.poll() is None:
            return "running"
        there = self.done.is_file() and (self.folder / "model" / "card.json").is_file()
        if there and self.done.read_text("utf-8") == self.recipe:
            return "finished"
        return "waiting" if self.process is None else "failed"

    def start(self):
        """Begin, or go on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [*COMMAND, self.name, "--preset", self.args.preset, "--out", str(self.folder)]
        argv += ["--device", "cpu"] if self.args.preset == "cpu" else []
        argv += ["--steps", str(self.args.steps)] if self.args.steps else []
        env = dict(os.environ, OMP_NUM_THREADS="1", TQDM_MININTERVAL="20")
        with open(self.log, "ab") as log:
            options = dict(stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
            self.process = subprocess.Popen(argv, preexec_fn=lambda: os.nice(15), **options)

    def end(self):
        """What is to be done once the process has ended; True where it ended well."""
        if self.process.returncode != 0:
            return False
        if self.args.install:
            target = WEIGHTS / SYSTEMS[self.name].weights
            shutil.copytree(self.folder / "model", target, dirs_exist_ok=True)
        self.done.write_text(self.recipe, "utf-8")
        return True

    def stop(self):
        """Ask it to stop; it says goodbye and leaves its last checkpoint."""
        if self.state == "running":
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()

    def last_words(self) -> str:
        """The end of its log: the progress bar's numbers, or the last line."""
        with open(self.log, "rb") as f:
            f.seek(max(0, self.log.stat().st_size - 4000))
            pieces = re.split(r"[\r\n]+", f.read().decode(errors="replace").strip())
        return re.sub(r"^.*?\|.*?\| *", "", pieces[-1])[:100]


def tell(text: str):
    """A line of the log, with the time."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


def ready(run: Run, runs: dict[str, Run]) -> bool:
    """May this one start: not begun, and all that it builds on is finished?"""
    needs = [runs[n] for n in BUILDS_ON.get(run.name, []) if n in runs]
    return run.state == "waiting" and all(r.state == "finished" for r in needs)


def train_all(runs: dict[str, Run], jobs: int, every: float) -> bool:
    """Run them all, `jobs` at a time, a line for each every so many seconds. True where all
    finished.
    """
    told, ended = time.monotonic(), set()
    for run in runs.values():
        if run.state == "finished":
            tell(f"{run.name}: finished before")
    while True:
        going = [r for r in runs.values() if r.state == "running"]
        for run in runs.values():
            if run.process and run.state != "running" and run.name not in ended:
                ended.add(run.name)
                tell(f"{run.name}: {'finished' if run.end() else 'FAILED'}: {run.last_words()}")
        startable = [r for r in runs.values() if ready(r, runs)]
        for run in startable[: max(0, jobs - len(going))]:
            run.start()
            tell(f"{run.name}: started; its log is {run.log}")
        if not going and not startable:
            return all(r.state == "finished" for r in runs.values())
        if time.monotonic() - told >= every:
            told = time.monotonic()
            for run in going:
                tell(f"{run.name}: {run.last_words()}")
        time.sleep(min(1.0, every))


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help="default: all")
    parser.add_argument("--preset", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--out", default="runs", metavar="FOLDER")
    parser.add_argument("--steps", type=int, metavar="N", help="of each stage, to try it out")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--jobs", type=int, default=cores, help="at once (default: the cores)")
    parser.add_argument("--every", type=float, default=60, help="seconds between two reports")
    parser.add_argument("--install", action="store_true", help="into the package")
    args = parser.parse_args(argv)
    if unknown := set(args.systems) - set(SYSTEMS):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    runs = {name: Run(name, args) for name in SYSTEMS if name in (args.systems or SYSTEMS)}
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        return 0 if train_all(runs, args.jobs, args.every) else 1
    except KeyboardInterrupt:
        tell("stopped; the same command goes on")
        return 130
    finally:
        for run in runs.values():
            run.stop()


if __name__ == "__main__":
    sys.exit(main())
