"""A reading on paper: in print the site's style leaves the text and its pictures."""

import pytest
from check_docs import NO_BROWSER, chromium
from nbdev.config import get_config

PAGE = """<style>{}</style><div id="quarto-content"><nav id="quarto-sidebar">Readings</nav>
<main class="content"><h2>Part 1</h2><p>Words and <a href="#x">a link</a>.</p>
<pre><code>{}</code></pre>
<figure><img alt="a fox"><button>Play</button><input type="range"></figure>
<details open><summary>Hint 1</summary>said</details></main></div>"""
SHOWN = "e => getComputedStyle(e).display != 'none'"


@pytest.fixture(scope="module")
def page():
    style = (get_config().nbs_path / "styles.css").read_text(encoding="utf8")
    with chromium() as browser:
        if browser is None:
            pytest.skip(NO_BROWSER)
        page = browser.new_page(viewport={"width": 640, "height": 900})
        page.set_content(PAGE.format(style, "a = b  # " + "word" * 60))
        yield page


def shown(page) -> dict[str, bool]:
    """What of the page is seen."""
    names = ("nav", "button", "input", "h2", "p", "pre", "img", "summary")
    return {name: page.eval_on_selector(name, SHOWN) for name in names}


def test_menus_and_buttons_stay_on_the_screen(page):
    page.emulate_media(media="screen")
    assert all(shown(page).values())
    page.emulate_media(media="print")
    hidden = {name for name, seen in shown(page).items() if not seen}
    assert hidden == {"nav", "button", "input"}


def test_long_code_wraps_on_paper(page):
    page.emulate_media(media="print")
    wide = page.eval_on_selector("pre", "e => e.scrollWidth - e.clientWidth")
    assert wide <= 0 and page.evaluate("document.body.scrollWidth <= 640")
    lines = page.eval_on_selector("pre", "e => e.clientHeight")
    page.emulate_media(media="screen")
    assert page.eval_on_selector("pre", "e => e.scrollWidth - e.clientWidth") > 0
    assert lines > page.eval_on_selector("pre", "e => e.clientHeight")
