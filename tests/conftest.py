"""Slow tests first, so that neither of two workers ends alone with a long one."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))  # build_docs and check_docs serve the tests too

SLOW_FIRST = [
    "readings/",
    "test_training",
    "test_site",
    "parity/",
    "test_cli",
    "test_jupyterlab",
    "networks/",
    "training/",
    "command/",
    "test_widgets",
    "test_setup",
]


def pytest_collection_modifyitems(items):
    items.sort(
        key=lambda item: next(
            (i for i, part in enumerate(SLOW_FIRST) if part in item.nodeid), len(SLOW_FIRST)
        )
    )
