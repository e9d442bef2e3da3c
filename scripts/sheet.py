"""The same twelve prompts for every system, on one sheet: seed 0, the first draw, the system's
own guidance, nothing chosen.

usage: sheet.py --out FILE [SYSTEM ...]    (a minute or two)

The file's text "weights" says which weights drew it; a prompt whose picture was held out in
training is marked with a star.
"""

import argparse
import json
import textwrap
from pathlib import Path
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from t2i_course.data.emoji import STYLES, records
from t2i_course.data.pictures import to_pil
from t2i_course.measure.evaluation import SYSTEMS, load_system, read_card
from t2i_course.storage import WEIGHTS

SHAPES = [
    "two red circles on a white background",
    "a blue star left of a green square on a black background",
    "a large yellow triangle on a pink background",
    "three green squares on a white background",
]
EMOJI = [
    "fox, noto style",
    "red apple, fluent style",
    "strawberry, twemoji style",
    "cat face, noto style",
    "rocket, fluent style",
    "panda, twemoji style",
    "octopus, noto style",
    "sunflower, fluent style",
]
SIDE, GAP = 84, 4
LEFT, TOP = 62, 88


def held_out() -> set[str]:
    """Captions of all emoji that no training set holds."""
    rows = [(r, style) for style in STYLES for r in records(style)]
    return {f"{r['label']}, {style} style" for r, style in rows if r["split"] != "train"}


def sheet(drawn: dict[str, list[Image.Image]], prompts: list[str]) -> Image.Image:
    """{system: its pictures, one a prompt} -> the sheet, a row a system, a column a prompt."""
    step, unseen = SIDE + GAP, held_out()
    page = Image.new("RGB", (LEFT + step * len(prompts), TOP + step * len(drawn)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for i, prompt in enumerate(prompts):
        lines = textwrap.wrap(prompt + " *" * (prompt in unseen), 13)
        place = LEFT + i * step, TOP - 6 - 13 * len(lines)
        pen.multiline_text(place, "\n".join(lines), "black", font, spacing=2)
    for k, (name, pictures) in enumerate(drawn.items()):
        pen.text((4, TOP + k * step + SIDE // 2 - 8), name, "black", ImageFont.load_default(14))
        for i, picture in enumerate(pictures):
            larger = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            page.paste(larger, (LEFT + i * step, TOP + k * step))
    return page


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help="default: all that draw")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    args = parser.parse_args()
    names = args.systems or [name for name, system in SYSTEMS.items() if system.draws]
    drawn, digests = {}, {}
    for name in names:
        print(f"drawing with {name}", flush=True)
        pictures = load_system(name)(SHAPES + EMOJI, seed=0).images
        drawn[name] = [to_pil(x) for x in pictures]
        digests[name] = read_card(WEIGHTS / SYSTEMS[name].weights)["sha256"]
    about = PngImagePlugin.PngInfo()
    about.add_text("weights", json.dumps(digests))
    page = sheet(drawn, SHAPES + EMOJI)
    page.quantize(255, dither=Image.Dither.NONE).save(args.out, optimize=True, pnginfo=about)
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
