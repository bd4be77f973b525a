"""Which names of a query string each route knows: others are refused, never passed over.

Who writes `?fliter=` must not get all rows. Filled by the router, asked by the pipeline where a
request has a query string.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from pylon.errors import PylonError
from pylon.http.describe import Docs, Hidden
from pylon.http.request import Request

PASSED_OVER: Final = "_"
"""Names that begin with this are taken by every route and mean nothing: they are for passing by
a cache."""


class QueryNames:
    """The names by handler."""

    def __init__(self) -> None:
        self._names: dict[Callable[..., Awaitable[Any]], frozenset[str]] = {}
        self._are_lenient: set[Callable[..., Awaitable[Any]]] = set()
        self._somewhere: set[str] = set()

    def add(
        self, method: str, docs: Docs | Hidden | None, handler: Callable[..., Awaitable[Any]]
    ) -> None:
        """Note what a route says of itself; one that does not describe itself takes anything."""
        if not isinstance(docs, Docs) or docs.takes_any_query:
            return
        names = frozenset(each.name for each in docs.query)
        self._names[handler] = names
        self._somewhere |= names
        if method != "GET" or docs.names_its_answer:
            self._are_lenient.add(handler)

    def check(self, handler: Callable[..., Awaitable[Any]], request: Request) -> None:
        """400 `INVALID_QUERY` for a name that the route does not know, or knows and finds twice.

        Of routes that are told all in a body or the path only names are refused that mean something
        elsewhere, as a `limit` does.
        """
        known = self._names.get(handler)
        if known is None:
            return
        wanted = self._somewhere if handler in self._are_lenient else None
        for name, values in request.query_values().items():
            if name in known:
                if len(values) > 1:
                    raise _invalid(f'The query string has "{name[:100]}" more than once.')
            elif not name.startswith(PASSED_OVER) and (wanted is None or name in wanted):
                listed = ", ".join(sorted(known)) or "none"
                raise _invalid(f'There is no parameter "{name[:100]}" here.', f"Known: {listed}.")


def _invalid(message: str, hint: str | None = None) -> PylonError:
    return PylonError(400, "INVALID_QUERY", message, hint)
