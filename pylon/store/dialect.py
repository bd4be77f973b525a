"""What SQL must differ in from one database to the next: the seam, and what it promises.

Everything else above the stores is SQL that each of them takes: `?` for bound values in textual
order, IS [NOT] DISTINCT FROM, NULLS FIRST, CAST AS DOUBLE PRECISION, `concat`, `string_agg`. A
bool is stored as the integer 1 or 0; texts are compared and ordered by code point. The members
give pieces of SQL; names of columns come quoted and with their alias, and only expressions made by
code come in, never what a caller typed.

Used by `data/` and `changes/` through `Store.dialect`; `sqlite/dialect.py` is SQLite's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from pylon.schema.model import FieldKind
from pylon.store.search_keys import SearchKey
from pylon.store.search_query import SearchQuery
from pylon.store.values import Value
from pylon.zones import Zone

Bucket: TypeAlias = Literal["hour", "day", "week", "month", "year"]
"""A span of time by which rows are counted."""


class SearchSource(Struct, frozen=True, kw_only=True):
    """The rows that a full-text index finds, as a source for FROM.

    `sql` binds one value, what `search_value` gave, before everything else of the FROM, unless it
    was asked for with another expression. `row_id`, `number` and `rank` are expressions over it:
    the row's id; the index's own number of it; and how well it fits, the best smallest, measured
    with all rows of the index, whoever may read them.
    """

    sql: str
    row_id: str
    number: str
    rank: str


class SearchPlaces(Struct, frozen=True, kw_only=True):
    """The places where words stand, as a source for FROM with the alias `p`.

    The others are expressions over it: the `term`, of which one or a range is read without looking
    at the rest; the `number` of the row, that of its `SearchSource`; and whether it `counts`, being
    in a field that was asked about.
    """

    sql: str
    term: str
    number: str
    counts: str


class Dialect(Protocol):
    """How one database spells what has no common spelling."""

    # --- values ------------------------------------------------------------------------------

    def json_text(self, value: str, kind: FieldKind) -> str:
        """A stored value of this kind as the text of a JSON value; `null` for NULL.

        A stored bool is `true` or `false`; numbers read back as the same numbers.
        """
        ...

    def as_bytes(self, text: str) -> str:
        """A text as its bytes in UTF-8, so that the driver does not decode what is sent on."""
        ...

    def mixed(self, value: str, kind: FieldKind) -> str:
        """A stored value of this kind, or NULL, that may stand in one column of a UNION with values
        of other types; it is read back as what it was."""
        ...

    def beginning(self, text: str, characters: int) -> str:
        """The first so many characters of a text, whatever signs are in it."""
        ...

    # --- conditions --------------------------------------------------------------------------

    def one_of(self, column: str, values: Sequence[Value], *, negated: bool) -> tuple[str, Value]:
        """Whether a column's value is one of a list (or, negated, none of it), and what to bind.

        The list has at least one value, all texts, all bools or all numbers, none of them NULL. It
        is bound as one value, so that the text is the same for every length. NULL where the column
        is.
        """
        ...

    def like(self, column: str, pattern: str) -> tuple[str, Sequence[Value]]:
        r"""Whether a text matches a pattern of LIKE, and what to bind. In it `\` takes away the
        meaning of the sign behind it. A to Z match in either case, all other letters in their own
        only; a NUL is a sign as any other."""
        ...

    def contains(self, column: str, *, is_folded: bool = False) -> str:
        """Whether a text holds one bound text. `is_folded`: the column's A to Z are taken as a to
        z, and the bound text has no others; all other letters match in their own case only."""
        ...

    def has_item(self, column: str) -> str:
        """Whether a list, stored as JSON, has the one bound text or number as an item."""
        ...

    # --- aggregates --------------------------------------------------------------------------

    def bucket(
        self, column: str, bucket: Bucket, *, zone: Zone | None = None, is_key: bool = False
    ) -> str:
        """The span that a time falls into, as text in the order of time; by the clocks of the zone,
        or of UTC.

        `2025-01-31 23:00:00`, `2025-01-31`, `2025-W05` (ISO 8601, from Monday), `2025-01`, `2025`.
        `is_key`: the column has the keys of times (`pylon/moments.py`) instead of texts.
        NULL for times outside of the years 1 to 9999 by these clocks.
        Of a text that begins with an ISO date and is a time, or of epoch seconds as text; of
        anything else NULL, and never an error.
        """
        ...

    def float_sum(self, column: str) -> str:
        """The sum of whole numbers as a double, however large; NULL where there are none.

        For sums that answered `SumTooLarge`.
        """
        ...

    # --- full text ---------------------------------------------------------------------------

    def finds(self, query: SearchQuery, columns: Mapping[str, str]) -> tuple[str, Value]:
        """Whether a search finds a row by its texts alone, and what to bind; `columns` are fields
        and their columns. It finds what an index over them would."""
        ...

    def search_source(
        self, entity: str, table: str | None = None, *, asked: str = "?"
    ) -> SearchSource:
        """What an entity's full-text index finds; joined to `table`, a source aliased `t`.

        The index is asked first and once, whatever else the statement asks of the rows; `asked` is
        the expression for what.
        """
        ...

    def search_value(self, query: SearchQuery, key: SearchKey | None = None) -> Value:
        """What to bind to ask a full-text index for this. No text that people type is refused.

        With a `key` it is asked for the words of rows that have it, at the cost of those: it finds
        them as it would without, and perhaps some of other rows.
        """
        ...

    def search_word(self, term: str, fields: Sequence[str], key: SearchKey | None = None) -> str:
        """What to ask, as an expression: a word of the index, which the expression `term` gives
        (with a `key` under its mark), in one of these fields."""
        ...

    def search_words(self, entity: str) -> str:
        """A source whose column `term` has every word of an entity's full-text index once, folded:
        small letters without diacritics; and once more under each mark of a key that it has. A
        range of `term` is read without looking at the rest."""
        ...

    def search_places(
        self, entity: str, fields: Sequence[str], key: SearchKey | None = None
    ) -> SearchPlaces:
        """Where the words of an entity's full-text index stand; those in these fields count. With a
        `key` those of its rows, under its mark."""
        ...
