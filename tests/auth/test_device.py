"""Labels of well-known devices."""

from __future__ import annotations

import pytest

from pylon.auth.device import device_label

_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)"


@pytest.mark.parametrize(
    ("user_agent", "label"),
    [
        (None, None),
        ("", None),
        ("something else", None),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_CHROME}", "Chrome on macOS"),
        (f"Mozilla/5.0 (Windows NT 10.0) {_CHROME} Edg/130.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Linux; Android 14) {_CHROME}", "Chrome on Android"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/1 Firefox/130.0", "Firefox on Linux"),
        (f"{_IPHONE} Version/17.0 Mobile/1 Safari/604.1", "Safari on iPhone"),
        ("curl/8.5.0", "curl"),
    ],
)
def test_device_label(user_agent: str | None, label: str | None) -> None:
    assert device_label(user_agent) == label
