"""How often Python looks for garbage: seldom while a command loads, as ever once a server serves.

What modules make while they load is there to stay, so looking through it again and again finds
nothing; that was a fifteenth of a start. Called by the entries (`main`, the child of `dev`) and by
`serving`.
"""

from __future__ import annotations

import gc
from typing import Final

_WHILE_LOADING: Final = 50_000
"""New objects between two looks; a start makes 60 000."""

_AS_EVER: Final = gc.get_threshold()


def look_seldom() -> None:
    """For what loads modules and is soon over, or then serves."""
    gc.set_threshold(_WHILE_LOADING, *_AS_EVER[1:])


def look_as_ever() -> None:
    """For what goes on for long."""
    gc.set_threshold(*_AS_EVER)
