"""Which handler answers a path: a dict of static paths, and short lists for the others.

Patterns are `/api/entities/{entity}/{id*}`; `{x}` is one segment, a last `{x*}` is the rest with
its slashes. The more literal pattern wins whatever the order of `add`. Called by the pipeline once
per request and by the documentation for `routes()`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter
from typing import TypeAlias
from urllib.parse import unquote

from msgspec import Struct

from pylon import limits
from pylon.errors import PylonError
from pylon.http.describe import Docs, Hidden
from pylon.http.errors import HttpError
from pylon.http.query_names import QueryNames
from pylon.http.request import Request
from pylon.http.response import AnyResponse
from pylon.http.shown_path import shown_path

Handler: TypeAlias = Callable[..., Awaitable[AnyResponse]]
"""`await handler(request, *path_params)`; the parameters are decoded text, in path order."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_LITERAL, _PARAM, _TAIL = 0, 1, 2


class Route(Struct, frozen=True, kw_only=True):
    """One line of the routing table, for the documentation and OpenAPI."""

    method: str
    pattern: str
    handler: Handler
    name: str
    summary: str
    params: tuple[str, ...]
    docs: Docs | Hidden | None = None


class _Pattern:
    """A pattern with parameters, cut into what the match loop compares."""

    __slots__ = ("_checks", "_count", "_tail", "_take", "handlers", "is_catch_all", "kinds")

    def __init__(self, segments: Sequence[str], kinds: tuple[int, ...], *, known: int) -> None:
        """`known` leading segments are literals that the caller has compared already."""
        self.kinds = kinds
        self.handlers: dict[str, Handler] = {}
        self.is_catch_all = _LITERAL not in kinds
        self._count = len(segments)
        self._tail = len(segments) - 1 if kinds[-1] == _TAIL else None
        self._checks = tuple(
            (i, segment)
            for i, segment in enumerate(segments)
            if kinds[i] == _LITERAL and i >= known
        )
        self._take = _taker([i for i, kind in enumerate(kinds) if kind != _LITERAL])

    def match(self, parts: list[str]) -> tuple[str, ...] | None:
        """The parameters when `parts` (without the leading empty one) fit, else None."""
        extra = len(parts) - self._count
        if extra:
            if extra < 0 or self._tail is None:
                return None
            parts = [*parts[: self._tail], "/".join(parts[self._tail :])]
        for i, text in self._checks:
            if parts[i] != text:
                return None
        values = self._take(parts)
        return None if "" in values else values


def _taker(indexes: list[int]) -> Callable[[list[str]], tuple[str, ...]]:
    if len(indexes) == 1:
        (only,) = indexes
        return lambda parts: (parts[only],)
    return itemgetter(*indexes)


class Router:
    """The routing table. Fill it with `add` at start; `match` is the hot path."""

    def __init__(self, entities: Iterable[str] = ()) -> None:
        """`entities` are the app's, for the hints of paths that no route knows."""
        self._entities = {name.casefold(): name for name in entities}
        self._static: dict[str, dict[str, Handler]] = {}
        self._by_prefix: dict[tuple[str, str], list[_Pattern]] = {}
        self._others: list[_Pattern] = []
        self._patterns: dict[str, _Pattern] = {}
        self._routes: list[Route] = []
        self.query_names = QueryNames()
        """What may stand in the query string of a request to a handler that `match` gave."""
        self.begins_at_once: set[Handler] = set()
        """Handlers whose `Docs` say so."""

    def add(
        self,
        method: str,
        pattern: str,
        handler: Handler,
        *,
        name: str | None = None,
        summary: str = "",
        docs: Docs | Hidden | None = None,
    ) -> None:
        """Register `handler`; GET also answers HEAD. A second handler for the same is a bug.

        `docs` is for documents of the routes; every route of the program has it (a test holds it).
        """
        assert method in METHODS, f"unknown method {method!r}"
        assert pattern.startswith("/"), f"{pattern!r} must start with a slash"
        segments = pattern[1:].split("/")
        kinds = tuple(_kind(segment) for segment in segments)
        assert _TAIL not in kinds[:-1], f"{pattern!r}: the rest can only come last"
        handlers = self._handlers_of(segments, kinds)
        assert method not in handlers, f"{method} {pattern} is registered twice"
        params = tuple(s.strip("{}*") for s, kind in zip(segments, kinds, strict=True) if kind)
        name = name or str(getattr(handler, "__name__", pattern))
        answering = handlers[method] = _allowing(docs, handler)
        self._note(method, docs, answering)
        self._routes.append(
            Route(
                method=method,
                pattern=pattern,
                handler=handler,
                name=name,
                summary=summary,
                params=params,
                docs=docs,
            )
        )

    def replace(self, route: Route, handler: Handler) -> None:
        """Have another handler answer a route of this table; `routes` still names the first."""
        segments = route.pattern[1:].split("/")
        handlers = self._handlers_of(segments, tuple(_kind(segment) for segment in segments))
        assert route in self._routes, f"{route.pattern} is not of this table"
        answering = handlers[route.method] = _allowing(route.docs, handler)
        self._note(route.method, route.docs, answering)

    def routes(self) -> tuple[Route, ...]:
        """Every route in the order of `add`."""
        return tuple(self._routes)

    def match(self, method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
        """The handler for a path as sent (percent-encoded), and its decoded parameters.

        404 `NOT_FOUND` for an unknown path, 405 `METHOD_NOT_ALLOWED` with `Allow` for a known one,
        400 `INVALID_PATH` when the path is not UTF-8 underneath. Trailing slashes are
        tolerated.
        """
        if method == "HEAD":
            method = "GET"
        handlers = self._static.get(path)
        if handlers is not None and method in handlers:
            return handlers[method], ()
        if len(path) > 1 and path[-1] == "/":
            return self.match(method, path.rstrip("/") or "/")
        parts = path.split("/", limits.PATH_SEGMENTS_MAX + 1)
        if len(parts) > limits.PATH_SEGMENTS_MAX + 1:
            raise self.not_found(path)
        if "%" in path:
            parts = [_decoded(part) for part in parts]
            decoded = None if any("/" in part for part in parts) else "/".join(parts)
            handlers = None if decoded is None else self._static.get(decoded)
            if handlers is not None and method in handlers:
                return handlers[method], ()
        del parts[0]
        for pattern in self._candidates(parts):
            handler = pattern.handlers.get(method)
            if handler is not None:
                params = pattern.match(parts)
                if params is not None:
                    return handler, params
        raise self._refusal(method, path, parts, handlers)

    def _candidates(self, parts: list[str]) -> list[_Pattern]:
        found = self._by_prefix.get((parts[0], parts[1])) if len(parts) > 1 else None
        if found is None:
            return self._others
        return found + self._others if self._others else found

    def _note(self, method: str, docs: Docs | Hidden | None, answering: Handler) -> None:
        """What the pipeline asks of a handler."""
        self.query_names.add(method, docs, answering)
        if isinstance(docs, Docs) and docs.begins_at_once:
            self.begins_at_once.add(answering)

    def _handlers_of(self, segments: list[str], kinds: tuple[int, ...]) -> dict[str, Handler]:
        if not any(kinds):
            return self._static.setdefault("/" + "/".join(segments), {})
        shape = "/".join(
            segment if kind == _LITERAL else ("{}" if kind == _PARAM else "{*}")
            for segment, kind in zip(segments, kinds, strict=True)
        )
        pattern = self._patterns.get(shape)
        if pattern is None:
            has_prefix = len(kinds) > 2 and kinds[:2] == (_LITERAL, _LITERAL)
            pattern = _Pattern(segments, kinds, known=2 if has_prefix else 0)
            self._patterns[shape] = pattern
            if has_prefix:
                bucket = self._by_prefix.setdefault((segments[0], segments[1]), [])
            else:
                bucket = self._others
            bucket.append(pattern)
            bucket.sort(key=lambda each: each.kinds)
        return pattern.handlers

    def _refusal(
        self, method: str, path: str, parts: list[str], static: dict[str, Handler] | None
    ) -> PylonError:
        allowed: set[str] = set(static or ())
        for pattern in self._candidates(parts):
            # A catch-all without a literal (static files) does not make every path a known one.
            if not pattern.is_catch_all and pattern.match(parts) is not None:
                allowed.update(pattern.handlers)
        if allowed:
            if "GET" in allowed:
                allowed.add("HEAD")
            allow = ", ".join(sorted(allowed | {"OPTIONS"}))
            return HttpError(
                405,
                "METHOD_NOT_ALLOWED",
                f"This method is not allowed for {shown_path(path)}",
                f"Allowed: {allow}.{_instead(method, allowed)}",
                headers=((b"allow", allow.encode()),),
            )
        return self.not_found(path)

    @property
    def starts(self) -> set[str]:
        """What routes for people start with, such as `/api/entities`."""
        starts = {"/".join(route.pattern.split("/")[:3]) for route in self._routes}
        return {each for each in starts - {"/"} if "{" not in each and "__" not in each}

    def not_found(self, path: str) -> PylonError:
        """The answer to a path that no route knows; its hint says where the rows are that were
        probably meant, else where routes start."""
        hint = self.rows_hint(path) or f"Routes start with: {', '.join(sorted(self.starts))}."
        return PylonError(404, "NOT_FOUND", f"No API route matches {shown_path(path)}", hint)

    def rows_hint(self, path: str) -> str | None:
        """Where the rows of an entity are, for a path that names one in its place: `/api/notes`."""
        named = path.strip("/").removeprefix("api/").removeprefix("entities/").partition("/")[0]
        folded = named.casefold()
        known = self._entities.get(folded) or self._entities.get(folded.removesuffix("s"))
        return None if known is None else f"Rows of {known} are at /api/entities/{known}."


def _instead(method: str, allowed: set[str]) -> str:
    """What does what a refused method was probably meant for."""
    is_meant = method == "PUT" and "PATCH" in allowed
    return " PATCH changes the fields that it is sent." if is_meant else ""


def _allowing(docs: Docs | Hidden | None, handler: Handler) -> Handler:
    """The handler of a route, which lets its body be large where the route says so."""
    if not (isinstance(docs, Docs) and docs.large_body):
        return handler

    def handle(request: Request, *params: str) -> Awaitable[AnyResponse]:
        request.allow_large_body()
        return handler(request, *params)

    return handle


def _kind(segment: str) -> int:
    if not segment.startswith("{"):
        return _LITERAL
    return _TAIL if segment.endswith("*}") else _PARAM


def _decoded(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError as error:
        raise PylonError(
            400, "INVALID_PATH", "The path is not text in UTF-8 once it is percent-decoded"
        ) from error
