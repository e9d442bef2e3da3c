"""Open every page of the built site in headless Chromium: requests, scripts, math, links,
sliders, phones, weight, and what axe-core says of it; and let the models in the pages answer.

usage: check_docs.py FOLDER [FOLDER FOR SCREENSHOTS]
"""

import functools
import http.server
import os
import re
import shutil
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
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
TYPESET = """() => [...document.querySelectorAll('span.math')].every(
    (e) => e.querySelector('.katex'))"""
MOUNTED = "() => !document.querySelector('[data-t2i] > img:only-child')"  # no widget waits
MATH = """() => ['span.math', 'span.math .katex', '.katex-error']
    .map((which) => document.querySelectorAll(which).length)"""

# the prompt box that draws by itself, what it fetches for that, and all that it says
LIVE, DRAWING = "site_libs/live", ".t2i-drawing"
HEAR = """(box) => {
    window.said = [];
    const note = document.querySelector(`${box} .note`);
    const hear = () => said.push(note.textContent);
    new MutationObserver(hear).observe(note, { childList: true });
}"""

# the longest line of each block of code or output that is wider than its box
CUT_OFF = """() => {
    const closed = [...document.querySelectorAll('main details:not([open])')];
    closed.forEach(e => e.open = true);  // what is folded has no width
    const found = [...document.querySelectorAll('main pre')]
        .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 2)
        .map(e => e.innerText.split('\\n').reduce((a, b) => b.length > a.length ? b : a, ''));
    closed.forEach(e => e.open = false);
    return found;
}"""


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


def at_home(page, widget, slider) -> str:
    """The widget's picture with the slider at its lower end, once it has answered."""
    for _ in range(80):  # drawn for the first time
        shown = widget.evaluate(PICTURE)
        if "blank" not in shown:
            break
        page.wait_for_timeout(50)
    value = slider.input_value()
    slider.press("Home")
    return shown if slider.input_value() == value else changes(page, widget, shown)


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
            first = at_home(page, widget, slider)
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


LEADS = """() => [[...document.querySelectorAll('a[href]')].map((a) => a.href),
    [...document.querySelectorAll('img[src]')].map((i) => i.src)].flat()"""


def check_links(page, root: Path, base: str) -> list[str]:
    """Links and pictures that stay in the site lead to a file, and links that name a place, to
    one that is there.
    """
    bad = []
    for href in dict.fromkeys(page.evaluate(LEADS)):
        target, anchor = urldefrag(urljoin(page.url, href))
        if not target.startswith(base):
            continue
        path = root / unquote(target.removeprefix(base).split("?")[0])
        if not (path.is_file() or (path / "index.html").is_file()):
            bad.append(f"link to nothing: {href.removeprefix(base)}")
        elif anchor and path.suffix == ".html" and unquote(anchor) not in places(path):
            bad.append(f"link to no place: {href.removeprefix(base)}")
    return sorted(set(bad))


def listen(page, base: str) -> list[str]:
    """Faults that a page tells of by itself; the list grows while it is open."""
    bad = []

    def request(asked):
        if not asked.url.startswith((base, "data:", "blob:")):
            bad.append(f"request to another host: {asked.url}")
        if LIVE in asked.url:
            bad.append(f"fetched unasked: {asked.url}")

    def response(reply):
        if reply.status >= 400:
            bad.append(f"{reply.status}: {reply.url}")

    page.on("pageerror", lambda e: bad.append(f"script error: {e}"))
    page.on("requestfailed", lambda r: bad.append(f"failed request: {r.url}"))
    page.on("request", request)
    page.on("response", response)
    return bad


def check_text(page) -> list[str]:
    """Formulas that stayed code, widgets that stayed text, pictures that are none, lines that
    are cut off.
    """
    bad = []
    math, typeset, errors = page.evaluate(MATH)
    if math != typeset or errors:
        bad.append(f"math: {typeset} of {math} typeset, {errors} with errors")
    if not page.evaluate(MOUNTED):
        bad.append("a widget stays a still picture")
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
    return bad + [f"cut off at the edge: {line[:120]}" for line in page.evaluate(CUT_OFF)]


WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 800}
SIDEWAYS = "() => document.scrollingElement.scrollWidth - innerWidth"
HEAVIEST = 2_000_000  # bytes of a page's own file
# where the first picture of the text is: its upper edge, and how much of it a screen shows
FIRST = """() => {
    const large = [...document.querySelectorAll('main img, main canvas, main svg')]
        .map((e) => e.getBoundingClientRect()).find((r) => r.width >= 40 && r.height >= 40);
    return large && [Math.round(large.top), Math.round(large.height)];
}"""


def check_screens(page, root: Path, rel: str) -> list[str]:
    """A reading shows a picture at once; no page is heavy, or scrolls sideways on a phone."""
    bad = []
    weight = (root / rel).stat().st_size
    if weight > HEAVIEST:
        bad.append(f"weighs {weight:,} bytes, which is more than {HEAVIEST:,}")
    if rel.startswith("readings/"):
        top, height = page.evaluate(FIRST) or (None, 0)
        if top is None or top + min(height, 160) > WIDE["height"]:
            bad.append(f"the first picture stands at {top} px, below the first screen")
    page.set_viewport_size(PHONE)
    if (beyond := page.evaluate(SIDEWAYS)) > 0:
        bad.append(f"scrolls sideways on a phone, by {beyond} px")
    page.set_viewport_size(WIDE)
    return bad


# All of axe-core's rules. What is read aloud stays: the hidden half of a formula, and the
# colours within code, are left to the pages of AUDITED, which are looked at whole.
LEAN = """() => {
    document.querySelectorAll('.katex-html').forEach((e) => e.remove());
    document.querySelectorAll('pre code').forEach((e) => e.replaceChildren(e.textContent));
}"""
AUDIT = """async () => {
    const found = await axe.run({ resultTypes: ['violations'], preload: false });
    return found.violations.map((v) => `axe, ${v.id}, ${v.nodes.length} times: ` +
        v.nodes[0].html.slice(0, 160));
}"""


def axe_script() -> str:
    """The text of axe-core; "" where npm cannot be had, which is then said."""
    try:
        return npm.files(npm.AXE)["axe.min.js"].read_text(encoding="utf-8")
    except npm.Unavailable as e:
        print(f"pages not audited: {e}")
        return ""


def check_page(
    context, root: Path, rel: str, base: str, shots: Path | None = None, axe: str = ""
) -> tuple[int, list[str]]:
    """What is wrong with one page, and how many sliders it has. axe: axe-core's text, or none.
    """
    page = context.new_page()
    page.set_viewport_size(WIDE)
    page.set_default_timeout(60_000)  # milliseconds; a busy machine is no fault of a page
    bad = listen(page, base)
    page.goto(base + rel, wait_until="load")
    for _ in range(50):  # KaTeX and the widgets begin after the page has loaded
        if page.evaluate(TYPESET) and page.evaluate(MOUNTED):
            break
        page.wait_for_timeout(200)
    bad += check_text(page)
    bad += check_links(page, root, base)
    bad += check_screens(page, root, rel)
    count, wrong = check_sliders(page)
    bad += wrong
    if shots:
        page.screenshot(path=str(shots / f"{rel.replace('/', '_')[:-5]}.png"), full_page=True)
    if axe:
        page.evaluate(LEAN)
        page.evaluate(axe)
        bad += page.evaluate(AUDIT)
    page.close()
    return count, bad


def check_some(root: Path, rels: list[str], base: str, shots: Path | None, axe: str):
    """`check_page` of some pages, in a browser of their own: [(page, sliders, faults)]."""
    with chromium() as browser:
        context = browser.new_context()
        return [(rel, *check_page(context, root, rel, base, shots, axe)) for rel in rels]


AT_ONCE = 2  # browsers


def by_weight(root: Path, count: int) -> list[list[str]]:
    """The pages of a site in so many lists of about the same weight."""
    pages = [p.relative_to(root).as_posix() for p in root.rglob("*.html")]
    pages.sort(key=lambda rel: (root / rel).stat().st_size, reverse=True)
    return [pages[i::count] for i in range(count)]


def drawn_live(page, wish: dict, box: str = DRAWING) -> list[str]:
    """Ask a page's prompt box for a drawing, by keys alone, and wait; all that it says."""
    page.wait_for_selector(box)
    for name, value in wish.items():
        page.focus(f"{box} [name={name}]")
        page.keyboard.press("Control+a")
        page.keyboard.type(str(value))
    page.evaluate(HEAR, box)
    page.press(f"{box} [name=prompt]", "Enter")
    page.wait_for_function("() => said.length && !document.querySelector('[aria-busy=true]')")
    return page.evaluate("() => said")


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
    said = drawn_live(page, {"prompt": prompt} | wish)
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


TOKENS = ".t2i-tokens"
WRITTEN = """() => document.querySelector('.t2i-tokens').written.map(
    ({ top: [[token, share]], logits, picture }) =>
    ({ token, share, logits: [...logits], picture: [...picture] }))"""


def check_tokens(browser, base: str, rel: str = "readings/dalle.html") -> list[str]:
    """Let DALL-E write in the page: are its tokens, logits and pictures PyTorch's?"""
    from export_live import CLOSE, WRITER
    from t2i_course.dalle import DALLE

    prompt = "two green circles on a white background"
    wish = {"seed": 3, "guidance": 2.5, "temperature": 0.9, "top_k": 50}
    bad, page = [], browser.new_page(viewport=PHONE)
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda e: bad.append(f"script error: {e}"))
    page.goto(base + rel, wait_until="load")
    said = drawn_live(page, {"prompt": prompt} | wish, TOKENS)
    for words in (" MB", "Writing in 64 steps", f": {prompt}"):
        if not any(words in sentence for sentence in said):
            bad.append(f"the live sentence does not say {words!r}, but {said}")
    if page.evaluate(SIDEWAYS) > 0:
        bad.append("the page of the live sentence scrolls sideways on a phone")
    written = page.evaluate(WRITTEN)
    page.close()
    apart = sentence_apart(DALLE.from_pretrained(WRITER), prompt, wish, written)
    if not apart < CLOSE:
        bad.append(f"the live sentence is not PyTorch's: {apart:.1e} apart, {said}")
    return bad


def sentence_apart(model, prompt: str, wish: dict, written: list[dict]) -> float:
    """How far logits, shares or pictures of a page's sentence are from PyTorch's, at most;
    infinity where a token is another.
    """
    import torch

    steps = list(model.steps(prompt, **wish))
    tokens = steps[-1].tokens
    if [step["token"] for step in written] != tokens[0].tolist():
        return float("inf")
    network, apart = model.transformer, []
    with torch.no_grad():
        sentence = network.embed(model.encode([prompt, ""]), tokens[:, :-1].expand(2, -1))
        logits = network.image_logits(network.run(sentence)[:, network.text - 1 :])
    told, nothing = logits.log_softmax(-1)
    guided = nothing + wish["guidance"] * (told - nothing)
    for step, row, here in zip(steps, guided, written):
        apart.append((torch.tensor(here["logits"]) - row).abs().max())
        apart.append((torch.tensor(here["picture"]) - step.x.flatten()).abs().max())
        apart.append((step.p[0, here["token"]] - here["share"]).abs())
    return float(max(apart))


LABELS = ".t2i-labels"


def check_labels(browser, base: str, rel: str = "readings/clip.html") -> list[str]:
    """Ask CLIP in the page for labels of one's own: are its shares PyTorch's?"""
    import torch

    from export_live import CLOSE, JUDGE
    from t2i_course.clip import CLIP

    asked = ["a fox", "a star, in red", "Pizza!", "two red stars", "it's a black background"]
    bad, page = [], browser.new_page(viewport=PHONE)
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda e: bad.append(f"script error: {e}"))
    page.goto(base + rel, wait_until="load")
    page.wait_for_selector(LABELS)
    page.fill(f"{LABELS} textarea", "\n".join(asked))
    page.wait_for_timeout(600)
    fetched = page.evaluate("() => performance.getEntriesByType('resource').map((e) => e.name)")
    if any(LIVE in name for name in fetched):
        bad.append("CLIP is fetched before it is asked")
    page.click(f"{LABELS} .go")
    page.wait_for_function(f"() => document.querySelector('{LABELS}').shares?.length === 5")
    widget = "document.querySelector('.t2i-labels')"
    here = torch.tensor(page.evaluate(f"() => {widget}.shares"))
    heads = f"[...{widget}.querySelectorAll('thead img')]"
    names = page.evaluate(f"() => {heads}.map((image) => image.alt)")
    model, pictures = CLIP.from_pretrained(JUDGE), pictures_called(names)
    with torch.no_grad():
        there = (model.scale * model.similarity(pictures, asked).T).softmax(0)
    apart = float((here - there).abs().max())
    if not apart < CLOSE:
        bad.append(f"the shares in the page are not PyTorch's: {apart:.1e} apart")
    if not page.inner_text(f"{LABELS} .note").startswith("The label chosen for each picture"):
        bad.append(f"the labels' note says {page.inner_text(f'{LABELS} .note')!r}")
    page.close()
    return bad


SEARCH = ".t2i-search"
FOUND = f"() => document.querySelector('{SEARCH}').found"


def check_search(browser, base: str, rel: str = "readings/clip.html") -> list[str]:
    """Search the emoji in the page: does it find what PyTorch finds, and of the examples what
    is stored?
    """
    from export_live import CLOSE, JUDGE
    from t2i_course.clip import CLIP

    bad, page = [], browser.new_page(viewport=PHONE)
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda e: bad.append(f"script error: {e}"))
    page.goto(base + rel, wait_until="load")
    page.wait_for_selector(f"{SEARCH} li")
    examples = page.locator(f"{SEARCH} .chips button").all_inner_texts()
    there = [search_for(page, example) for example in examples]
    fetched = page.evaluate("() => performance.getEntriesByType('resource').map((e) => e.name)")
    if any(LIVE in name for name in fetched):
        bad.append("CLIP is fetched before it is asked to search")
    own = ["a sleepy cat", "it's raining, fluent style", "two green circles"]
    there += found_by(CLIP.from_pretrained(JUDGE), own)
    asked = [*(e.upper() for e in examples), *own]  # of capitals no answer is stored
    for words, expected in zip(asked, there):
        here = search_for(page, words)
        if [name for name, _ in here] != [name for name, _ in expected]:
            bad.append(f"found for {words!r}: {here}, and by PyTorch {expected}")
        elif (apart := max(abs(a - b) for (_, a), (_, b) in zip(here, expected))) > CLOSE:
            bad.append(f"cosines of {words!r} are not PyTorch's: {apart:.1e} apart")
    if not page.inner_text(f"{SEARCH} .note").startswith(f"Nearest: {expected[0][0]}; "):
        bad.append(f"the search's note says {page.inner_text(f'{SEARCH} .note')!r}")
    if page.evaluate(SIDEWAYS) > 0:
        bad.append("the page of the live search scrolls sideways on a phone")
    page.close()
    return bad


def search_for(page, words: str) -> list[list]:
    """Search in a page by keys; what it finds, [name, cosine] each."""
    page.fill(f"{SEARCH} input", words)
    page.evaluate(f"() => delete document.querySelector('{SEARCH}').found")
    page.press(f"{SEARCH} input", "Enter")
    return page.wait_for_function(FOUND).json_value()


def found_by(model, asked: list[str]) -> list[list]:
    """What reading 4 finds for these words, (name, cosine) each."""
    import torch

    from export_live import plain_emoji
    from t2i_course.data.captioned import to_float

    art = plain_emoji()
    with torch.no_grad():
        parts = [model.image_features(to_float(x)) for x in art.images.split(512)]
        best = (model.text_features(asked) @ torch.cat(parts).T).topk(12)
    names = [art.subset(rows).captions for rows in best.indices.tolist()]
    return [list(zip(*found)) for found in zip(names, best.values.tolist())]


def pictures_called(names: list[str]):
    """The pictures of these captions, (N, 3, 32, 32): emoji, or shapes of reading 4's board."""
    import torch

    from t2i_course.data.captioned import emoji, shapes, to_float

    art, board = emoji(32, progress=False), shapes(400, 32, seed=2, split="test")
    captions, images = [*art.captions, *board.captions], [*art.images, *board.images]
    first = [images[captions.index(name)] for name in names]  # of several with that caption
    return to_float(torch.stack(first))


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
DARK = "localStorage.setItem('smalldocs-scheme', 'alternate')"


def check_access(browser, base: str, pages: tuple = AUDITED) -> list[str]:
    """What axe-core says of whole pages, light and dark, and whether they scroll sideways at
    200 %; nothing without npm.
    """
    bad, script = [], axe_script()
    half = {side: length // 2 for side, length in WIDE.items()}
    kinds = [(rel, scheme) for rel in pages for scheme in ("light", "dark")]
    for rel, scheme in kinds if script else ():
        page = browser.new_page(viewport=WIDE)
        page.set_default_timeout(120_000)
        if scheme == "dark":
            page.add_init_script(DARK)
        page.goto(base + rel, wait_until="load")
        page.evaluate(script)
        bad += [f"{rel}, {scheme}: {fault}" for fault in page.evaluate(AUDIT)]
        page.set_viewport_size(half)
        if (beyond := page.evaluate(SIDEWAYS)) > 0:
            bad.append(f"{rel} at 200 % scrolls sideways, by {beyond} px")
        page.close()
    return bad


BRIGHT = """() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g)
    .slice(0, 3).reduce((a, b) => a + Number(b), 0) / 765"""
FETCHED = """() => ['navigation', 'resource'].flatMap((k) => performance.getEntriesByType(k))
    .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""
LIGHTEST = 1_000_000  # bytes of the home page with all that it fetches unasked


def check_memory(browser, base: str, home="index.html", rel="readings/ddpm.html") -> list[str]:
    """What a browser keeps for a reader: light or dark, and how far a reading was read; and
    what the home page weighs.
    """
    bad, context = [], browser.new_context(viewport=WIDE, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(base + home, wait_until="networkidle")
    if (weight := page.evaluate(FETCHED)) > LIGHTEST:
        bad.append(f"the home page fetches {weight:,} bytes, more than {LIGHTEST:,}")
    page.click(".quarto-color-scheme-toggle")
    page.wait_for_function(f"() => ({BRIGHT})() < 0.4")
    page.goto(base + rel, wait_until="commit")
    first = page.wait_for_function(f"() => document.body && [({BRIGHT})()]").json_value()
    if first[0] > 0.4:
        bad.append("a page begins bright where the reader has chosen dark")
    page.wait_for_load_state("load")
    part = page.locator("main h2").nth(2)
    name = part.inner_text().strip()
    part.evaluate("(e) => e.scrollIntoView()")
    page.wait_for_selector(READ := f"#quarto-sidebar a[href$='{Path(rel).name}'] .read")
    page.reload(wait_until="load")
    if name not in (offer := page.inner_text(".go-on")):
        bad.append(f"a reading that was left at {name!r} offers {offer!r}")
    page.goto(base + home, wait_until="load")
    if "%" not in page.inner_text(READ):
        bad.append("the sidebar does not say how far a reading was read")
    context.close()
    return bad


def check_site(root: Path, shots: Path | None = None):
    """Everything: ({page: faults}, sliders moved); None where no Chromium is installed."""
    with chromium() as browser, serve(root) as base:
        if browser is None:
            return None
        axe, faults = axe_script(), {}
        with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
            parts = by_weight(root, AT_ONCE)
            jobs = [pool.submit(check_some, root, part, base, shots, axe) for part in parts]
            faults["light, dark and 200 %"] = check_access(browser, base)
            faults["what the browser keeps"] = check_memory(browser, base)
            if (root / LIVE).is_dir():  # made where npm can be had
                live = check_live(browser, base) + check_refusals(browser, root, base)
                faults["live drawing"] = live
                faults["live labels"] = check_labels(browser, base)
                faults["live search"] = check_search(browser, base)
                faults["live tokens"] = check_tokens(browser, base)
            found = [page for job in jobs for page in job.result()]
    faults |= {rel: bad for rel, _, bad in sorted(found)}
    return faults, sum(count for _, count, _ in found)


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    found = check_site(root, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    if found is None:
        print(f"pages not checked: {NO_BROWSER}")
        return 0
    faults, sliders = found
    for name, bad in faults.items():
        print("FAIL" if bad else "ok  ", name, *[f"\n      {b}" for b in bad])
    failed = sum(map(bool, faults.values()))
    pages = sum(name.endswith(".html") for name in faults)
    print(f"{pages} pages, {failed} with faults, {sliders} sliders moved")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
