"""Exports as text and back: the JSON object of the reference, and one row a line (NDJSON).

Reading is incremental, so that a file of any size passes through constant memory: bytes go into
`feed` as they come, rows come out, and here and there None, for whoever has other work to do
meanwhile. Knows no entity and no store. Used by `api/transfer.py` and the command line.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any, Final, Protocol, TypeAlias

from msgspec import Struct

from pylon import limits
from pylon.codec import Decoding, decode_item, decoding, encode
from pylon.errors import PylonError

NDJSON = b"application/x-ndjson"


class Incoming(Struct, kw_only=True):
    """A row that was read, or why it could not be. `number` counts rows (or lines) from 1,
    `size` is the bytes of its text."""

    number: int
    entity: str = ""
    row: Any = None
    size: int = 0
    error: PylonError | None = None


Rows: TypeAlias = Iterator[Incoming | None]
"""Rows, and None where other work may be done before the next."""

_STEP_SIGNS: Final = 2_000
"""Lines or signs after which other work may be done: 2 to 8 ms."""


class Splitter(Protocol):
    """Cuts the bytes of an export into rows."""

    def feed(self, data: bytes) -> Rows:
        """The rows that `data` completes. Take them all before the next call."""
        ...

    def finish(self) -> Rows:
        """What is left at the end; 400 when the text is not whole."""
        ...


def export_line(entity: str, row: object) -> bytes:
    """One row as a line."""
    return b'{"entity":%b,"row":%b}\n' % (encode(entity), encode(row))


# --- lines -----------------------------------------------------------------------------------


class LineSplitter:
    """One `{"entity": .., "row": {..}}` a line; empty lines are skipped."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._number = 0
        self._is_skipping = False

    def feed(self, data: bytes) -> Rows:
        if b"\n" not in data:
            self._keep(data)
            return
        first, *lines = data.split(b"\n")
        self._keep(first)
        last = lines.pop()
        if self._is_skipping:
            self._is_skipping = False
            self._number += 1
            yield Incoming(number=self._number, error=_too_long())
        else:
            yield from self._read(bytes(self._rest))
        self._rest.clear()
        for line in lines:
            yield from self._read(line)
        self._keep(last)

    def finish(self) -> Rows:
        yield from self.feed(b"\n")

    def _keep(self, data: bytes) -> None:
        if self._is_skipping:
            return
        self._rest += data
        if len(self._rest) > limits.IMPORT_ROW_BYTES_MAX:
            self._rest.clear()
            self._is_skipping = True

    def _read(self, line: bytes) -> Rows:
        self._number += 1
        if self._number % _STEP_SIGNS == 0:
            yield None
        if line.isspace() or not line:
            return
        try:
            value = yield from _value(line)
        except PylonError as error:
            if error.status == 400:
                error = PylonError(400, "INVALID_JSON", "The line is not JSON in UTF-8.")
            yield Incoming(number=self._number, error=error)
            return
        entity = value.get("entity") if isinstance(value, dict) else None
        if not isinstance(entity, str) or "row" not in value:
            malformed = PylonError(
                400, "INVALID_DATA", 'A line must be {"entity": "...", "row": {...}}.'
            )
            yield Incoming(number=self._number, error=malformed)
            return
        yield Incoming(number=self._number, entity=entity, row=value["row"], size=len(line))


def _value(text: bytes) -> Decoding:
    """The value of a text that may be large."""
    if len(text) <= limits.JSON_STEP_BYTES:
        return decode_item(text)
    return (yield from decoding(text))


# --- one object ------------------------------------------------------------------------------

# A string that is not closed yet matches its quote alone: there the scan waits for more.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb'|["{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
# Everything up to the next bracket, or up to a string that is not closed yet.
_NO_BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+", re.DOTALL)
# The inside of a string, up to its quote, or a backslash that ends what has come.
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE = ord('"')
_CLOSES = {ord("}"): ord("{"), ord("]"): ord("[")}

_ROWS_DEPTH = 3
"""`{"entities":{"Todo":[` are three open brackets."""


class ObjectSplitter:
    """`{"entities": {"Todo": [{..}, ..], ..}}`; other keys, and values that are no arrays, are
    passed over. Rows are checked by the decoder, the text around them only for its brackets."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._at = 0
        self._string_at: int | None = None
        """How far a string that has not ended has been read, where there is one."""
        self._row_start = 0
        self._open = bytearray()
        self._keys = ["", ""]
        self._last = ""
        self._number = 0
        self._has_entities = False
        self._is_done = False

    def feed(self, data: bytes) -> Rows:
        self._text += data
        signs = 0
        while True:
            signs += 1
            if signs % _STEP_SIGNS == 0:
                yield None
            is_row = self._is_in_rows
            depth = _ROWS_DEPTH if is_row else 1 + (self._keys[0] == "entities")
            if len(self._open) > depth:
                if not (yield from self._skip(depth)):
                    break
                if is_row:
                    yield from self._row(bytes(self._text[self._row_start : self._at]))
                continue
            token = self._token()
            if token is None:
                break
            yield from self._take(token, self._at - len(token))
        self._forget()

    def _token(self) -> bytes | None:
        """The next sign, string or word, and go behind it; None where it has not come whole."""
        text = self._text
        if self._string_at is None:
            found = _TOKEN.search(text, self._at)
            if found is None:
                self._at = len(text)
                return None
            token = bytes(found[0])
            if token != b'"':
                if found.end() == len(text) and token[0] not in b'"{}[],:':
                    self._at = found.start()  # It may go on in the next piece.
                    if len(token) > limits.JSON_STEP_BYTES:
                        raise _malformed()
                    return None
                self._at = found.end()
                return token
            self._at = found.start()
            self._string_at = found.end()
        end = self._end_of_string(self._string_at)
        if end is None:
            return None
        token, self._at = bytes(text[self._at : end]), end
        return token

    def _end_of_string(self, start: int) -> int | None:
        """Where the string ends whose inside has been read up to `start`; None where that has not
        come. Nothing of it is read again."""
        found = _IN_STRING.match(self._text, start)
        assert found is not None, "it matches nothing too"
        end = found.end()
        if self._text[end : end + 1] != b'"':
            self._string_at = end
            return None
        self._string_at = None
        return end + 1

    def _skip(self, depth: int) -> Generator[None, None, bool]:
        """Go to the end of the row that is open, or of what is none of our business, where only so
        many brackets are open; False when it has not come yet."""
        text, brackets = self._text, self._open
        signs = 0
        while True:
            if self._string_at is not None:
                end = self._end_of_string(self._string_at)
                if end is None:
                    return False
                self._at = end
            found = _NO_BRACKETS.match(text, self._at)
            assert found is not None, "it matches nothing too"
            self._at = found.end()
            if self._at == len(text):
                return False
            kind = text[self._at]
            self._at += 1
            if kind == _QUOTE:
                self._string_at = self._at
            elif kind in b"{[":
                brackets.append(kind)
            elif brackets.pop() != _CLOSES[kind]:
                raise _malformed()
            elif len(brackets) == depth:
                return True
            signs += 1
            if signs % _STEP_SIGNS == 0:
                yield

    def finish(self) -> Rows:
        yield from self.feed(b" ")
        if not self._is_done or self._at < len(self._text):
            raise _malformed()
        if not self._has_entities:
            raise _no_entities()

    @property
    def _is_in_rows(self) -> bool:
        return (
            len(self._open) >= _ROWS_DEPTH
            and self._open[:_ROWS_DEPTH] == b"{{["
            and self._keys[0] == "entities"
        )

    def _take(self, token: bytes, start: int) -> Rows:
        if self._is_done:
            raise _malformed()
        kind = token[0]
        if kind in b"{[":
            if self._is_in_rows and len(self._open) == _ROWS_DEPTH:
                self._row_start = start
            self._open.append(kind)
            if len(self._open) == 2 and self._keys[0] == "entities" and kind == ord("{"):
                self._has_entities = True
            if self._open[0] != ord("{"):
                raise _no_entities()
        elif kind in b"}]":
            if not self._open or self._open.pop() != _CLOSES[kind]:
                raise _malformed()
            self._is_done = not self._open
        elif not self._open:
            decode_item(token)
            raise _no_entities()
        elif len(self._open) < _ROWS_DEPTH:
            self._follow_key(token)
        elif self._is_in_rows and len(self._open) == _ROWS_DEPTH and kind not in b",:":
            yield from self._row(token)

    def _follow_key(self, token: bytes) -> None:
        """Names of the objects we are in: a string before a colon."""
        if token == b":":
            self._keys[len(self._open) - 1] = self._last
        elif token == b",":
            self._keys[len(self._open) - 1] = self._last = ""
        elif token[0] == ord('"'):
            self._last = decode_item(token)

    def _row(self, text: bytes) -> Rows:
        self._number += 1
        row = Incoming(number=self._number, entity=self._keys[1], size=len(text))
        try:
            row.row = yield from _value(text)
        except PylonError as error:
            row.error = error
        yield row

    def _forget(self) -> None:
        """Drop what has been read; a row or string that is open must not grow for ever."""
        is_open_row = self._is_in_rows and len(self._open) > _ROWS_DEPTH
        start = self._row_start if is_open_row else self._at
        if start:
            del self._text[:start]
            self._at -= start
            if self._string_at is not None:
                self._string_at -= start
            self._row_start = 0
        if len(self._text) > limits.IMPORT_ROW_BYTES_MAX:
            raise _too_long()
        if len(self._open) > limits.IMPORT_DEPTH_MAX:
            raise _malformed()


def _no_entities() -> PylonError:
    return PylonError(
        400,
        "MISSING_FIELD",
        'The body needs an object "entities".',
        "Send what GET /api/export gives, or lines with Content-Type application/x-ndjson.",
    )


def _malformed() -> PylonError:
    return PylonError(
        400, "INVALID_JSON", "Invalid request body", "The body must be JSON in UTF-8."
    )


def _too_long() -> PylonError:
    return PylonError(
        413, "PAYLOAD_TOO_LARGE", f"A row has more than {limits.IMPORT_ROW_BYTES_MAX} bytes."
    )
