"""nbs/sidebar.yml from the notebooks: home, readings in order, then room by room.

`--check` only compares.
"""

import sys

import yaml
from nbdev.config import get_config

# in the order data flows; what is not named here follows by name
ROOMS = {
    "Readings": ("readings", []),
    "The house": ("", ["teaching", "names", "system", "storage"]),
    "Data": ("data", ["captioned", "emoji", "shapes", "pictures", "degrade"]),
    "Networks": (
        "networks",
        ["unet", "transformer", "text", "adm", "autoencoder", "codebooks"],
    ),
    "Training": ("training", ["recipe", "optimizers", "loop"]),
    "Published weights": ("published", ["files"]),
    "Widgets": ("widgets", ["players", "ask", "drawing", "plots", "diagrams"]),
    "Measure": ("measure", ["evaluation"]),
    "Exercises": ("exercises", ["box", "progress"]),
    "Papers": ("papers", ["cards", "facts"]),
    "Command line": ("command", ["cli", "parser", "draw", "train"]),
    "Parity": ("parity", []),
}


def sidebar(nbs) -> str:
    """The sidebar of the notebooks under `nbs` as YAML; a new notebook is in it without being
    listed anywhere.
    """
    contents = [{"text": "Home", "href": "index.ipynb"}]
    for title, (folder, order) in ROOMS.items():
        rank = {name: i for i, name in enumerate(order)}
        found = sorted(
            (p for p in (nbs / folder).glob("[!._]*.ipynb") if p.name != "index.ipynb"),
            key=lambda p: (rank.get(p.stem, len(rank)), p.name),
        )
        if found:
            contents.append(
                {"section": title, "contents": [p.relative_to(nbs).as_posix() for p in found]}
            )
    return yaml.dump({"website": {"sidebar": {"contents": contents}}}, sort_keys=False)


def main():
    nbs = get_config().nbs_path
    out, text = nbs / "sidebar.yml", sidebar(nbs)
    if "--check" in sys.argv:
        sys.exit(
            0
            if out.exists() and out.read_text("utf-8") == text
            else "nbs/sidebar.yml is stale: run `make export`"
        )
    out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
