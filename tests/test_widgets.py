"""The widgets in a real browser: the stored page without a kernel, and the module against a
kernel played by the test.
"""

import base64
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from check_docs import NO_BROWSER, PICTURE, chromium
from t2i_course.dalle import TokenOptions, TokenStep
from t2i_course.ddpm import ddim, step_indices
from t2i_course.diffusion import GaussianMixture, Schedule, q_sample
from t2i_course.widgets.ask import Ask, Paint
from t2i_course.widgets.labels import Labels
from t2i_course.widgets.pages import module
from t2i_course.widgets.plane import Plane
from t2i_course.widgets.plots import png
from t2i_course.widgets.search import Search
from t2i_course.widgets.tokens import Tokens
from t2i_course.measure.history import Timeline
from t2i_course.measure.rating import SideBySide, preference
from t2i_course.widgets.players import Player, Scrub

SOLID = lambda r, g=0.0, b=0.0: np.broadcast_to(
    np.array([r, g, b], "float32")[:, None, None] * 2 - 1, (3, 8, 8)
)
PIXEL = (
    "(e, [x, y]) => [...e.querySelector('canvas').getContext('2d').getImageData(x, y, 1,"
    " 1).data]"
)

# Kernels played by the page: one answers each question after a delay and keeps count of how
# many wait for it at once, the other fills every mask with the same picture.
FAKE = (Path(__file__).parent / "fake_kernels.js").read_text(encoding="utf-8")
DRAG = """async positions => {
    const slider = document.querySelector('input[type=range]');
    for (const p of positions) {
        slider.value = p;
        slider.dispatchEvent(new Event('input', { bubbles: true }));
        await new Promise(f => setTimeout(f, 3));
    }
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        if found is None:
            pytest.skip(NO_BROWSER)
        yield found


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.problems = []
    page.on("pageerror", lambda e: page.problems.append(str(e)))
    page.on(
        "request",
        lambda r: (
            page.problems.append(r.url)
            if not r.url.startswith(("blob:", "data:", "about:"))
            else None
        ),
    )
    yield page
    assert not page.problems
    page.close()


TRAITS = ("kind", "css", "title", "caption", "name", "panels", "labels", "controls")
SIZES = ("picture", "scale", "index", "interval")


def encoded(data):
    return base64.b64encode(data).decode()


def live(page, scrub, delay, broken=()):
    """Render `scrub` in `page` against a fake kernel, for which positions `broken` fail."""
    state = {k: getattr(scrub, k) for k in TRAITS + SIZES}
    every = range(len(scrub.labels))
    pngs = [None if i in broken else encoded(scrub.png(i)) for i in every]
    state |= {"live": True, "frames": [], "tail": "", "first": pngs[scrub.index]}
    page.set_content("<div id=here></div>")
    page.add_script_tag(content=FAKE)
    page.evaluate("args => answering(...args)", [module("player"), state, pngs, delay])
    return page.query_selector(".t2i-scrub")


def test_stored_page_moves_by_keyboard_and_draws_the_frame(page):
    page.set_content(
        Player(
            [{"x_t": SOLID(i / 4), "x0_hat": SOLID(0, 1)} for i in range(5)],
            labels=["a", "b", "c", "d", "e"],
            title="Red",
            size=64,
        ).html()
    )
    widget = page.wait_for_selector(".t2i-player")
    slider = widget.query_selector("input[type=range]")
    assert widget.get_attribute("aria-label") == "Red" and slider.get_attribute("aria-label")
    assert widget.evaluate(PIXEL, [3, 3]) == [0, 0, 0, 255]
    slider.focus()
    slider.press("End")
    page.wait_for_function("() => document.querySelector('output').textContent === 'e'")
    assert widget.evaluate(PIXEL, [3, 3]) == [255, 0, 0, 255]
    assert widget.evaluate(PIXEL, [64 + 12 + 3, 3]) == [
        0,
        255,
        0,
        255,
    ]  # the second picture, after a gap
    assert slider.get_attribute("aria-valuetext") == "e"
    assert (
        widget.query_selector(".names").inner_html()
        == "<span>x<sub>t</sub></span><span>x\u0302<sub>0</sub></span>"
    )


def test_frames_cut_from_a_sheet_are_the_frames(page):
    dice = np.random.default_rng(0)
    level = [i / 59 for i in range(60)]
    grain = dice.normal(0, 0.2, (60, 3, 64, 64)).astype("float32")
    large = lambda v: SOLID(v).repeat(8, 1).repeat(8, 2)
    frames = [(large(v) + g).clip(-1, 1) for v, g in zip(level, grain)]
    page.set_content(Player(frames, labels=level, size=64).html())
    widget = page.wait_for_selector(".t2i-player")
    assert "sheets" in page.content(), "sixty frames of noise fit as they are"
    red = """e => {
        const canvas = e.querySelector('canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, 64, 64);
        return [0, 1, 2].map((c) => data.filter((v, i) => i % 4 === c)
            .reduce((a, b) => a + b) / 4096);
    }"""
    stops = int(widget.query_selector("input[type=range]").get_attribute("max"))
    assert stops >= 23
    for i in (0, stops // 2, stops):
        page.evaluate(DRAG, [i])
        page.wait_for_selector(f"canvas[data-index='{i}']")
        shown = frames[level.index(float(widget.query_selector("output").inner_text()))]
        meant = (127.5 * (shown + 1)).mean((1, 2))
        assert np.abs(np.array(widget.evaluate(red)) - meant).max() < 4, i


def test_stored_page_has_a_working_dropdown_and_plays_to_the_end(page):
    scrub = Scrub(
        lambda v, colour: SOLID(*(v * c for c in colour)),
        [0.0, 0.5, 1.0],
        controls={"colour": {"red": (1, 0, 0), "blue": (0, 0, 1)}},
        size=64,
        interval=10,
    )
    page.set_content(scrub.html())
    widget = page.wait_for_selector(".t2i-scrub")
    widget.query_selector("button").click()
    page.wait_for_function("() => document.querySelector('output').textContent === '1'")
    page.wait_for_selector("button[aria-label=Play]")
    assert widget.evaluate(PIXEL, [3, 3]) == [255, 0, 0, 255]
    page.select_option("select", "blue")
    page.wait_for_timeout(100)
    assert widget.evaluate(PIXEL, [3, 3]) == [0, 0, 255, 255]


def test_the_same_widget_twice_on_a_page_works_twice(page):
    stored = Player([SOLID(0), SOLID(1)], size=32).html()
    page.set_content(stored + stored)
    page.wait_for_function("() => document.querySelectorAll('.t2i-player canvas').length === 2")


def test_without_scripts_a_picture_stands_there(browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.set_content(Player([SOLID(1), SOLID(0)], labels=["full", "empty"], size=64).html())
    image = page.query_selector("img")
    assert (
        image.is_visible()
        and image.bounding_box()["width"] == 64
        and image.get_attribute("alt") == "full"
    )
    page.context.close()


def test_a_fast_drag_asks_one_thing_at_a_time_and_ends_where_it_stopped(page):
    widget = live(page, Scrub(lambda v: SOLID(v / 50), range(51), size=32), delay=30)
    page.evaluate(DRAG, list(range(1, 51)))
    page.wait_for_function(
        "() => document.querySelector('output').textContent === '50' && window.log.waiting"
        " === 0"
    )
    log = page.evaluate("() => window.log")
    assert (
        log["most"] == 1 and len(log["asked"]) < 40
    ), log  # never a queue; stale wishes were dropped
    assert widget.evaluate(PIXEL, [3, 3]) == [255, 0, 0, 255]
    assert widget.evaluate(PICTURE) != "blank"


def test_positions_seen_before_do_not_ask_again(page):
    live(page, Scrub(lambda v: SOLID(v / 4), range(5), size=32), delay=1)
    page.evaluate(DRAG, [4])
    page.wait_for_function("() => document.querySelector('output').textContent === '4'")
    before = page.evaluate("() => window.log.asked.length")
    page.evaluate(DRAG, [0, 4])
    page.wait_for_timeout(50)
    assert page.evaluate("() => window.log.asked.length") == before


def test_a_failing_fn_is_named_and_the_slider_lives_on(page):
    widget = live(page, Scrub(lambda v: SOLID(v / 4), range(5), size=32), delay=1, broken={2})
    before = widget.evaluate(PICTURE)
    page.evaluate(DRAG, [2])
    page.wait_for_function(
        "() => document.querySelector('output').textContent.includes('ValueError')"
    )
    assert widget.evaluate(PICTURE) == before  # the last good picture stays
    page.evaluate(DRAG, [4])
    page.wait_for_function("() => document.querySelector('output').textContent === '4'")
    assert widget.evaluate(PIXEL, [3, 3]) == [255, 0, 0, 255]


def test_a_restarted_kernel_is_named(page):
    widget = live(page, Scrub(lambda v: SOLID(v / 4), range(5), size=32), delay=1)
    before = widget.evaluate(PICTURE)
    page.evaluate("() => kernel.restart()")
    said = "() => document.querySelector('output').textContent.includes('run this cell again')"
    page.wait_for_function(said)
    page.evaluate(DRAG, [1, 2, 3])  # whatever is asked now, the answer is the same
    page.wait_for_function(said)
    assert widget.evaluate(PICTURE) == before  # and the last picture stays
    assert widget.query_selector("output").get_attribute("aria-busy") != "true"


def test_a_text_box_of_a_restarted_kernel_says_so(page):
    ask = Ask(lambda word: SOLID(len(word) / 10), ["one"], size=64)
    names = ("css", "title", "caption", "examples", "rows", "scale", "live")
    state = {k: getattr(ask, k) for k in names} | {"frames": list(map(encoded, ask.frames))}
    page.set_content("<div id=here></div>")
    page.add_script_tag(content=FAKE)
    page.evaluate("args => answering(...args)", [module("ask"), state, [], 1])
    page.evaluate("() => kernel.restart()")
    page.fill("input", "words of my own")
    page.wait_for_function(
        "() => document.querySelector('.note').textContent.includes('run this cell again')"
    )


class Judge:
    """A CLIP whose cosines are known: picture j answers to label i by `table[i, j]`."""

    table = torch.tensor([[0.9, 0.1], [0.2, 0.3], [0.1, 0.8]])
    scale = torch.tensor(10.0)

    def image_features(self, images):
        return torch.eye(2)

    def similarity(self, images, labels):
        return self.table[: len(labels)].T


def test_a_stored_table_of_labels_is_the_softmax_of_each_picture(page):
    pictures, names = torch.zeros(2, 3, 32, 32), ["black", "also black"]
    examples = ["night\ncoal\nink", "night\ncoal"]
    labels = Labels(Judge(), pictures, names, examples, title="What?")
    page.set_content(labels.html())
    page.wait_for_selector(".t2i-labels table")
    shares = lambda: torch.tensor(page.evaluate("document.querySelector('.t2i-labels').shares"))
    assert torch.allclose(shares(), (10 * Judge.table).softmax(0), atol=1e-6)
    assert "night, ink" in page.inner_text(".note")
    assert "(as learned)" in page.inner_text("output")
    assert [i.get_attribute("alt") for i in page.query_selector_all("thead img")] == names
    page.focus("input[type=range]")
    page.keyboard.press("Home")  # a scale of 0: every label alike
    assert torch.allclose(shares(), torch.full((3, 2), 1 / 3))
    page.click(".chips button:nth-child(2)")
    assert shares().shape == (2, 2) and page.input_value("textarea") == "night\ncoal"
    page.fill("textarea", "one label")
    page.click(".go")
    assert "there are 1" in page.inner_text(".note")
    page.fill("textarea", "words\nof my own")
    page.click(".go")
    assert "run this notebook" in page.inner_text(".note")


def test_a_stored_search_shows_the_nearest_and_their_cosines(page):
    answers = {"night": ([0.9, 0.25], [1, 0]), "day": ([0.8, 0.1], [0, 1])}
    pictures = torch.stack([torch.ones(3, 8, 8), -torch.ones(3, 8, 8)])
    search = Search(answers.get, pictures, ["sun", 'a "moon"'], list(answers), title="Find")
    page.set_content(search.html())
    page.wait_for_selector("ol.found li")
    heard = lambda: page.evaluate(
        "[...document.querySelectorAll('ol.found canvas')].map((c) => [c.ariaLabel,"
        " c.getContext('2d').getImageData(4, 4, 1, 1).data[0]])"
    )
    said = lambda: page.inner_text("ol.found").split()
    assert heard() == [['a "moon"', 0], ["sun", 255]] and said() == ["0.90", "0.25"]
    assert page.inner_text(".note") == 'Nearest: a "moon"; sun.'
    page.focus(".chips button:nth-child(2)")
    page.keyboard.press("Enter")
    noted = "document.querySelector('.note').textContent"
    page.wait_for_function(f"() => {noted}.includes('sun; a')")
    assert heard()[0] == ["sun", 255] and said() == ["0.80", "0.10"]
    assert page.get_attribute("[aria-pressed=true]", "type") == "button"
    page.fill("input", "words of my own")
    assert "Press Search" in page.inner_text(".note")
    page.press("input", "Enter")
    assert "run this notebook" in page.inner_text(".note")
    page.fill("input", " ")
    page.press("input", "Enter")
    assert page.inner_text(".note") == "Say what to look for."


FINDER = """([esm, state, found, png]) => {
    const on = {};
    const reply = ({ view: own, number, text }) => text === 'nothing'
        ? on['msg:custom']({ view: own, number, error: 'no such thing' }, [])
        : on['msg:custom']({ view: own, number, found }, [view(png)]);
    const send = (message) => setTimeout(() => reply(message), 20);
    const model = { get: (k) => state[k], off() {}, on: (event, f) => (on[event] = f), send };
    return render(esm, model);
}"""


def test_a_search_is_answered_by_the_kernel(page):
    answers = {"night": ([0.9], [1]), "noon": ([0.7], [0])}
    pictures = torch.stack([torch.ones(3, 8, 8), -torch.ones(3, 8, 8)])
    search = Search(answers.get, pictures, ["sun", "moon"], ["night"])
    state = {k: getattr(search, k) for k in ("css", "title", "caption", "examples", "found")}
    state |= {"live": True, "rows": list(map(encoded, search.rows))}
    found, row = search.answer("noon")
    page.set_content("<div id=here></div>")
    page.add_script_tag(content=FAKE)
    page.evaluate(FINDER, [module("search"), state, found, encoded(png(row))])
    assert page.inner_text(".note") == "Nearest: moon."
    page.fill("input", "noon")  # every change asks the kernel
    page.wait_for_function("() => document.querySelector('.note').textContent.includes('sun')")
    assert page.inner_text("li") == "0.70" and not page.query_selector(".stale")
    page.fill("input", "nothing")
    page.wait_for_selector("ol.stale")
    assert page.inner_text(".note") == "no such thing"


class Scribe:
    """A DALL-E of four codes whose tokens are 3, 2, 1, 0, as sure as `p` says."""

    grid, image_size, device = 2, 8, "cpu"
    decode = lambda ids: (ids.view(1, 1, 1, 1) / 4 - 1).expand(1, 3, 4, 4)
    dvae = SimpleNamespace(vocab=9, decode=decode)
    options = TokenOptions(guidance=2.0)
    p = torch.tensor([[0.4, 0.3, 0.2, 0.04, 0.03, 0.02, 0.01, 0.0, 0.0]])

    def steps(self, prompt, **how):
        for i in range(4):
            tokens = torch.tensor([[3, 2, 1, 0]])
            yield TokenStep(i, 4, tokens, self.p, lambda ids: torch.zeros(1, 3, 8, 8))


def test_a_stored_sentence_shows_every_token(page):
    page.set_content(Tokens(Scribe(), "a dark square", ["a star"], title="Write").html())
    page.wait_for_selector(".t2i-tokens tbody tr")
    page.focus("input[type=range]")
    page.keyboard.press("Home")
    assert "token 1 of 4: code 3, drawn with 4.0 %" == page.inner_text("output")
    heads = "[...document.querySelectorAll('tbody th')]"
    codes = page.evaluate(f"{heads}.map((e) => e.textContent)")
    assert codes[:7] == list("0123456") and len(codes) == 8
    assert "3\t4.0 % drawn" in page.inner_text("tr.won")
    corner = lambda x, y: page.evaluate(
        "([x, y]) => [...document.querySelector('.words').getContext('2d')"
        ".getImageData(x, y, 1, 1).data]",
        [x, y],
    )
    assert corner(64, 64)[0] == round(127.5 * 0.75) and corner(192, 64) == [128, 128, 128, 255]
    page.click(".words", position={"x": 200, "y": 60})
    assert "token 2 of 4: code 2" in page.inner_text("output")
    assert "token 2 of 4" in page.get_attribute("canvas.picture", "aria-label")
    page.click(".chips button")
    assert page.input_value("[name=prompt]") == "a star"
    page.click(".go")
    assert "run this notebook" in page.inner_text(".note")


# every stop of a way in the plane, its points as rows
STOPS = """() => document.querySelector('.t2i-plane').path.map(({ t, x, x0_hat, log }) =>
    ({ t, log, x: [...x], x0_hat: [...x0_hat] }))"""
SET = """wish => {
    const root = document.querySelector('.t2i-plane');
    root.path = null;
    for (const [name, value] of Object.entries(wish))
        root.querySelector(`[name=${name}]`).value = value;
    root.querySelector('.controls').dispatchEvent(new Event('input'));
}"""
PATH = "() => document.querySelector('.t2i-plane')?.path"


def in_the_plane(page, **wish):
    """The way the page walks with these settings: [(t, x, x0_hat, mean log density)]."""
    page.evaluate(SET, wish)
    page.wait_for_function(PATH)
    rows = lambda numbers: torch.tensor(numbers, dtype=torch.float64).view(-1, 2)
    return [
        (stop["t"], rows(stop["x"]), rows(stop["x0_hat"]), stop["log"])
        for stop in page.evaluate(STOPS)
    ]


def blobs_in_the_plane(page):
    means = torch.tensor([[0.8, 0.5], [-0.7, 0.5], [0.0, -0.8]]).double()
    stds, weights = torch.tensor([0.15, 0.1, 0.25]), torch.tensor([0.2, 0.3, 0.5])
    blobs = GaussianMixture(means, stds.double(), weights.double())
    page.set_content(Plane(blobs, title="Blobs", points=200).html())
    page.wait_for_selector(".t2i-plane")
    return blobs


SCHEDULES = {
    "linear": Schedule.linear(),
    "scaled-linear": Schedule.scaled_linear(),
    "cosine": Schedule.cosine(),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0, 0.5, 1])
def test_the_plane_is_walked_as_by_ddim(page, name, eta):
    blobs, schedule = blobs_in_the_plane(page), SCHEDULES[name]
    seed, points = 7, 130
    steps = {"steps": 9, "eta": eta, "points": points, "seed": seed, "schedule": name}
    noise, *way = in_the_plane(page, **steps)  # position 9 of the slider: 16 steps
    generator = torch.Generator().manual_seed(seed)
    x_T = torch.randn(points, 2, dtype=torch.float64, generator=generator)
    assert (noise[1] - x_T).abs().max() < 1e-12 and len(way) == 16
    how = dict(num_steps=16, eta=eta, clip=False, generator=generator)
    guesses = [noise[2], *(x0_hat for _, _, x0_hat, _ in way)]
    there = ddim(blobs.denoiser(schedule), schedule, x_T, **how)
    for step, x0_hat, (t, x, _, log) in zip(there, guesses, way):
        assert t == step.t
        assert (x - step.x).abs().max() < 1e-6, step.i
        assert (x0_hat - step.x0_hat).abs().max() < 1e-6, step.i
        here = blobs.marginal(schedule, t).log_prob(x).mean()
        assert abs(log - here) < 1e-6
    assert "of points of the data itself" in page.inner_text(".note")


def test_the_plane_is_noised_by_the_jump(page):
    blobs, schedule = blobs_in_the_plane(page), SCHEDULES["cosine"]
    wish = {"from": "data to noise", "steps": 11, "points": 1000, "schedule": "cosine"}
    clean, *way = in_the_plane(page, seed=0, **wish)
    assert clean[0] == -1 and [t for t, *_ in way] == step_indices(1000, 24)[::-1]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1000, 2, dtype=torch.float64, generator=generator)
    for t, x, x0_hat, _ in way:
        time = torch.full((1000,), t)
        assert (x - q_sample(schedule, clean[1], time, noise)).abs().max() < 1e-6
        a = schedule.alpha_bar[t]
        pull = blobs.marginal(schedule, t).score(x)
        assert (x0_hat - (x + (1 - a) * pull) / a.sqrt()).abs().max() < 1e-6 / a.sqrt()
    nearest = torch.cdist(clean[1], blobs.means).argmin(1).bincount() / 1000
    assert (nearest - blobs.weights).abs().max() < 0.05  # the blobs hardly overlap
    mean = blobs.log_prob(blobs.sample(20_000, generator)).mean()
    assert abs(clean[3] - mean) < 0.15


def test_the_plane_moves_by_keys_and_says_where_it_is(page):
    blobs_in_the_plane(page)
    assert "step 24 of 24, clean" in page.inner_text("output >> nth=-1")
    widget = page.query_selector(".t2i-plane")
    for slider in page.query_selector_all("input[type=range]"):
        assert slider.get_attribute("aria-label")
        before = widget.evaluate(PICTURE)
        slider.focus()
        slider.press("ArrowLeft" if slider.get_attribute("name") == "position" else "End")
        page.wait_for_function(PATH)
        assert widget.evaluate(PICTURE) != before, slider.get_attribute("name")
        assert slider.get_attribute("aria-valuetext")
    page.click("button")  # play
    page.wait_for_function(
        "() => document.querySelector('.t2i-plane button').ariaLabel === 'play'"
    )


ANSWER = (
    "(e, [x, y]) => [...e.querySelector('.answer').getContext('2d').getImageData(x, y, 1,"
    " 1).data]"
)


def brush():
    """Paint over a black picture of 8 px; each example's answer is a colour."""
    left = np.zeros((8, 8))
    left[:, :4] = 1
    return Paint(
        SOLID(0),
        lambda mask, text: SOLID(*{"red": (1,), "green": (0, 1), "blue": (0, 0, 1)}[text]),
        [(left, "red"), (1 - left, "green")],
        title="Brush",
        size=64,
    )


def test_a_mask_is_painted_with_the_mouse_and_sent_with_the_words(page):
    paint = brush()
    plain = ("css", "title", "caption", "examples", "size", "scale", "live")
    state = {k: getattr(paint, k) for k in plain} | {"picture": encoded(paint.picture)}
    state |= {k: list(map(encoded, getattr(paint, k))) for k in ("masks", "frames")}
    page.set_content("<div id=here></div>")
    page.add_script_tag(content=FAKE)
    blue = encoded(png(SOLID(0, 0, 1)))
    page.evaluate("args => filling(...args)", [module("paint"), state, blue])
    widget = page.query_selector(".t2i-paint")
    assert (
        widget.evaluate(ANSWER, [3, 3]) == [255, 0, 0, 255]
        and widget.query_selector(".brush").get_attribute("data-painted") == "32"
    )
    widget.query_selector(".bar button + button").click()
    box = widget.query_selector(".brush").bounding_box()  # 64 screen pixels for 8
    page.mouse.move(box["x"] + 4, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 20)
    page.mouse.up()
    page.mouse.move(box["x"] + 4, box["y"] + 60)  # the button is up: nothing is painted
    page.fill("input[type=text]", "blue")
    widget.query_selector(".bar button").click()
    page.wait_for_function("() => document.querySelector('.answer').dataset.drawn === '2'")
    ((text, mask),) = page.evaluate("() => window.log")
    rows = np.array(mask).reshape(8, 8)
    assert text == "blue" and rows[2].all() and not rows[5:].any()  # one stroke, without gaps
    assert widget.evaluate(ANSWER, [3, 3]) == [0, 0, 255, 255]


def test_a_stored_brush_shows_its_examples(page):
    page.set_content(brush().html())
    widget = page.wait_for_selector(".t2i-paint")
    assert widget.evaluate(ANSWER, [3, 3]) == [255, 0, 0, 255]
    widget.query_selector(".chips button:nth-child(2)").click()
    page.wait_for_function("() => document.querySelector('.answer').dataset.drawn === '2'")
    assert (
        widget.evaluate(ANSWER, [3, 3]) == [0, 255, 0, 255]
        and widget.query_selector(".bar button").is_disabled()
    )
    assert page.input_value("input[type=text]") == "green"


def contest(n=4):
    """n prompts; model A always draws red, model B blue."""
    return SideBySide(
        [f"prompt {i}" for i in range(n)],
        [[SOLID(1)] * 2] * n,
        [[SOLID(0, 0, 1)] * 2] * n,
        names=("reds", "blues"),
        title="Which?",
        size=64,
    )


def answer(widget, page, name, wishes):
    """Rate as `name`: for each prompt the wished answer to both questions, whichever side the
    wished model stands on.
    """
    page.fill("input.rater", name)
    for i, wish in enumerate(wishes):
        page.wait_for_function(
            "i => document.querySelector('.t2i-rating').dataset.item == i", arg=i
        )
        red_left = widget.evaluate(
            """async e => {
                const image = e.querySelector('.left');
                await image.decode();
                const pen = document.createElement('canvas').getContext('2d');
                pen.drawImage(image, 0, 0);
                return pen.getImageData(1, 1, 1, 1).data[0] > 128;
            }"""
        )
        side = "tie" if wish == "tie" else "left" if (wish == "A") == red_left else "right"
        for question in ("quality", "alignment"):
            widget.query_selector(f"[data-question={question}] [data-answer={side}]").click()
        if i + 1 < len(wishes):
            widget.query_selector(".on").click()


def test_two_people_rate_and_see_preference_interval_and_tie(page):
    board = contest(10)
    page.set_content(board.html())
    widget = page.wait_for_selector(".t2i-rating")
    assert (
        "reds" not in widget.inner_text() and "blues" not in widget.inner_text()
    )  # nobody is told who is who
    answer(widget, page, "ann", ["A"] * 9 + ["tie"])
    answer(widget, page, "bob", ["A"] * 8 + ["B", "tie"])
    assert "10 answered by bob" in widget.query_selector("output").inner_text()
    widget.query_selector(".show").click()
    cells = [c.inner_text() for c in widget.query_selector_all("[data-result=quality] td")]
    votes = [
        dict(rater=r, item=i, quality=a)
        for r, row in (("ann", ["A"] * 9 + ["tie"]), ("bob", ["A"] * 8 + ["B", "tie"]))
        for i, a in enumerate(row)
    ]
    found = preference(votes, "quality")
    low, high = (f"{100 * x:.0f}%" for x in found["interval"])
    assert (
        cells == [
            "quality",
            "85%",
            "10%",
            "5%",
            f"90% [{low}, {high}]",
            "reds",
            "10 prompts, 2 raters",
        ]
        and found["verdict"] == "A"
    )
    answer(widget, page, "carl", ["B"] * 10)  # the third disagrees with both: now it is open
    votes += [dict(rater="carl", item=i, quality="B") for i in range(10)]
    cells = [c.inner_text() for c in widget.query_selector_all("[data-result=quality] td")]
    assert (
        preference(votes, "quality")["verdict"] == "tie"
        and cells[5] == "a tie"
        and cells[6] == "10 prompts, 3 raters"
    )


def test_timeline_tells_where_a_figure_is_printed(page):
    page.set_content(Timeline(title="FID").html())
    widget = page.wait_for_selector(".t2i-timeline svg")
    note = "() => document.querySelector('.t2i-timeline .note').textContent"
    assert "17.89" in page.evaluate(note) and "DALL-E" in page.evaluate(note)
    every = len(page.query_selector_all(".point"))
    page.query_selector("[aria-label^='GLIDE']").focus()
    page.keyboard.press("Enter")
    assert widget.get_attribute("data-chosen") == "GLIDE" and "12.24" in page.evaluate(note)
    link = page.query_selector(".t2i-timeline .note a")
    assert link.get_attribute("href") == "../readings/06_glide.ipynb", "from any folder"
    page.query_selector(".chips button").click()  # without the zero-shot ones
    assert 0 < len(page.query_selector_all(".point")) < every
