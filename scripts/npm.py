"""Single files of npm packages, for the built site: fetched once by npm itself, kept in the
user's cache, and taken only where their SHA-256 is the one that is written down here.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from t2i_course.data.emoji import cache_folder

ONNXRUNTIME = "onnxruntime-web@1.30.0"  # MIT
AXE = "axe-core@4.14.1"  # MPL-2.0; the docs check alone uses it, the site does not carry it
DIGESTS = {
    AXE: {"axe.min.js": "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"},
    ONNXRUNTIME: {
        "dist/ort.wasm.bundle.min.mjs": (
            "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"
        ),
        "dist/ort-wasm-simd-threaded.wasm": (
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
        ),
    }
}


class Unavailable(Exception):
    """A package that cannot be had here; its text says why, in a line."""


def kept(package: str) -> Path:
    """The folder of the user's cache where a package's files lie."""
    return cache_folder() / "npm" / package.replace("@", "-").strip("-")


def whole(path: Path, digest: str) -> bool:
    """Is the file there, with this SHA-256?"""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def fetch(package: str):
    """Let npm fetch the package, and keep the files that `DIGESTS` names."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"{package} needs npm the first time: install Node.js")
    with tempfile.TemporaryDirectory() as folder:
        asked = [npm, "pack", package, "--silent", "--pack-destination", folder]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=folder)
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or not packed:
            why = (done.stderr.strip().splitlines() or ["no file"])[-1]
            raise Unavailable(f"npm could not fetch {package} ({why[:120]})")
        with tarfile.open(packed[0]) as archive:
            for name in DIGESTS[package]:
                path = kept(package) / Path(name).name
                path.parent.mkdir(parents=True, exist_ok=True)
                fresh = path.with_suffix(f".{Path(folder).name}")
                fresh.write_bytes(archive.extractfile(f"package/{name}").read())
                fresh.replace(path)


def files(package: str) -> dict[str, Path]:
    """The files of a package that `DIGESTS` names, by their names in it.

    `Unavailable` where npm or the network is missing, or where a file is not what it was.
    """
    places = {name: kept(package) / Path(name).name for name in DIGESTS[package]}
    if not all(whole(path, DIGESTS[package][name]) for name, path in places.items()):
        fetch(package)
    for name, path in places.items():
        if not whole(path, DIGESTS[package][name]):
            raise Unavailable(f"{name} of {package} is not the file that scripts/npm.py knows")
    return places
