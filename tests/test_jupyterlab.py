"""The slider of reading 1 in a real JupyterLab, moved by a real browser.

`make bench` reports its speed against the goal of 40 ms.
"""

import pytest
from check_docs import NO_BROWSER
from check_lab import drag


def test_slider_answers_without_a_blank_frame():
    pytest.importorskip(
        "playwright", reason="playwright is not installed: make test installs it"
    )
    seen = drag(presses=20)
    if seen is None:
        pytest.skip(NO_BROWSER)
    print("median latency", sorted(seen["latency"])[10], "ms")
    assert seen["index"] == 20 and len(seen["latency"]) == 20
    assert seen["pictures"] == 21, "some positions showed the picture of another"
    assert seen["frames"] > 20 and seen["blank"] == 0
    assert "run this cell again" in seen["restarted"], "a widget whose kernel is gone is mute"
