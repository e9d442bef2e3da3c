"""Drive a slider in JupyterLab with a headless browser: does it answer, how fast, and is there
ever a blank picture?

usage: check_lab.py        prints what it measured; tests/test_jupyterlab.py and `make bench`
use `drag`
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from check_docs import NO_BROWSER, PICTURE, chromium

# reading 1's slider in small: a picture under noise, drawn by the kernel at any of 101 times
CELLS = [
    (
        "import torch\nfrom t2i_course.diffusion import Schedule, q_sample\nfrom"
        " t2i_course.widgets.players import Scrub"
    ),
    (
        "schedule = Schedule.linear()\nnoise = torch.randn(1, 3, 32, 32,"
        " generator=torch.Generator().manual_seed(0))\nx_0 = torch.ones(1, 3, 32, 32); x_0[...,"
        " 8:24, 8:24] = -1\nScrub(lambda t: q_sample(schedule, x_0, torch.tensor([t]),"
        " noise)[0], range(0, 1000, 10), name='t', size=256)"
    ),
]

# counts every animation frame and those whose canvas is missing or has nothing drawn on it;
# times each answer from the slider's event
PROBE = """widget => {
    const slider = widget.querySelector('input[type=range]');
    const probe = window.probe = { frames: 0, blank: 0, latency: [], since: null };
    const answered = () => {
        if (probe.since === null) return;
        probe.latency.push(performance.now() - probe.since);
        probe.since = null;
    };
    slider.addEventListener('input', () => { probe.since = performance.now(); }, true);
    new MutationObserver(answered).observe(
        widget.querySelector('canvas'), { attributes: true, attributeFilter: ['data-drawn'] });
    const look = () => {
        const shown = document.querySelector('.t2i-scrub canvas');
        const pen = shown && shown.getContext('2d');
        const data = pen && pen.getImageData(0, 0, shown.width, shown.height).data;
        const pixels = data && new Uint32Array(data.buffer);
        probe.frames++;
        if (!pixels || !pixels.length || pixels.every(v => v === 0)) probe.blank++;
        requestAnimationFrame(look);
    };
    look();
}"""


def write_notebook(path: Path):
    cells = [
        dict(
            cell_type="code",
            id=f"c{i}",
            source=s,
            metadata={},
            outputs=[],
            execution_count=None,
        )
        for i, s in enumerate(CELLS)
    ]
    kernel = {
        "kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}
    }
    notebook = dict(cells=cells, metadata=kernel, nbformat=4, nbformat_minor=5)
    path.write_text(json.dumps(notebook), "utf-8")


@contextmanager
def jupyterlab(folder: Path):
    """A JupyterLab server on a free port with `folder` as its root; yields its address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    cmd = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.disable_check_xsrf=True",
        "--LabApp.expose_app_in_browser=True",
    ]
    home = {
        "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".spaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "OMP_NUM_THREADS": "1",
    }
    env = {
        k: v for k, v in os.environ.items() if k not in ("IN_TEST", "PYTEST_CURRENT_TEST")
    } | home
    log = open(folder / "jupyterlab.log", "w", encoding="utf-8")
    server = subprocess.Popen(cmd, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(240):
            try:
                urllib.request.urlopen(address + "api", timeout=2).read()
                break
            except OSError:
                if server.poll() is not None:
                    raise RuntimeError(
                        f"JupyterLab stopped:\n{Path(log.name).read_text('utf-8')[-3000:]}"
                    ) from None
                time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


RUN = """async () => {
    const run = async () => {
        const context = window.jupyterapp.shell.currentWidget?.sessionContext;
        await context?.ready; await context?.session?.kernel?.info;
        await window.jupyterapp.commands.execute('notebook:run-all-cells');
    };
    await Promise.race([run(), new Promise(late => setTimeout(late, 60_000))]);
}"""


def run_all(page, log: Path, tries: int = 4):
    """Run the open notebook until its slider shows; a kernel that was not ready yet loses a
    request now and then, so ask again.
    """
    from playwright.sync_api import TimeoutError

    for _ in range(tries):
        # by command, not by key presses: those reach whatever has the focus, and on a slow
        # machine that changes while the page loads.
        # It is done when the cells are: a second run on top of a first one would replace the
        # slider under our hands. But a request that the
        # kernel never saw is never done, so there is an end to the waiting
        page.evaluate(RUN)
        try:
            page.wait_for_selector(".t2i-scrub canvas", timeout=45_000)
            return
        except TimeoutError:
            pass
    raise RuntimeError(
        f"no slider after {tries} tries; the page"
        f" says:\n{page.locator('body').inner_text()[-1500:]}\n\nJupyterLab"
        f" says:\n{log.read_text('utf-8')[-3000:]}"
    )


RESTART = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.sessionContext.session.kernel.restart();
}"""


def after_restart(page, widget) -> str:
    """What stands beside the slider when the kernel was restarted and it is moved."""
    page.evaluate(RESTART)
    widget.query_selector("input[type=range]").focus()
    page.keyboard.press("End")
    try:
        said = "() => document.querySelector('.t2i-scrub output').textContent.includes('again')"
        page.wait_for_function(said, timeout=40_000)
    finally:
        found = widget.query_selector("output").inner_text()
    return found


def drag(presses: int = 20) -> dict | None:
    """Press the right arrow `presses` times on the noising slider; None without a browser.

    Returns latency: milliseconds of each answer; frames, blank: animation frames looked at, and
    those without a picture; pictures: how many different pictures were seen; index: where the
    slider's picture ended; restarted: what the widget says once its kernel was restarted.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp, chromium() as browser:
        if browser is None:
            return None
        write_notebook(Path(tmp) / "slider.ipynb")
        with jupyterlab(Path(tmp)) as address:
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.goto(
                address + "lab/tree/slider.ipynb",
                wait_until="domcontentloaded",
                timeout=120_000,
            )
            page.locator(".jp-NotebookPanel .jp-CodeCell").nth(1).wait_for(timeout=120_000)
            page.locator(
                ".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]"
            ).wait_for(timeout=120_000)
            run_all(page, Path(tmp) / "jupyterlab.log")
            widget = page.query_selector(".t2i-scrub")
            widget.evaluate(PROBE)
            widget.query_selector("input[type=range]").focus()
            pictures = {widget.evaluate(PICTURE)}
            for i in range(presses):
                page.keyboard.press("ArrowRight")
                page.wait_for_function(
                    "n => window.probe.latency.length >= n", arg=i + 1, timeout=90_000
                )
                pictures.add(widget.evaluate(PICTURE))
            probe = page.evaluate("() => window.probe")
            index = int(widget.evaluate("e => e.querySelector('canvas').dataset.index"))
            restarted = after_restart(page, widget)
            page.close()
    return dict(
        latency=probe["latency"],
        frames=probe["frames"],
        blank=probe["blank"],
        pictures=len(pictures),
        index=index,
        restarted=restarted,
    )


def main() -> int:
    seen = drag()
    if seen is None:
        print(f"not measured: {NO_BROWSER}")
        return 0
    ms = sorted(seen["latency"])
    print(
        f"noising slider in JupyterLab, {len(ms)} presses: median {ms[len(ms) // 2]:.0f} ms,"
        f" longest {ms[-1]:.0f} ms; {seen['blank']} blank of {seen['frames']} frames;"
        f" {seen['pictures']} pictures"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
