"""The versions of the server's own tables, and the words in which they are written.

A part's tables are numbered steps, kept in its `tables.sql`; how many of them a database has taken
is a value of `_pylon_meta` there. The SQL is portable but for types and one clause of CREATE TABLE:
those are words in braces, which each database spells (`TableWords`). Steps are taken by the room of
the database when it is opened (`sqlite/system_tables.py`); a step that was released never changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict

from pylon.errors import ConfigError

Step: TypeAlias = tuple[str, ...]
"""The statements that take a part's tables from one version to the next."""

SystemTables: TypeAlias = Mapping[str, tuple[Step, ...]]
"""The steps of each part, by its name. The version of a part is how many it has."""

NO_TABLES: Final[SystemTables] = MappingProxyType({})

STORE: Final = "store"
"""The part that holds `_pylon_meta` and the schema's ledger; the first in every database."""

VERSION_PREFIX: Final = "system:"
"""Keys of `_pylon_meta` that hold the version of a part's tables, an integer."""

_STEP = re.compile(r"^-- step: (\d+)$", re.MULTILINE)
_WORD = re.compile(r"\{(\w+)\}")


class TableWords(Struct, frozen=True, kw_only=True):
    """How a database spells what differs in CREATE TABLE.

    `blob` bytes; `bigint` a whole number of 64 bits, as `{bigint} PRIMARY KEY` the fastest key that
    the database has for one; `untyped` the type of a column that holds whole numbers and texts;
    `without_rowid` the clause behind a table that is found by its primary key only.
    """

    blob: str
    bigint: str
    untyped: str
    without_rowid: str

    def spell(self, statement: str) -> str:
        """The statement with its words in braces replaced."""
        words = asdict(self)
        return _WORD.sub(lambda found: words[found[1]], statement)


def load_steps(package: str) -> tuple[Step, ...]:
    """The numbered steps of a package's `tables.sql`: `-- step: N`, then statements, each ending
    with a semicolon at the end of a line."""
    parts = _STEP.split(files(package).joinpath("tables.sql").read_text("utf-8"))
    numbers = [int(number) for number in parts[1::2]]
    assert numbers == list(range(1, len(numbers) + 1)), f"{package}: steps are 1, 2, 3 ..."
    return tuple(
        tuple(sql.strip() for sql in f"{body.rstrip()}\n".split(";\n") if sql.strip())
        for body in parts[2::2]
    )


STORE_TABLES: Final = load_steps("pylon.store")


def with_store(tables: SystemTables) -> dict[str, tuple[Step, ...]]:
    """The tables of all parts, the store's own first: the others may rest on them."""
    assert STORE not in tables, f"a part may not be called {STORE}"
    return {STORE: STORE_TABLES, **tables}


def refuse_newer(recorded: Mapping[str, int], tables: SystemTables, database: str) -> None:
    """`ConfigError` `DATABASE_NEWER` where a part's tables are beyond the steps known here.

    `recorded` is how far the database has come; parts that are unknown here are left alone.
    """
    for part, steps in tables.items():
        found = recorded.get(part, 0)
        if found > len(steps):
            raise ConfigError(
                "DATABASE_NEWER",
                f"The database {database} was used by a newer Pylon: its tables of {part} have"
                f" version {found}, this one knows {len(steps)}.",
                "Use that version, or restore a backup that was made before.",
            )


def incomplete(part: str, lacking: Iterable[str], database: str) -> ConfigError:
    """What is said of a database whose system tables are not what their version says."""
    return ConfigError(
        "DATABASE_INCOMPLETE",
        f"The database {database} lacks {', '.join(lacking)}, which belongs to {part}.",
        "Something else has changed the server's own tables: restore a backup.",
    )
