"""Where the parts of a declaration stand: so that every finding can name its file and line.

A finding says what it is `about` (`("entity", "Todo", "field", "title")`), whoever judged it;
`Places` knows the spots of one app, be it Python or a manifest file, and `locate` joins the two.
What stands in a class body is read from its source text, since Python itself forgets it.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct, field

from pylon.schema.diagnostics import About, Diagnostic, Span
from pylon.schema.source import Node, SourceError, read_document

Places: TypeAlias = Mapping[About, Span]
"""The spot of each part by what findings are about; `()` is the app. What is missing has the
spot of its whole."""

NOWHERE: Final[Places] = {}


def locate(findings: Iterable[Diagnostic], places: Places) -> list[Diagnostic]:
    """The findings, with the spot of what they are about where they have none yet."""
    return [_located(finding, places) for finding in findings]


def _located(finding: Diagnostic, places: Places) -> Diagnostic:
    for end in range(len(finding.about), -1, -1):
        span = places.get(finding.about[:end])
        if finding.span is None and span is not None:
            return msgspec.structs.replace(finding, span=span)
    return finding


# --- a class body ----------------------------------------------------------------------------


class Body(Struct, frozen=True, kw_only=True):
    """What the source of a class body says of its attributes, by name; those of an inner class as
    `policy.read`. Empty where there is no source (a prompt, `type(...)`)."""

    lines: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, ast.expr] = field(default_factory=dict)
    """What each attribute was set to, as it is written."""


def read_body(file: str, name: str, line: int) -> Body:
    """The body of the class `name` whose statement has this line of the file."""
    for found in _classes("".join(linecache.getlines(file))):
        first = min([found.lineno, *(each.lineno for each in found.decorator_list)])
        if found.name == name and first <= line <= (found.end_lineno or first):
            lines: dict[str, int] = {}
            values: dict[str, ast.expr] = {}
            for attribute, at, value in _attributes(found, ""):
                lines[attribute] = at
                if value is not None:
                    values[attribute] = value
            return Body(lines=lines, values=values)
    return Body()


@lru_cache(maxsize=8)
def _classes(source: str) -> tuple[ast.ClassDef, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # not the source of what runs, then
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _attributes(node: ast.ClassDef, prefix: str) -> Iterator[tuple[str, int, ast.expr | None]]:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                yield f"{prefix}{name}", statement.lineno, value
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield f"{prefix}{target.id}", statement.lineno, value
            case ast.ClassDef(name=name):
                yield f"{prefix}{name}", statement.lineno, None
                if not prefix:
                    yield from _attributes(statement, f"{name}.")
            case _:
                pass


# --- a manifest file -------------------------------------------------------------------------

_LISTS: Final = {
    "entities": "entity",
    "policies": "policy",
    "queries": "query",
    "actions": "action",
    "routes": "route",
}
_PARTS: Final = {
    "fields": "field",
    "indexes": "index",
    "relations": "relation",
    "input": "input",
}


def places_in_manifest(text: bytes | str, file: str) -> Places:
    """The spots of a manifest's parts; `file` is how it is called in findings."""
    try:
        document = read_document(text)
    except SourceError:
        return NOWHERE

    def span(node: Node) -> Span:
        return Span(file, *document.place(node.offset))

    return {about: span(node) for about, node in _nodes(document.root)}


def _nodes(root: Node) -> Iterator[tuple[About, Node]]:
    yield (), root
    for key, noun in _LISTS.items():
        for item in _items(root, key):
            name = _text(item, "path" if noun == "route" else "name")
            yield (noun, name), item
            members = item.value if isinstance(item.value, dict) else {}
            for part, inner in members.items():
                if part in _PARTS:
                    for each in _items(item, part):
                        yield (noun, name, _PARTS[part], _text(each, "name")), each
                elif part == "search" or noun == "policy":
                    yield (noun, name, part), inner
    if isinstance(root.value, dict) and "auth" in root.value:
        yield ("auth",), root.value["auth"]


def _items(node: Node, key: str) -> Iterable[Node]:
    found = node.value.get(key) if isinstance(node.value, dict) else None
    return found.value if found is not None and isinstance(found.value, list) else ()


def _text(node: Node, key: str) -> str:
    found = node.value.get(key) if isinstance(node.value, dict) else None
    return found.value if found is not None and isinstance(found.value, str) else ""
