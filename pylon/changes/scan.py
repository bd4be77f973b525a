"""The log from a cursor, joined to the rows as they are now, as far as a reader may see them.

One statement does it, so all of it is seen at one moment, and events leave the database as JSON,
all but their ends: made there they cost a tenth of what they cost here. What readers are told of
rows that they see no longer is decided in `sync/`, which alone calls this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from pylon.identity import Identity
from pylon.policy.engine import PolicyEngine, Where
from pylon.schema.model import EntitySpec, FieldKind, Manifest
from pylon.store.base import Store, Value
from pylon.store.dialect import Dialect
from pylon.store.meta import NEWEST_SEQ
from pylon.store.naming import quote
from pylon.store.row_json import concat, row_json

Scanned: TypeAlias = tuple[int, int, bytes | None, str | None, str | None, str | None, int | None]
"""One change: `(seq, at, data, audiences, entity, row_id, born)`.

`at` is in epoch seconds. `data` is None where the reader does not see the row now. Without
`audiences` it is the event up to its data (see `wire.events.event_json`), and the rest is None.
With them it is the row alone, and the earlier audiences of the row (`log.read_audiences`) decide
with `born`, the position since which there is a row of this id.
"""


async def newest_seq(store: Store) -> int:
    """Position of the newest change on disk; `store.seq` may not have heard of it yet."""
    return int((await store.read(NEWEST_SEQ))[0][0])


class Scan(Struct, frozen=True):
    """The changes after the cursor `since`, as one reader may hear of them."""

    store: Store
    sql: str
    params: tuple[Value, ...]

    async def after(self, cursor: int, count: int) -> list[Scanned]:
        """At most `count` changes after `cursor`, in order; fewer are all that there are."""
        return await self.store.read(self.sql, (*self.params, cursor, count))


class LogScan:
    """Makes the scans of every reader of an app."""

    def __init__(self, store: Store, manifest: Manifest, policies: PolicyEngine) -> None:
        self._store = store
        self._policies = policies
        self._names = tuple(spec.name for spec in manifest.entities)
        self._rows_as_json = {
            private: {
                spec.name: row_json(store.dialect, _kinds(spec, private=private))
                for spec in manifest.entities
            }
            for private in (False, True)
        }
        self._statements: dict[tuple[object, ...], str] = {}

    def since(self, identity: Identity, since: int) -> Scan:
        """The scan for this reader; its statement is that of all readers whose filters are alike.

        Administrators get private fields too.
        """
        wheres = {name: self._policies.entity(name).read.where(identity) for name in self._names}
        shape = (identity.is_admin, *((where.never, where.sql) for where in wheres.values()))
        sql = self._statements.get(shape)
        if sql is None:
            rows = self._rows_as_json[identity.is_admin]
            sql = self._statements[shape] = _statement(self._store.dialect, rows, wheres)
        params = tuple(
            value
            for where in wheres.values()
            if not where.never
            for value in (since, *where.params)
        )
        return Scan(self._store, sql, params)


_WITH_AUDIENCES: Final = ", ".join(
    f"CASE WHEN c.audiences IS NOT NULL THEN c.{column} END"
    for column in ("entity", "row_id", "born")
)


def _statement(dialect: Dialect, rows: Mapping[str, str], wheres: Mapping[str, Where]) -> str:
    branches = "".join(
        f" WHEN '{name}' THEN"
        f" (SELECT {dialect.as_bytes(concat([_event_begin(dialect, name), rows[name]]))}"
        f" FROM {quote(name)} t WHERE t.id = c.row_id"
        f"{'' if where.sql is None else f' AND {where.sql}'})"
        for name, where in wheres.items()
        if not where.never
    )
    data = f"CASE c.entity{branches} END" if branches else "NULL"
    names = ", ".join(f"'{name}'" for name in wheres)
    return (
        f"SELECT c.seq, c.at, {data}, c.audiences, {_WITH_AUDIENCES} FROM _pylon_changes c"
        # IS TRUE keeps the planner on the log's own order instead of its index by entity.
        f" WHERE (c.entity IN ({names})) IS TRUE AND c.seq > ? ORDER BY c.seq LIMIT ?"
    )


def _event_begin(dialect: Dialect, entity: str) -> str:
    """An event up to its data, for a row that is visible and always was; else nothing.

    Takes one parameter, the cursor of the pull.
    """
    return (
        "CASE WHEN c.audiences IS NULL THEN"
        f""" concat('{{"seq":', c.seq, ',"entity":"{entity}","row_id":',"""
        f""" {dialect.json_text("c.row_id", "string")},"""
        """ CASE WHEN c.born > ? THEN ',"kind":"insert","data":'"""
        """ ELSE ',"kind":"update","data":' END) END"""
    )


def _kinds(spec: EntitySpec, *, private: bool) -> dict[str, FieldKind]:
    seen = [field for field in spec.fields if private or not field.is_private]
    return {"id": "string", **{field.name: field.kind for field in seen}}
