"""Open every page of the built site in headless Chromium: requests, scripts, math, links and
sliders; and let the page that draws by itself do so.

usage: check_docs.py FOLDER [FOLDER FOR SCREENSHOTS]
"""

import functools
import http.server
import os
import re
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import npm

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
NO_BROWSER = (
    "no Chromium: `apt install chromium`, or `playwright install chromium`, or set T2I_CHROMIUM"
    " to one"
)


def find_chromium(playwright) -> str | None:
    """Path of a Chromium: T2I_CHROMIUM, an installed one, or playwright's own.

    None if there is none.
    """
    own = playwright.chromium.executable_path
    found = [
        os.environ.get("T2I_CHROMIUM"),
        *map(shutil.which, NAMES),
        own if Path(own).exists() else None,
    ]
    return next((f for f in found if f), None)


@contextmanager
def chromium():
    """A headless browser, or None where no Chromium is installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        path = find_chromium(p)
        if path is None:
            yield None
            return
        browser = p.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def serve(folder: Path):
    """Serve `folder` on a free port; yields the address."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


# every canvas of the widget, as one string; one that nothing was drawn on says so
PICTURE = """e => [...e.querySelectorAll('canvas')].map(c => {
    const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    const d = new Uint32Array(pixels.buffer);
    return d.every(v => v === 0) ? 'blank' : c.toDataURL();
}).join('|')"""
WIDGETS = "[class*='t2i-']:has(input[type=range]):has(canvas)"
MATH = (
    "() => [document.querySelectorAll('span.math').length, document.querySelectorAll('span.math"
    " .katex').length, document.querySelectorAll('.katex-error').length]"
)

# the prompt box that draws by itself, what it fetches for that, and all that it says
LIVE, DRAWING = "site_libs/live", ".t2i-drawing"
HEAR = """() => {
    window.said = [];
    const note = document.querySelector('.t2i-drawing .note');
    const hear = () => said.push(note.textContent);
    new MutationObserver(hear).observe(note, { childList: true });
}"""

# the longest line of each block of code or output that is wider than its box
CUT_OFF = """() => [...document.querySelectorAll('main pre')]
    .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 2)
    .map(e => e.innerText.split('\\n').reduce((a, b) => b.length > a.length ? b : a, ''))"""


def changes(page, widget, before: str, seconds=4.0) -> str:
    """The widget's picture as soon as it differs from `before`, or `before` again after
    `seconds`.
    """
    for _ in range(int(seconds * 20)):
        now = widget.evaluate(PICTURE)
        if now != before:
            return now
        page.wait_for_timeout(50)
    return before


def check_sliders(page) -> tuple[int, list[str]]:
    """Move every slider of every widget with the keyboard; each must change its picture and
    leave none blank.
    """
    count, bad = 0, []
    for widget in page.query_selector_all(WIDGETS):
        if widget.evaluate(f'e => !!e.querySelector("{WIDGETS}")'):
            continue  # a box around a widget
        name = widget.evaluate("e => [...e.classList].find(c => c.startsWith('t2i-'))")
        widget.scroll_into_view_if_needed()
        for slider in widget.query_selector_all("input[type=range]"):
            count += 1
            label = f"{name}, {slider.get_attribute('aria-label') or 'slider'}"
            slider.focus()
            slider.press("Home")
            page.wait_for_timeout(100)
            first = widget.evaluate(PICTURE)
            slider.press("End")
            last = changes(page, widget, first)
            if last == first:
                bad.append(f"{label}: does not change its picture")
            slider.press("Home")
            if last != first and changes(page, widget, last) == last:
                bad.append(f"{label}: does not go back")
            if "blank" in first.split("|") + last.split("|"):
                bad.append(f"{label}: blank picture")
    return count, bad


@functools.lru_cache(None)
def places(path: Path) -> set[str]:
    """The ids in a page's file."""
    return set(re.findall(r'\bid="([^"]*)"', path.read_text(encoding="utf-8")))


def check_links(page, root: Path, base: str) -> list[str]:
    """Links that stay in the site lead to a file, and where they name a place, to one that is
    there.
    """
    bad, links = [], "() => [...document.querySelectorAll('a[href]')].map(a => a.href)"
    for href in dict.fromkeys(page.evaluate(links)):
        target, anchor = urldefrag(urljoin(page.url, href))
        if not target.startswith(base):
            continue
        path = root / unquote(target.removeprefix(base).split("?")[0])
        if not (path.is_file() or (path / "index.html").is_file()):
            bad.append(f"link to nothing: {href.removeprefix(base)}")
        elif anchor and path.suffix == ".html" and unquote(anchor) not in places(path):
            bad.append(f"link to no place: {href.removeprefix(base)}")
    return sorted(set(bad))


def check_page(
    browser, root: Path, rel: str, base: str, shots: Path | None = None
) -> tuple[int, list[str]]:
    """What is wrong with one page, and how many sliders it has."""
    bad = []
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(60_000)  # milliseconds; a busy machine is no fault of a page
    page.on("pageerror", lambda e: bad.append(f"script error: {e}"))
    page.on("requestfailed", lambda r: bad.append(f"failed request: {r.url}"))
    page.on(
        "response", lambda r: bad.append(f"{r.status}: {r.url}") if r.status >= 400 else None
    )
    page.on(
        "request",
        lambda r: (
            None
            if r.url.startswith((base, "data:", "blob:"))
            else bad.append(f"request to another host: {r.url}")
        ),
    )
    page.on(
        "request",
        lambda r: bad.append(f"fetched unasked: {r.url}") if LIVE in r.url else None,
    )
    page.goto(base + rel, wait_until="networkidle")
    for _ in range(50):  # KaTeX runs after the page has loaded
        math, typeset, errors = page.evaluate(MATH)
        if math == typeset:
            break
        page.wait_for_timeout(200)
    if math != typeset or errors:
        bad.append(f"math: {typeset} of {math} typeset, {errors} with errors")
    text = page.evaluate(
        "() => [...document.querySelectorAll('.cell-output')].map(e => e.innerText).join('\\n')"
    )
    bad += [
        f"widget shown as text: {w}"
        for w in ("IntSlider(", "Text(value", "Error displaying widget", "model not found")
        if w in text
    ]
    broken = page.evaluate(
        "() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i =>"
        " i.src.slice(0, 80))"
    )
    bad += [f"broken picture: {src}" for src in broken]
    bad += [f"cut off at the edge: {line[:120]}" for line in page.evaluate(CUT_OFF)]
    bad += check_links(page, root, base)
    count, wrong = check_sliders(page)
    bad += wrong
    if shots:
        page.screenshot(path=str(shots / f"{rel.replace('/', '_')[:-5]}.png"), full_page=True)
    page.close()
    return count, bad


def drawn_live(page, wish: dict) -> None:
    """Ask the page's prompt box for a drawing, by keys alone, and wait for what it says."""
    page.wait_for_selector(DRAWING)
    for name, value in wish.items():
        page.focus(f"{DRAWING} [name={name}]")
        page.keyboard.press("Control+a")
        page.keyboard.type(str(value))
    page.evaluate(HEAR)
    page.press(f"{DRAWING} [name=prompt]", "Enter")
    page.wait_for_function("() => said.length && !document.querySelector('[aria-busy=true]')")


def check_live(browser, base: str, rel: str = "index.html") -> list[str]:
    """Draw in a page as wide as a phone: what it says meanwhile, and whether its picture is
    PyTorch's.
    """
    import torch

    from export_live import CLOSE, MODEL
    from t2i_course.ldm import LatentDiffusion

    prompt, wish = "a red star on a black background", {"seed": 5, "guidance": 2.5, "steps": 6}
    bad, page = [], browser.new_page(viewport={"width": 390, "height": 800})
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda e: bad.append(f"script error: {e}"))
    page.goto(base + rel, wait_until="networkidle")
    drawn_live(page, {"prompt": prompt} | wish)
    said = page.evaluate("() => said")
    for words in (" MB", "Drawing in 6 steps", f": {prompt}"):
        if not any(words in sentence for sentence in said):
            bad.append(f"the live drawing does not say {words!r}, but {said}")
    if page.evaluate("() => document.scrollingElement.scrollWidth > innerWidth"):
        bad.append("the page of the live drawing scrolls sideways on a phone")
    numbers = page.evaluate(f"() => [...(document.querySelector('{DRAWING}').picture || [])]")
    page.close()
    system = LatentDiffusion.from_pretrained(MODEL)
    wish["num_steps"] = wish.pop("steps")
    there = system(prompt, **wish).images.flatten()
    if len(numbers) != len(there):
        return [*bad, f"no live picture: {said}"]
    apart = float((torch.tensor(numbers).clamp(-1, 1) - there).abs().max())
    if not apart < CLOSE:
        bad.append(f"the live picture is not PyTorch's: {apart:.1e} apart")
    return bad


def check_refusals(browser, root: Path, base: str, rel: str = "index.html") -> list[str]:
    """Where a page cannot draw, it says why: opened as a file, without WebAssembly, with a file
    of the model missing, with a worker that does not start.
    """
    bad = []
    gone = {"file": [], "WebAssembly": []}
    gone |= {"model.json": ["model.json"], "could not": ["ort.js"]}
    for word, missing in gone.items():
        page = browser.new_page()
        page.set_default_timeout(60_000)
        for name in missing:
            page.route(f"**/{LIVE}/{name}", lambda route: route.fulfill(status=404))
        if word == "WebAssembly":
            page.add_init_script("delete globalThis.WebAssembly")
        page.goto((root / rel).as_uri() if word == "file" else base + rel)
        drawn_live(page, {})
        note = page.inner_text(f"{DRAWING} .note")
        if word not in note:
            bad.append(f"the prompt box says {note!r}, and not what is wrong with {word}")
        page.close()
    return bad


AUDITED = ("index.html", "readings/ldm.html", "networks/unet.html")
AUDIT = """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map((v) => `${v.id}, ${v.nodes.length} times: ${v.nodes[0].html.slice(0, 160)}`)"""


def check_access(browser, base: str, pages: tuple = AUDITED) -> list[str]:
    """What axe-core calls serious or critical on a page of each kind; nothing without npm."""
    try:
        script = npm.files(npm.AXE)["axe.min.js"].read_text(encoding="utf-8")
    except npm.Unavailable as e:
        print(f"pages not audited: {e}")
        return []
    bad = []
    for rel in pages:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(base + rel, wait_until="networkidle")
        page.evaluate(script)
        bad += [f"{rel}: {fault}" for fault in page.evaluate(AUDIT)]
        page.close()
    return bad


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    shots = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    failed = sliders = 0
    with chromium() as browser, serve(root) as base:
        if browser is None:
            print(f"pages not checked: {NO_BROWSER}")
            return 0
        pages = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.html"))
        for rel in pages:
            count, bad = check_page(browser, root, rel, base, shots)
            print(
                "FAIL" if bad else "ok  ",
                rel,
                f"({count} sliders)" if count else "",
                *[f"\n      {b}" for b in bad],
                flush=True,
            )
            failed += bool(bad)
            sliders += count
        bad = check_access(browser, base, [rel for rel in AUDITED if rel in pages])
        print("FAIL" if bad else "ok  ", "for all", *[f"\n      {b}" for b in bad])
        failed += bool(bad)
        if (root / LIVE).is_dir():
            bad = check_live(browser, base) + check_refusals(browser, root, base)
            print("FAIL" if bad else "ok  ", "live drawing", *[f"\n      {b}" for b in bad])
            failed += bool(bad)
    print(f"{len(pages)} pages, {failed} with faults, {sliders} sliders moved")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
