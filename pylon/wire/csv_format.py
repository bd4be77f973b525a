"""CSV (RFC 4180) out and in: rows of one entity, a header with the names of its fields.

An empty cell is null, `""` is the empty text, as in the COPY of Postgres. Reading is incremental,
as in `export_format`. Knows no entity: how the text of a cell becomes a value is handed in. Used by
`api/transfer.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pylon import limits
from pylon.codec import encode
from pylon.errors import PylonError
from pylon.listing import listed
from pylon.wire.export_format import Incoming, Rows

CSV: Final = b"text/csv"

CSV_UTF8: Final = b"text/csv; charset=utf-8"

BOM: Final = b"\xef\xbb\xbf"

# --- out -------------------------------------------------------------------------------------

_NEEDS_QUOTES: Final = re.compile(r'\A\s|[",;\t\r\n]|\s\Z')

_BARE_CHARACTERS_MAX: Final = 200
"""Longer texts are put in quotes unseen: to look through them takes longer."""

_PART_CHARACTERS: Final = 262_144
"""About what is written at once; of a long text two milliseconds, where all of it is quotes."""

_CELL_COST: Final = 32
"""What a cell costs beside its text, in characters: 8 000 empty ones take some milliseconds."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins with one of these for a formula, and runs it."""


class CsvWriter:
    """Makes lines of rows.

    `is_for_spreadsheet`: a byte order mark in front, without which Excel reads no UTF-8, and an
    apostrophe before texts that would be run as formulas. Such a file is for looking at: what it
    says of those texts is not what is stored. `as_json` are columns whose values are written as
    JSON whatever they are, for texts among them to stay texts.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        is_for_spreadsheet: bool = False,
        as_json: Container[str] = (),
    ) -> None:
        self.names = tuple(names)
        self._guards = is_for_spreadsheet
        self._as_json = frozenset(name for name in self.names if name in as_json)
        self._cells = tuple(
            (name, _json if name in self._as_json else self._cell) for name in self.names
        )

    def head(self) -> bytes:
        """The line with the names."""
        line = ",".join(map(_quoted, self.names)) + "\r\n"
        return (BOM if self._guards else b"") + line.encode()

    def lines(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
        """A line a row, in parts that each take little time to make, whatever the rows are; a value
        that a row has not is null."""
        cells, cells_cost = self._cells, len(self._cells) * _CELL_COST
        made: list[str] = []
        size = 0
        for row in rows:
            is_large = sum([len(v) for v in row.values() if type(v) is str]) > _PART_CHARACTERS
            if not is_large:
                line = ",".join([cell(row.get(name)) for name, cell in cells]) + "\r\n"
                made.append(line)
                size += len(line) + cells_cost
            if made and (is_large or size > _PART_CHARACTERS):
                yield "".join(made).encode()
                made, size = [], 0
            if is_large:
                yield from self._line_in_parts(row)
        if made:
            yield "".join(made).encode()

    def _line_in_parts(self, row: Mapping[str, Any]) -> Iterator[bytes]:
        short: list[str] = []
        for place, (name, cell) in enumerate(self._cells):
            value = row.get(name)
            if place:
                short.append(",")
            if type(value) is not str or len(value) <= _PART_CHARACTERS:
                short.append(cell(value))
                continue
            is_text = name not in self._as_json
            text = value if is_text else encode(value).decode()
            short.append('"')
            if is_text and self._guards and text.startswith(_FORMULA):
                short.append("'")
            yield "".join(short).encode()
            for start in range(0, len(text), _PART_CHARACTERS):
                yield _doubled(text[start : start + _PART_CHARACTERS]).encode()
            short = ['"']
        yield ("".join(short) + "\r\n").encode()

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        if type(value) is str:
            if self._guards and value.startswith(_FORMULA):
                value = f"'{value}"
            return _quoted(value)
        if value is True:
            return "true"
        if value is False:
            return "false"
        text = encode(value).decode()
        return text if type(value) in (int, float) else _quoted(text)


def _json(value: Any) -> str:
    return "" if value is None else _quoted(encode(value).decode())


def _quoted(text: str) -> str:
    if text and len(text) <= _BARE_CHARACTERS_MAX and not _NEEDS_QUOTES.search(text):
        return text
    return f'"{_doubled(text)}"'


def _doubled(text: str) -> str:
    return text.replace('"', '""')


# --- in --------------------------------------------------------------------------------------

_STEP_BYTES: Final = 16_384
"""Text after which other work may be done: the worst of it, empty cells, takes some 10 ms."""

_LINE_COST: Final = 20
"""What a line costs beside its cells, in bytes of text."""

Reader = Callable[[str], Any]
"""From the text of a cell to a value; one that it cannot read it leaves as it is, for whoever
checks values to refuse, or it is a `ValueError` with what was expected."""


class CsvSplitter:
    """Rows of one entity. The first line names fields, in any order; the sign between cells is a
    comma, or what the first line has in its place: a semicolon or tab.

    `readers` are the fields that there are. A field of `required` is left out where its cell is
    empty. The number of a row is that of the line where it begins, as editors count.
    """

    def __init__(
        self, entity: str, readers: Mapping[str, Reader], *, required: frozenset[str] = frozenset()
    ) -> None:
        self._entity = entity
        self._readers = readers
        self._required = required
        self._names: list[str] | None = None
        self._cell = _cell_pattern(",")
        self._rest = bytearray()
        self._record: list[str] = []
        """Lines of a row that has not ended: a text in quotes goes on."""
        self._record_size = 0
        self._since_step = 0
        self._line = 0
        self._start = 1

    def feed(self, data: bytes) -> Rows:
        if b"\n" not in data:
            self._keep(data)
            return
        first, *lines = data.split(b"\n")
        self._keep(first)
        last = lines.pop()
        whole = bytes(self._rest)
        self._rest.clear()
        yield from self._take(whole)
        for line in lines:
            yield from self._take(line)
        self._keep(last)

    def finish(self) -> Rows:
        if self._rest:
            yield from self.feed(b"\n")
        if self._record:
            raise _malformed(f"The text in quotes that begins on line {self._start} has no end.")
        if self._names is None:
            raise PylonError(
                400, "MISSING_FIELD", "The first line has to name the fields.", self._known()
            )

    def _keep(self, data: bytes) -> None:
        self._rest += data
        if len(self._rest) > limits.CSV_ROW_BYTES_MAX:
            raise _too_long(self._start if self._record else self._line + 1)

    def _take(self, line: bytes) -> Rows:
        """One line without its end."""
        self._line += 1
        self._since_step += len(line) + _LINE_COST
        if self._since_step > _STEP_BYTES:
            self._since_step = 0
            yield None
        if self._line == 1:
            line = line.removeprefix(BOM)
        if not self._record:
            self._start = self._line
            if not line.strip():
                return
        try:
            text = line.decode()
        except UnicodeDecodeError:
            if self._names is None or self._record:
                raise _malformed(f"Line {self._line} is not text in UTF-8.") from None
            error = _malformed("The line is not text in UTF-8.")
            yield Incoming(number=self._start, error=error)
            return
        yield from self._take_text(text, len(line))

    def _take_text(self, text: str, size: int) -> Rows:
        is_odd = text.count('"') % 2 == 1
        if self._record:
            self._record.append(text)
            self._record_size += size + 1
            if self._record_size > limits.CSV_ROW_BYTES_MAX:
                raise _too_long(self._start)
            if not is_odd:
                return
            text, size, self._record = "\n".join(self._record), self._record_size, []
        elif is_odd and self._goes_on(text):
            self._record, self._record_size = [text], size
            return
        if self._names is None:
            self._names = self._read_head(text.removesuffix("\r"))
        else:
            yield self._row(text.removesuffix("\r"), size)

    def _goes_on(self, text: str) -> bool:
        """Whether a line ends inside a text in quotes; a quote elsewhere is an error."""
        text = text.removesuffix("\r")
        at, cells = 0, 0
        while cells <= limits.CSV_COLUMNS_MAX:
            found = self._cell.match(text, at)
            if found is None:
                return text[at : at + 1] == '"' and not _CLOSED.match(text, at)
            if not found[3]:
                return False
            at, cells = found.end(), cells + 1
        return False

    def _cells(self, text: str, most: int) -> list[str | None] | None:
        """The cells, None for those that are empty and not in quotes; None where it is no CSV."""
        cells: list[str | None] = []
        at = 0
        while len(cells) <= most:
            found = self._cell.match(text, at)
            if found is None:
                return None
            quoted = found[1]
            cells.append((found[2] or None) if quoted is None else quoted.replace('""', '"'))
            if not found[3]:
                return cells
            at = found.end()
        return cells

    def _read_head(self, text: str) -> list[str]:
        for sign in ",;\t":
            if sign in text:
                self._cell = _cell_pattern(sign)
                break
        cells = self._cells(text, limits.CSV_COLUMNS_MAX)
        names = [cell.strip() if cell else "" for cell in cells or [""]]
        for place, name in enumerate(names):
            if name not in self._readers:
                message = (
                    f'The first line names "{name[:100]}", which {self._entity} does not have.'
                )
                raise PylonError(400, "INVALID_COLUMN", message, self._known())
            if name in names[:place]:
                raise _malformed(f'The first line names "{name}" twice.')
        return names

    def _known(self) -> str:
        return f"Known: {listed(self._readers)}."

    def _row(self, text: str, size: int) -> Incoming:
        assert self._names is not None
        names = self._names
        cells = self._cells(text, len(names))
        if cells is None:
            error = _malformed("A cell that has a quote stands in quotes, its own quotes twice.")
            return Incoming(number=self._start, error=error)
        if len(cells) != len(names):
            count = f"more than {len(names)}" if len(cells) > len(names) else str(len(cells))
            error = _malformed(f"The line has {count} cells, the first one {len(names)}.")
            return Incoming(number=self._start, error=error)
        row: dict[str, Any] = {}
        for name, cell in zip(names, cells, strict=True):
            if cell is not None:
                try:
                    row[name] = self._readers[name](cell)
                except ValueError as expected:
                    error = _malformed(f'The cell of "{name}" must be {expected}.')
                    return Incoming(number=self._start, error=error)
            elif name not in self._required:
                row[name] = None
        return Incoming(number=self._start, entity=self._entity, row=row, size=size)


_CLOSED: Final = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')


def _cell_pattern(sign: str) -> re.Pattern[str]:
    """A cell: (1) what stands in quotes, or (2) what does not; (3) the sign behind it."""
    return re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"{sign}]*+))(?:({sign})|\Z)')


def _malformed(message: str) -> PylonError:
    return PylonError(400, "INVALID_CSV", message)


def _too_long(line: int) -> PylonError:
    return PylonError(
        413,
        "PAYLOAD_TOO_LARGE",
        f"The row that begins on line {line} has more than {limits.CSV_ROW_BYTES_MAX} bytes.",
        "Is a quote open? Larger rows can be imported as NDJSON.",
    )
