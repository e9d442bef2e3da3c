"""Package metadata: everything comes from settings.ini; edit there, not here."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
lib = cfg["lib_path"]
suffix = "_requirements"
DATA = ("*.safetensors", "*.json.xz", "*.json", "*.toml", "*.js", "*.css", "ATTRIBUTION.md")


class SdistWithSettings(sdist):
    """A source archive without settings.ini could not be built."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, [*files, "settings.ini"])


extras = {k.removesuffix(suffix): v.split() for k, v in cfg.items() if k.endswith(suffix)}
index = f"{lib}={lib}._modidx:d"
setup(
    version=cfg["version"],
    license=cfg["license"],
    author=cfg["author"],
    keywords=cfg["keywords"].split(),
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    classifiers=[
        "Programming Language :: Python :: 3",
        "Intended Audience :: Education",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=find_packages(include=[lib, f"{lib}.*"]),
    # weights, the vector archive, cards, recipes, and the licences of what is in them
    package_data={lib: [f"**/{p}" for p in DATA]},
    include_package_data=False,
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": cfg["console_scripts"].split(), "nbdev": [index]},
    cmdclass={"sdist": SdistWithSettings},
    zip_safe=False,
)
