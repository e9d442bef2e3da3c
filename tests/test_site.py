"""The docs site is built in a copy of the tree and every page is opened in a headless browser.
"""

import shutil
import subprocess
import sys

import pytest
from check_docs import NO_BROWSER, axe_script, check_access, check_page, check_site, chromium
from check_docs import serve
from nbdev.config import get_config, nbpath2html

cfg = get_config()
ROOT = cfg.config_path


def build(tmp):
    """The site, as `make docs` builds it; returns its folder."""
    junk = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.safetensors")
    for folder in ("nbs", "t2i_course"):
        shutil.copytree(ROOT / folder, tmp / folder, symlinks=True, ignore=junk)
    for name in ("pyproject.toml", "settings.ini", "setup.py", "README.md", "_quarto.yml"):
        shutil.copy(ROOT / name, tmp / name)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_docs.py", tmp / "site"],
        cwd=tmp,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return tmp / "site"


def search(browser, base, words):
    """The addresses the site's search finds for `words`."""
    page = browser.new_page()
    page.goto(base + "index.html", wait_until="networkidle")
    page.keyboard.press("/")
    page.keyboard.type(words)
    page.wait_for_timeout(800)
    found = page.evaluate(
        "() => [...document.querySelectorAll('a')].filter(a => a.offsetParent &&"
        " a.closest('[class*=search], [id*=search], dialog')).map(a => a.href)"
    )
    page.close()
    return found


def test_site(tmp_path):
    site = build(tmp_path)
    pages = {p.relative_to(site).as_posix() for p in site.rglob("*.html")}
    notebooks = [
        p.relative_to(cfg.nbs_path)
        for p in cfg.nbs_path.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in p.parts
    ]
    assert {nbpath2html(p).as_posix() for p in notebooks} <= pages, "a notebook has no page"

    home = (site / "index.html").read_text(encoding="utf-8")
    order = [home.index(f"readings/{name}.html") for name in ("diffusion", "ddpm", "guidance")]
    assert order == sorted(order), "the sidebar lists the readings in order"
    ddpm = (site / "readings" / "ddpm.html").read_text(encoding="utf-8")
    assert (
        f"{cfg.git_url}/blob/main/t2i_course/ddpm.py" in ddpm
    ), "the API entries link to their source"

    found = check_site(site)
    if found is None:
        pytest.skip(f"the site was built; its pages were not opened: {NO_BROWSER}")
    faults, sliders = found
    assert {name: bad for name, bad in faults.items() if bad} == {}
    assert pages <= set(faults), "a page was not looked at"
    assert sliders >= 6, (
        f"{sliders} sliders on the whole site: each reading has one, and the widgets' page"
        " three"
    )
    with chromium() as browser, serve(site) as base:
        assert any("ddim" in href or "ddpm" in href for href in search(browser, base, "ddim"))


def test_checker_sees_faults(tmp_path):
    """A page with every fault the checker is for, so that its silence means something."""
    (tmp_path / "readings").mkdir()
    (tmp_path / "readings" / "bad.html").write_text(
        """<main><span class="math">x_t</span><img src="nothing.png">
        <a href="no/page.html">x</a><a href="#nowhere">y</a>
        <div style="width: 500px; height: 900px"></div>
        <div class="t2i-stuck"><input type="range" aria-label="t">
        <canvas width="90" height="90"></canvas></div>
        <p class="cell-output">IntSlider(value=0)</p>
        <link rel="stylesheet" href="http://127.0.0.1:9/other.css">
        <script>throw new Error("boom")</script></main>"""
    )
    (tmp_path / "mute.html").write_text("<main><h1>x</h1><img src='data:,'></main>")
    with chromium() as browser, serve(tmp_path) as base:
        if browser is None:
            pytest.skip(NO_BROWSER)
        count, bad = check_page(browser, tmp_path, "readings/bad.html", base, axe=axe_script())
        unheard = check_access(browser, base, ["mute.html"])
    if shutil.which("npm"):
        for found in (bad, unheard):
            assert any("image-alt" in fault for fault in found), found
    text = "\n".join(bad)
    for fault in (
        "script error",
        "404",
        "another host",
        "math: 0 of 1",
        "broken picture",
        "link to nothing",
        "link to no place",
        "does not change",
        "blank picture",
        "shown as text",
        "below the first screen",
        "sideways on a phone",
    ):
        assert fault in text, (fault, text)
    assert count == 1
