"""Build the vendored emoji archive, t2i_course/data/emoji.json.xz, from pinned npm packages.

python scripts/build_emoji.py            # fetch, check, build, write, print the archive's
sha256 python scripts/build_emoji.py --check    # build again and compare with the vendored
file, byte for byte python scripts/build_emoji.py --from DIR # use tarballs already in DIR
(their hashes are checked all the same)

Needs `npm` (unless --from is given) and resvg-py 0.5.0, which is used to find pictures that are
the same at 64 pixels. The same packages and the same resvg-py give the same bytes: the JSON has
a fixed order and xz a fixed preset.
"""

import argparse, hashlib, io, json, lzma, re, shutil, subprocess, sys, tarfile, tempfile
from importlib.metadata import version
from pathlib import Path

ARCHIVE = Path(__file__).resolve().parents[1] / "t2i_course" / "data" / "emoji.json.xz"
RESVG = "0.5.0"
PACKAGES = {  # npm name@version: sha256 of the tarball
    "emojibase-data@17.0.0": "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    "@iconify-json/noto@1.2.9": (
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"
    ),
    "@iconify-json/twemoji@1.2.5": (
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"
    ),
    "@iconify-json/fluent-emoji-flat@1.2.6": (
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"
    ),
}
STYLES = {
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
}


def stop(message):
    sys.exit(f"build_emoji: error: {message}")


def fetch(spec, folder):
    """Path of the tarball of `spec`, fetched with npm where `folder` lacks it; its hash must be
    the pinned one.
    """
    name, _, number = spec.rpartition("@")
    path = folder / f"{name.lstrip('@').replace('/', '-')}-{number}.tgz"
    if not path.exists():
        if not shutil.which("npm"):
            stop(
                "npm is not installed; install Node.js, or pass --from a folder with the"
                " tarballs"
            )
        print("fetching", spec, flush=True)
        done = subprocess.run(
            ["npm", "pack", spec, "--silent", "--pack-destination", str(folder)],
            capture_output=True,
            text=True,
        )
        if done.returncode or not path.exists():
            stop(f"npm pack {spec} failed: {done.stderr.strip()[-300:]}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != PACKAGES[spec]:
        stop(f"{path.name} has sha256 {digest}, expected {PACKAGES[spec]}")
    return path


def member(tarball, name):
    """One JSON file out of a tarball."""
    with tarfile.open(tarball) as tar:
        return json.load(tar.extractfile(f"package/{name}"))


def plain(code):
    """Code points in capitals without the variation selector FE0F, which the sets write at
    will.
    """
    return code.upper().replace("-FE0F", "")


def left_out(code):
    """The 26 letters that flags are spelled with, and country and region flags: the packages do
    not say where those drawings come from.
    """
    return bool(re.match(r"1F1[EF][0-9A-F]", code)) or "-E00" in code


def unicode_names(tarball):
    """{hexcode: label, tags, group, base} in Unicode's order; skin tones point to their base
    emoji and share its tags.
    """
    data, names = member(tarball, "en/data.json"), {}
    groups = member(tarball, "meta/groups.json")["groups"]
    for entry in sorted(data, key=lambda e: (e.get("order", 0), e["hexcode"])):
        base = plain(entry["hexcode"])
        for e in [entry, *entry.get("skins", [])]:
            if not left_out(plain(e["hexcode"])):
                names[plain(e["hexcode"])] = dict(
                    label=e["label"],
                    tags=entry.get("tags", []),
                    base=base,
                    group=groups[str(e["group"])] if "group" in e else "",
                )
    return names


def square(icon, defaults):
    """(viewBox, body), the shorter side padded so that every picture is square."""
    left, top = icon.get("left", 0), icon.get("top", 0)
    w, h = icon.get("width", defaults["width"]), icon.get("height", defaults["height"])
    side = max(w, h)
    return (
        " ".join(f"{v:g}" for v in (left - (side - w) / 2, top - (side - h) / 2, side, side)),
        icon["body"],
    )


def drawings(tarball, names):
    """{hexcode: (viewBox, body)} of one set, in Unicode's order."""
    icons, chars = member(tarball, "icons.json"), member(tarball, "chars.json")
    found = {}
    for code, name in sorted(chars.items()):
        icon = icons["icons"].get(name)
        if icon is None:
            alias = icons["aliases"].get(name, {})
            if set(alias) == {"parent"}:
                icon = icons["icons"].get(
                    alias["parent"]
                )  # a mirrored alias is another picture
        if icon is not None:
            found.setdefault(plain(code), square(icon, icons))
    return {code: found[code] for code in names if code in found}


def unique(pictures, names):
    """Drop pictures equal to an earlier one at 64 px; a base emoji goes before the skin tones
    that look the same.
    """
    import resvg_py
    from PIL import Image

    seen, keep = set(), set()
    for code in sorted(
        pictures, key=lambda c: names[c]["base"] != c
    ):  # the sort is stable: bases first
        box, body = pictures[code]
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg"'
            f' xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}">{body}</svg>'
        )
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=64, height=64, skip_system_fonts=True, background="white"
        )
        pixels = Image.open(io.BytesIO(bytes(png))).convert("RGB").tobytes()
        if pixels in seen:
            continue
        seen.add(pixels)
        keep.add(code)
    return {code: picture for code, picture in pictures.items() if code in keep}


def build(folder):
    """The archive's bytes."""
    tarballs = {spec: fetch(spec, folder) for spec in PACKAGES}
    names, styles = unicode_names(tarballs["emojibase-data@17.0.0"]), {}
    for style, spec in STYLES.items():
        everything = drawings(tarballs[spec], names)
        pictures = unique(everything, names)
        usual = max(
            (p[0] for p in pictures.values()), key=[p[0] for p in pictures.values()].count
        )
        styles[style] = dict(
            source=spec,
            viewBox=usual,
            svg={
                c: body if box == usual else [box, body] for c, (box, body) in pictures.items()
            },
        )
        print(
            f"{style:8s} {len(everything)} pictures, {len(pictures)} of them different at"
            " 64 px",
            flush=True,
        )
    used = set().union(*(s["svg"] for s in styles.values()))
    used |= {names[c]["base"] for c in used}
    archive = dict(
        format=1,
        names="emojibase-data@17.0.0",
        emoji={c: e for c, e in names.items() if c in used},
        styles=styles,
    )
    text = json.dumps(archive, ensure_ascii=False, separators=(",", ":")).encode()
    return lzma.compress(
        text, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=9 | lzma.PRESET_EXTREME
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare with the vendored archive instead of writing it",
    )
    parser.add_argument(
        "--from", dest="folder", type=Path, help="folder that already has the tarballs"
    )
    args = parser.parse_args()
    if version("resvg-py") != RESVG:
        stop(
            f"needs resvg-py {RESVG}, found {version('resvg-py')}; pip install"
            f" resvg-py=={RESVG}"
        )
    with tempfile.TemporaryDirectory() as tmp:
        data = build(args.folder or Path(tmp))
    digest = hashlib.sha256(data).hexdigest()
    print(f"{len(data):,} bytes, sha256 {digest}")
    if not args.check:
        ARCHIVE.write_bytes(data)
        return print("wrote", ARCHIVE.name, "- put this sha256 into nbs/data/emoji.ipynb")
    old = ARCHIVE.read_bytes()
    if old == data:
        return print("the vendored archive is the same, byte for byte")
    stop(
        "same content, packed by another xz"
        if lzma.decompress(old) == lzma.decompress(data)
        else "the vendored archive differs from what the packages give"
    )


if __name__ == "__main__":
    main()
