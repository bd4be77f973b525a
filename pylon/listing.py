"""A list of names in a sentence for people: not longer than anybody reads.

For messages that say what there is; the nearest name is a hint's (`schema/diagnostics`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NAMES_SHOWN: Final = 20


def listed(names: Iterable[str]) -> str:
    """`a, b, c`; of many the first twenty `and 300 more`."""
    known = list(names)
    more = len(known) - NAMES_SHOWN
    shown = ", ".join(known[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
