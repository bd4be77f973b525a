"""A short label for the device behind a `User-Agent`, so that people know their sessions apart.

Nothing is decided by it: the header is the client's own word.
"""

from __future__ import annotations

# The more particular name stands first: Edge and Opera also call themselves Chrome, Chrome calls
# itself Safari, an iPhone is "like Mac OS X" and Android is Linux.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python-httpx/", "Python"),
    ("Python", "Python"),
    ("node", "Node.js"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def device_label(user_agent: str | None) -> str | None:
    """`Chrome on macOS`, or just the part that is known; None when neither is."""
    if not user_agent:
        return None
    browser = _first(user_agent, _BROWSERS)
    system = _first(user_agent, _SYSTEMS)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system


def _first(text: str, names: tuple[tuple[str, str], ...]) -> str | None:
    return next((name for mark, name in names if mark in text), None)
