"""The content security policy of pages: what they may load, and what an operator adds to that.

Pure. Read from its setting by `config`, sent by `api/pages`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

Sources: TypeAlias = Mapping[str, tuple[str, ...]]
"""Sources by directive, as `script-src` and `https://cdn.example`."""

LIVE: Final = "<live>"
"""Where the live streams of the host that was asked for come in."""

_OURS: Final[Sources] = {
    "default-src": ("'self'",),
    "connect-src": ("'self'", LIVE),
    "img-src": ("'self'", "data:", "blob:"),
    "object-src": ("'none'",),
    "base-uri": ("'none'",),
    "form-action": ("'self'",),
    "frame-ancestors": ("'none'",),
}

_FALLS_BACK: Final = re.compile(
    r"(child|font|frame|manifest|media|script|style|worker)-src|(script|style)-src-(elem|attr)"
)
"""Directives for which `default-src` stands where they are not given."""

_DIRECTIVE: Final = re.compile(r"[a-z][a-z-]{0,63}")
_SOURCE: Final = re.compile(r"[!#$%&'()*+./0-9:=?@A-Z\[\]_a-z~-]{1,1000}")


def read_sources(text: str) -> dict[str, tuple[str, ...]]:
    """What a setting adds, written as in the header; `ValueError` says what is wrong."""
    found: dict[str, tuple[str, ...]] = {}
    for part in filter(None, (each.split() for each in text.split(";"))):
        name, *sources = part
        if not _DIRECTIVE.fullmatch(name.lower()):
            raise ValueError(f"has {name!r}, which is no directive such as script-src")
        for source in sources:
            if not _SOURCE.fullmatch(source):
                raise ValueError(f"has {source!r}, which is no source such as https://cdn.example")
        found[name.lower()] = (*found.get(name.lower(), ()), *sources)
    return found


def page_policy(added: Sources) -> str:
    """The header's value, with `LIVE` in it. What is added to a directive stands beside our own
    sources, and takes the place of `'none'`; one that would fall back on `default-src` keeps it."""
    merged = dict(_OURS)
    for name, sources in added.items():
        before = merged.get(name, ("'self'",) if _FALLS_BACK.fullmatch(name) and sources else ())
        if sources and before == ("'none'",):
            before = ()
        merged[name] = (*before, *(each for each in sources if each not in before))
    return "; ".join(" ".join((name, *sources)) for name, sources in merged.items())
