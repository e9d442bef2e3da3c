"""Build the docs site without Quarto: nbdev's own processors, then smalldocs.

With Quarto, `nbdev-docs` renders the same pages.

usage: build_docs.py [FOLDER]        default: _docs; the project of the current folder is built
"""

import base64
import hashlib
import json
import re
import shutil
import sys
from itertools import groupby
from pathlib import Path

import smalldocs.layout
import smalldocs.site
import yaml
from nbdev.config import get_config, nbpath2html
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from sidebar import sidebar

SITE = Path(__file__).parent / "site"  # scripts of the course's own
KATEX = Path(__file__).parent / "katex"  # npm katex@0.16.11, vendored: pages ask no other host
LIVE_ONLY = (  # a page has no kernel; the html beside it plays by itself
    "application/vnd.jupyter.widget-view+json"
)


def page_name(path: str) -> str:
    """`readings/01_diffusion.ipynb` -> `readings/diffusion.ipynb`, as nbdev and Quarto name the
    page.
    """
    return nbpath2html(path).with_suffix(".ipynb").as_posix()


def relink(text: str, cfg, depth: int) -> str:
    """Links to notebooks get the page's name, links to our own site stay in it, links out of
    nbs/ lead to the repository.

    `depth`: how many folders below the site's root the page is.
    """
    text = re.sub(r"\]\(([\w/.-]+\.ipynb)", lambda m: f"]({page_name(m[1])}", text)
    text = re.sub(
        r"\]\(" + r"\.\./" * (depth + 1) + r"(?!\.)",
        f"]({cfg.git_url}/blob/{cfg.branch}/",
        text,
    )
    return text.replace(f"{cfg.doc_host}{cfg.doc_baseurl}/", "../" * depth)


def entry_line(cell) -> int | None:
    """The source line an API entry links to; None for any other cell."""
    shown = "".join(
        "".join(o.get("data", {}).get("text/markdown", "")) for o in cell.get("outputs", [])
    )
    line = re.search(r">source</a>|\[source\]", shown) and re.search(r"\.py#L(\d+)", shown)
    return int(line[1]) if line else None


def in_source_order(cells: list) -> list:
    """nbdev puts the entries of one cell's functions last first; turn each run of entries
    around.
    """
    runs = [
        (is_entry, list(run))
        for is_entry, run in groupby(cells, lambda c: entry_line(c) is not None)
    ]
    return [
        cell
        for is_entry, run in runs
        for cell in (sorted(run, key=entry_line) if is_entry else run)
    ]


def stage_notebook(path: Path, src: Path, cfg):
    """Rewrite one processed notebook for smalldocs, under its page's name."""
    nb = json.loads(path.read_text(encoding="utf-8"))
    depth = len(path.relative_to(src).parts) - 1
    nb["metadata"].pop("widgets", None)
    nb["cells"] = in_source_order(nb["cells"])
    for cell in nb["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "raw":
            text = re.sub(r"^output-file:.*\n", "", text, flags=re.M)
        elif cell["cell_type"] == "markdown":
            text = relink(text, cfg, depth)
        cell["source"] = text
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data.pop(LIVE_ONLY, None)
            for kind in ("text/html", "text/markdown"):
                if kind in data:
                    data[kind] = relink("".join(data[kind]), cfg, depth).replace(
                        "__main__.", ""
                    )
    path.unlink()
    (src / page_name(path.relative_to(src).as_posix())).write_text(
        json.dumps(nb), encoding="utf-8"
    )


def renamed(node):
    """The same YAML tree with notebooks called by their pages' names."""
    if isinstance(node, dict):
        return {k: renamed(v) for k, v in node.items()}
    if isinstance(node, list):
        return [renamed(v) for v in node]
    return page_name(node) if isinstance(node, str) and node.endswith(".ipynb") else node


def stage_config(src: Path, nbs: Path):
    """Write the three YAML files; what only Quarto reads is left out."""
    config = yaml.safe_load((nbs / "_quarto.yml").read_text("utf-8"))
    config["format"]["html"].pop("grid")  # styles.css sets the same width
    (src / "_quarto.yml").write_text(yaml.dump(renamed(config), sort_keys=False), "utf-8")
    (src / "sidebar.yml").write_text(
        yaml.dump(renamed(yaml.safe_load(sidebar(nbs))), sort_keys=False), "utf-8"
    )
    meta = yaml.safe_load((nbs / "nbdev.yml").read_text("utf-8"))
    meta.pop("format-links", None)
    (src / "nbdev.yml").write_text(yaml.dump(meta, sort_keys=False), "utf-8")


def make_offline(site: Path):
    """No fonts and no KaTeX from elsewhere."""
    for css in (site / "site_libs/themes").glob("*.css"):
        css.write_text(
            re.sub(r'@import\s*(url\([^)]*\)|"[^"]*");?', "", css.read_text(encoding="utf-8")),
            encoding="utf-8",
        )
    shutil.copytree(KATEX, site / "site_libs/katex")
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(
            page.read_text(encoding="utf-8").replace(
                smalldocs.layout.KATEX, f"{up}site_libs/katex"
            ),
            encoding="utf-8",
        )


SKIP = '<a class="skip" href="#quarto-document-content">Skip to the text</a>'
NAMED = {  # what a screen reader needs to tell the parts of a page apart
    '<nav class="navbar': 'aria-label="Site"',
    '<nav class="quarto-secondary-nav': 'aria-label="Menu"',
    '<nav id="quarto-sidebar"': 'aria-label="All pages"',
    '<nav class="page-navigation': 'aria-label="Previous and next page"',
    '<nav class="quarto-page-breadcrumbs quarto-title': 'aria-label="Where this page stands"',
    '<div class="toc-actions"': 'role="complementary" aria-label="This page"',
}


def levelled(text: str) -> str:
    """A page whose headings skip no level for who hears it: an API entry right below the title
    says that it is of the second.
    """
    above, main = text.partition("<main")[0], text.partition("<main")[2]
    last = 1

    def level(match):
        nonlocal last
        own, last = int(match[1]), min(int(match[1]), last + 1)
        return match[0] if own == last else f'{match[0]} aria-level="{last}"'

    return f"{above}<main{re.sub('<h([1-6])', level, main)}" if main else text


def make_accessible(site: Path):
    """What smalldocs leaves out for keys and screen readers: a way past the menus, names of the
    landmarks, toggles that say they are buttons.
    """
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for tag, words in NAMED.items():
            text = text.replace(tag, tag.replace(" ", f" {words} ", 1))
        # the corner of a table is no heading
        text = re.sub(r"<th( [^>]*)?>\s*</th>", "<td></td>", text)
        toggle = r'(<a class="sidebar-item[^>]*) role="navigation"'
        text = re.sub(toggle, r'\1 role="button"', text)
        text = levelled(text)
        text = re.sub(r"<body[^>]*>", lambda m: m[0] + SKIP, text, count=1)
        page.write_text(text, encoding="utf-8")


INLINE = re.compile(r'<img\b[^>]*?src="data:image/(?P<kind>\w+);base64,(?P<data>[^"]+)"[^>]*>')
SMALL = 4000  # characters of a picture that may stay in its page


def picture_file(match, site: Path, up: str, lazy: bool) -> str:
    """The same picture as a file of the site, its room on the page kept for it."""
    if len(match["data"]) < SMALL or match["kind"] not in ("png", "jpeg"):
        return match[0]
    data = base64.b64decode(match["data"])
    path = site / "pictures" / f"{hashlib.sha256(data).hexdigest()[:16]}.{match['kind']}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    tag = re.sub(r'src="[^"]+"', f'src="{up}pictures/{path.name}"', match[0], count=1)
    words = ' loading="lazy"' if lazy else ""
    if match["kind"] == "png" and " height=" not in tag:
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        shown = re.search(r'width="(\d+)"', tag)
        across = int(shown[1]) if shown else width
        words += "" if shown else f' width="{width}"'
        words += f' height="{round(height * across / width)}"'
    return tag.replace("<img", f"<img{words}", 1)


def unpack_pictures(site: Path):
    """Pictures become files, fetched when they come near the screen: a reading's page is there
    at once, and half as large.
    """
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text(encoding="utf-8")
        first = INLINE.search(text)

        def moved(match):
            return picture_file(match, site, up, lazy=match.start() != first.start())

        page.write_text(INLINE.sub(moved, text), encoding="utf-8")


def add_scripts(site: Path):
    """Reading progress on every page, and no KaTeX where there is no formula."""
    shutil.copytree(SITE, site / "site_libs/course")
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text(encoding="utf-8")
        if 'class="math' not in text:
            text = re.sub(r"<(script|link)\b[^>]*katex[^>]*>(</script>)?", "", text)
        own = f'<script src="{up}site_libs/course/reading.js" defer></script>'
        page.write_text(text.replace("</head>", f"{own}</head>", 1), encoding="utf-8")


def drop_icons(site: Path):
    """Of the icons' two thousand rules, those that a page names."""
    files = [f for kind in ("html", "js") for f in site.rglob(f"*.{kind}")]
    used = set()
    for file in files:
        used |= set(re.findall(r"\bbi-([\w-]+)", file.read_text(encoding="utf-8")))
    sheet = site / "site_libs/bootstrap-icons/bootstrap-icons.min.css"
    rules = sheet.read_text(encoding="utf-8")
    rule = r'\.bi-([\w-]+)::before\{content:"[^"]*"\}'
    kept = re.sub(rule, lambda m: m[0] if m[1] in used else "", rules)
    sheet.write_text(kept, encoding="utf-8")


def add_live(site: Path):
    """Let the prompt boxes draw by themselves. Where the model cannot be exported here, the
    reason is printed, and the boxes show their stored drawing.
    """
    from npm import Unavailable

    try:
        from export_live import make_live

        apart = make_live(site / "site_libs/live")
    except (ImportError, Unavailable) as e:
        print(f"no live model in the pages: {e}")
        return
    print(f"live models in the pages: as PyTorch, to {apart:.0e}")
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        told = f'<meta name="t2i-live" content="{up}site_libs/live/">'
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace("</head>", f"{told}</head>", 1), encoding="utf-8")


def mend_anchors(site: Path):
    """nbdev links every name it knows, also those without an entry: a method's link goes to its
    class, the rest to the page.
    """
    pages = {p: p.read_text(encoding="utf-8") for p in site.rglob("*.html")}
    ids = {p: set(re.findall(r'\bid="([^"]+)"', text)) for p, text in pages.items()}

    def mend(page):
        def link(match):
            target = (page.parent / match[1]).resolve() if match[1] else page
            if target not in ids or match[2] in ids[target]:
                return match[0]
            owner = match[2].split(".")[0]
            return (
                f'href="{match[1]}#{owner}"'
                if owner in ids[target]
                else f'href="{match[1] or "#"}"'
            )

        return re.sub(r'href="([^":#]*)#([^"]+)"', link, pages[page])

    for page in pages:
        page.write_text(mend(page), encoding="utf-8")


def main() -> int:
    cfg = get_config()
    out = Path(sys.argv[1] if len(sys.argv) > 1 else cfg.doc_path).resolve()
    refresh_quarto_yml()
    print("processing notebooks", flush=True)
    processed = proc_nbs(cfg.nbs_path, n_workers=2)
    src = cfg.config_path / "_smalldocs"
    shutil.rmtree(src, ignore_errors=True)
    shutil.copytree(processed, src)
    for path in list(src.rglob("*.ipynb")):
        stage_notebook(path, src, cfg)
    stage_config(src, cfg.nbs_path)
    print("rendering pages", flush=True)
    site = smalldocs.site.build(str(src))
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(src / cfg.doc_path.name, out)
    make_offline(out)
    make_accessible(out)
    mend_anchors(out)
    unpack_pictures(out)
    add_scripts(out)
    drop_icons(out)
    add_live(out)
    for warning in site.warnings:
        print("warning:", warning)
    print(f"{len(list(out.rglob('*.html')))} pages in {out}")
    return 1 if site.warnings else 0


if __name__ == "__main__":
    sys.exit(main())
