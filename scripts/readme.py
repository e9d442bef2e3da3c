"""README.md from nbs/index.ipynb, without Quarto. `--check` only compares.

Markdown goes over as it is, links lead to the files of this tree, code cells keep their text
output; a picture is saved under nbs/images/ where the cell says `#| readme: name.png`.
"""

import base64
import json
import re
import sys

from nbdev.config import get_config

NOTE = "<!-- written from nbs/index.ipynb by scripts/readme.py; edit there -->"


def link(match) -> str:
    """A link or picture of the notebook, seen from the top of the tree."""
    target = match[1]
    return match[0] if re.match(r"[a-z]+:|#|/", target) else f"](nbs/{target})"


def convert(nb: dict) -> tuple[str, dict[str, bytes]]:
    """The README's text and the pictures it shows, by file name."""
    parts, pictures = [NOTE], {}
    for cell in nb["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            # a path in the notebook starts at nbs/; a path to the top of the tree starts with
            # ../
            source = re.sub(r"\]\(([^)\s]+)\)", link, source).replace("](nbs/../", "](")
            parts.append(source)
        elif cell["cell_type"] == "code":
            name = re.search(r"^#\|\s*readme:\s*(\S+)", source, re.M)
            png = next(
                (
                    o["data"]["image/png"]
                    for o in cell["outputs"]
                    if "image/png" in o.get("data", {})
                ),
                None,
            )
            if name and png:
                pictures[name[1]] = base64.b64decode("".join(png))
            if name and (png or (get_config().nbs_path / "images" / name[1]).exists()):
                title = re.sub(r"[-_]", " ", name[1].rsplit(".", 1)[0])
                parts.append(f"![{title}](nbs/images/{name[1]})")
            if (
                re.search(r"^#\|\s*(hide|include: *false|echo: *false|readme:)", source, re.M)
                or not source
            ):
                continue
            parts.append("```python\n" + re.sub(r"^#\|.*\n", "", source, flags=re.M) + "\n```")
            for output in cell["outputs"]:
                text = "".join(
                    output.get("text") or output.get("data", {}).get("text/plain", [])
                )
                if text and "image/png" not in output.get("data", {}):
                    parts.append("\n".join(f"    {line}" for line in text.splitlines()))
    return "\n\n".join(parts) + "\n", pictures


def main():
    cfg = get_config()
    readme, images = cfg.config_path / "README.md", cfg.nbs_path / "images"
    text, pictures = convert(
        json.loads((cfg.nbs_path / "index.ipynb").read_text(encoding="utf-8"))
    )
    fresh = readme.exists() and readme.read_text(encoding="utf-8") == text
    fresh &= all(
        (images / n).exists() and (images / n).read_bytes() == png
        for n, png in pictures.items()
    )
    if "--check" in sys.argv:
        sys.exit(0 if fresh else "README.md is stale: run `make export`")
    readme.write_text(text, encoding="utf-8")
    for name, png in pictures.items():
        images.mkdir(exist_ok=True)
        (images / name).write_bytes(png)


if __name__ == "__main__":
    main()
