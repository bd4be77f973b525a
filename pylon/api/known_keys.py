"""JSON bodies whose keys are all known: what is misspelt is refused, never passed over.

For the routes that take a body apart themselves; filters, queries and rows have grammars of their
own that do the same (`data/filters`, `data/table`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pylon.errors import PylonError
from pylon.schema.diagnostics import did_you_mean


def refuse_unknown(body: Any, known: Collection[str]) -> None:
    """400 `INVALID_JSON` for an object with a key that is none of these."""
    if not isinstance(body, dict) or body.keys() <= set(known):
        return
    key = next(key for key in body if key not in known)
    raise PylonError(
        400, "INVALID_JSON", f'The body has no key "{key[:100]}".', did_you_mean(key, known)
    )
