"""Reads a manifest from JSON text, reporting everything that is wrong with its shape at once.

Whether the names in it make sense is the business of `validate` (spec 05 sections 2 and 3).
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from pylon.codec import encode
from pylon.schema.diagnostics import (
    Diagnostic,
    Severity,
    Span,
    did_you_mean,
    has_errors,
)
from pylon.schema.model import AuthDefault, FieldDefault, JsonDefault, Manifest, NowDefault
from pylon.schema.shape import MANIFEST, Key, ListOf, OneOf, Shape, is_descriptive
from pylon.schema.source import Document, Node, SourceError, read_document

CODE: Final = "MANIFEST_PARSE_ERROR"
KEY_UNKNOWN: Final = "MANIFEST_KEY_UNKNOWN"
KEY_IGNORED: Final = "MANIFEST_KEY_IGNORED"
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1

_BAD: Final = object()
"""Stands for a value that could not be read; its problem is on the list already."""


def parse_manifest(
    text: bytes | str, file: str | None = None
) -> tuple[Manifest | None, list[Diagnostic]]:
    """Read a manifest. Any bytes are safe; the manifest is None exactly when there are errors, and
    beside it come warnings about keys that are passed over.

    `file` is named in the span of each diagnostic, with line and column where they are known.
    """
    try:
        document = read_document(text)
    except SourceError as problem:
        span = None if file is None else Span(file, problem.line, problem.column)
        where = "" if problem.line is None else f" (line {problem.line}, column {problem.column})"
        hint = "A manifest is one JSON object in UTF-8."
        return None, [Diagnostic("error", CODE, f"{problem.message}{where}", span, hint)]
    reader = _Reader(document, file)
    value = reader.shape(document.root, MANIFEST)
    found = reader.diagnostics()
    if has_errors(found):
        return None, found
    assert isinstance(value, Manifest)
    return value, found


class _Problem(Struct, frozen=True):
    """A finding and its offset in the text."""

    offset: int
    message: str
    hint: str | None
    code: str = CODE
    severity: Severity = "error"


class _Reader:
    """Walks a document along the tables of `shape`, collecting problems instead of stopping."""

    def __init__(self, document: Document, file: str | None) -> None:
        self._document = document
        self._file = file
        self._misspelt: set[int] = set()
        """Offsets of keys that were told of as the misspelling of a missing one."""
        self._problems = [
            _Problem(node.offset, f"{node.path}: this key comes twice in its object", "Remove one.")
            for node in document.duplicates
        ]

    def diagnostics(self) -> list[Diagnostic]:
        """The problems in the order of the text."""
        found = []
        for each in sorted(self._problems, key=lambda problem: problem.offset):
            line, column = self._document.place(each.offset)
            span = None if self._file is None else Span(self._file, line, column)
            found.append(Diagnostic(each.severity, each.code, each.message, span, each.hint))
        return found

    def shape(self, node: Node, shape: Shape) -> Any:
        members = node.value
        if not isinstance(members, dict):
            return self._wrong(node, "an object")
        keys: dict[str, Any] = {}
        for name, key in shape.keys.items():
            if name in members:
                keys[name] = self._key(members[name], key)
            elif key.required:
                keys[name] = self._missing(node, name, members, shape)
        for name in members:
            if name not in shape.keys and name not in shape.passed_over:
                self._unknown(members[name], name, members, shape)
        present = {name: value for name, value in keys.items() if value is not None}
        if any(value is _BAD for value in present.values()):
            return _BAD
        return shape.build(**present)

    def _key(self, node: Node, key: Key) -> Any:
        if node.value is None and key.nullable:
            return None
        kind = key.kind
        if isinstance(kind, Shape):
            return self.shape(node, kind)
        if isinstance(kind, ListOf):
            return self._list(node, kind)
        if isinstance(kind, OneOf):
            return self._choice(node, kind)
        match kind:
            case "text":
                return node.value if isinstance(node.value, str) else self._wrong(node, "a string")
            case "flag":
                known = isinstance(node.value, bool)
                return node.value if known else self._wrong(node, "true or false")
            case "version":
                return self._version(node)
            case "default":
                return self._default(node)
            case "count":
                return self._version(node)
            case "bound":
                return self._bound(node)

    def _list(self, node: Node, kind: ListOf) -> Any:
        if not isinstance(node.value, list):
            return self._wrong(node, "an array")
        item = Key(kind=kind.item)
        items = tuple(self._key(child, item) for child in node.value)
        return _BAD if any(value is _BAD for value in items) else items

    def _choice(self, node: Node, kind: OneOf) -> Any:
        if isinstance(node.value, str) and node.value not in kind.choices:
            return self._problem(
                node, f'"{node.value}" is not known here', did_you_mean(node.value, kind.choices)
            )
        return node.value if isinstance(node.value, str) else self._wrong(node, "a string")

    def _version(self, node: Node) -> Any:
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32:
            return value
        return self._wrong(node, "a whole number from 0")

    def _bound(self, node: Node) -> Any:
        value = node.value
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return value
        return self._wrong(node, "a number or a string")

    def _default(self, node: Node) -> Any:
        value = node.value
        is_computed = isinstance(value, dict) and any(name.startswith("$") for name in value)
        if isinstance(value, dict | list) and not is_computed:
            return JsonDefault(encode(_plain(node)).decode())
        if isinstance(value, dict):
            made = _computed_default({name: child.value for name, child in value.items()})
            if made is None:
                return self._problem(
                    node,
                    "this object is not a default",
                    'Use {"$auth": "userId"}, {"$auth": "tenantId"} or {"$now": true}.',
                )
            return made
        if value is None:
            return self._wrong(node, "a string, number, true or false")
        if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            return self._problem(node, "the number does not fit 64 bits", None)
        return value

    def _unknown(self, node: Node, name: str, members: dict[str, Node], shape: Shape) -> None:
        """What the key asks for is not known, so it cannot be kept, and no rule may be lost."""
        if is_descriptive(name):
            message = f"{node.path}: this key says nothing to the server"
            self._problems.append(_Problem(node.offset, message, None, KEY_IGNORED, "warning"))
            return
        if node.offset in self._misspelt:
            return
        absent = [key for key in shape.keys if key not in members]
        hint = did_you_mean(
            name,
            absent,
            "Remove it, or put x- before it if it is a note for others."
            f" Keys here: {', '.join(shape.keys)}.",
        )
        message = f"{node.path}: the server does not know this key of a {shape.title}"
        self._problems.append(_Problem(node.offset, message, hint, KEY_UNKNOWN))

    def _missing(self, node: Node, name: str, members: dict[str, Node], shape: Shape) -> Any:
        unknown = [member for member in members if member not in shape.keys]
        hint = did_you_mean(name, unknown, f'Every {shape.title} needs the key "{name}".')
        if hint.startswith("Did you mean"):
            self._misspelt |= {members[each].offset for each in unknown if f'"{each}"' in hint}
            hint = hint.replace("Did you mean", "Is it this key that is misspelt:")
        return self._problem(node, f'the key "{name}" is missing', hint)

    def _wrong(self, node: Node, wanted: str) -> Any:
        return self._problem(node, f"expected {wanted}, got {_describe(node)}", None)

    def _problem(self, node: Node, message: str, hint: str | None) -> Any:
        self._problems.append(_Problem(node.offset, f"{node.path}: {message}", hint))
        return _BAD


def _plain(node: Node) -> Any:
    """The JSON value of a node."""
    if isinstance(node.value, dict):
        return {name: _plain(child) for name, child in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(child) for child in node.value]
    return node.value


def _computed_default(members: dict[str, Any]) -> FieldDefault | None:
    match members:
        case {"$auth": "userId" | "tenantId" as attribute, **rest} if not rest:
            return AuthDefault(attribute)
        case {"$now": True, **rest} if not rest:
            return NowDefault()
        case _:
            return None


def _describe(node: Node) -> str:
    match node.value:
        case None:
            return "null"
        case bool():
            return "true" if node.value else "false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "an array"
        case _:
            return "an object"
