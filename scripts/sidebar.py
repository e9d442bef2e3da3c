"""nbs/sidebar.yml from the notebooks: home, readings in order, parts, tools, parity. `--check` only compares."""
import sys

import yaml
from nbdev.config import get_config

# in the order data flows; what is not named here follows by name
FLOORS = {
    "Readings": ("readings", []),
    "Parts": ("parts", ["data", "emoji", "shapes", "text", "unet", "transformer", "system", "training", "checkpoints"]),
    "Tools": ("tools", ["widgets", "plots", "evaluation", "papers", "published", "cli"]),
    "Parity": ("parity", []),
}


def sidebar(nbs) -> str:
    """The sidebar of the notebooks under `nbs` as YAML; a new notebook is in it without being listed anywhere."""
    contents = [{"text": "Home", "href": "index.ipynb"}]
    for title, (folder, order) in FLOORS.items():
        rank = {name: i for i, name in enumerate(order)}
        found = sorted((nbs / folder).glob("[!._]*.ipynb"), key=lambda p: (rank.get(p.stem, len(rank)), p.name))
        if found:
            contents.append({"section": title, "contents": [f"{folder}/{p.name}" for p in found]})
    return yaml.dump({"website": {"sidebar": {"contents": contents}}}, sort_keys=False)


def main():
    nbs = get_config().nbs_path
    out, text = nbs / "sidebar.yml", sidebar(nbs)
    if "--check" in sys.argv:
        sys.exit(0 if out.exists() and out.read_text() == text else "nbs/sidebar.yml is stale: run `make export`")
    out.write_text(text)


if __name__ == "__main__":
    main()
