"""JSON as a tree that remembers where each value stood and which keys came twice.

Only the manifest reader needs this; request bodies go through `codec`. Syntax is judged by
`codec` first, so the tree builder here sees well-formed text only and can be simple.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from msgspec import Struct, field

from pylon import codec
from pylon.errors import PylonError
from pylon.limits import MANIFEST_BYTES_MAX, MANIFEST_DEPTH_MAX

Value: TypeAlias = "dict[str, Node] | list[Node] | str | int | float | bool | None"

_TOKEN = re.compile(r'[\s,:]*("(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s,:\[\]{}"]+)')
_ERROR_BYTE = re.compile(r" \(byte (\d+)\)$")


class SourceError(Exception):
    """Text that is no JSON. `line` and `column` count from 1, None when unknown."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class Node(Struct, frozen=True, kw_only=True):
    """A JSON value, its JSON path (`$.entities[0].name`) and its offset in the text."""

    value: Value
    path: str
    offset: int


class Document(Struct, kw_only=True):
    """A whole JSON text. `duplicates` holds the later node of each key that came twice."""

    text: str
    root: Node
    duplicates: list[Node] = field(default_factory=list)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset in the text, from 1."""
        return _place(self.text, offset)


def read_document(text: bytes | str) -> Document:
    """Read JSON in UTF-8; a byte order mark is allowed. Raises `SourceError` only."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if len(raw) > MANIFEST_BYTES_MAX:
        raise SourceError(f"the text is larger than {MANIFEST_BYTES_MAX} bytes")
    try:
        checked = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _at_byte(raw, error.start, "the text is not UTF-8") from error
    try:
        codec.decode(raw)
    except PylonError as error:
        raise _syntax_error(raw, error) from error
    builder = _Builder(checked)
    root = builder.value("$", 0)
    return Document(text=checked, root=root, duplicates=builder.duplicates)


class _Builder:
    """Builds the tree of well-formed JSON in one walk over its tokens."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.finditer(text)
        self._text = text
        self.duplicates: list[Node] = []

    def value(self, path: str, depth: int) -> Node:
        match = next(self._tokens)
        return self._node(match, path, depth)

    def _node(self, match: re.Match[str], path: str, depth: int) -> Node:
        token, offset = match[1], match.start(1)
        if depth > MANIFEST_DEPTH_MAX:
            line, column = _place(self._text, offset)
            raise SourceError("values are nested too deeply", line, column)
        if token == "{":
            return Node(value=self._object(path, depth), path=path, offset=offset)
        if token == "[":
            return Node(value=self._array(path, depth), path=path, offset=offset)
        scalar: str | int | float | bool | None = codec.decode_trusted(token)
        return Node(value=scalar, path=path, offset=offset)

    def _object(self, path: str, depth: int) -> dict[str, Node]:
        members: dict[str, Node] = {}
        while (match := next(self._tokens))[1] != "}":
            key: str = codec.decode_trusted(match[1])
            node = self.value(f"{path}.{key}", depth + 1)
            if key in members:
                self.duplicates.append(Node(value=None, path=node.path, offset=match.start(1)))
            members[key] = node
        return members

    def _array(self, path: str, depth: int) -> list[Node]:
        items: list[Node] = []
        while (match := next(self._tokens))[1] != "]":
            items.append(self._node(match, f"{path}[{len(items)}]", depth + 1))
        return items


def _syntax_error(raw: bytes, error: PylonError) -> SourceError:
    """Turn the JSON library's complaint into a place and a sentence."""
    cause = error.__cause__
    if isinstance(cause, RecursionError):
        return SourceError("values are nested too deeply")
    message = str(cause) if cause is not None else error.message
    found = _ERROR_BYTE.search(message)
    sentence = _ERROR_BYTE.sub("", message).removeprefix("JSON is malformed: ").lower()
    if sentence.startswith("input data was truncated"):
        return _at_byte(raw, len(raw), "the JSON ends too early")
    if found is None:
        return SourceError(f"not JSON: {sentence}")
    return _at_byte(raw, int(found[1]), f"not JSON: {sentence}")


def _at_byte(raw: bytes, position: int, message: str) -> SourceError:
    before = raw[:position].decode("utf-8", "replace")
    return SourceError(message, *_place(before, len(before)))


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
