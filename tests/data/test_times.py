"""Times at the doors of rows: what was sent comes back, all that compares goes by the moment."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.data.aggregate import Aggregates
from pylon.data.cursors import cursor_of, read_cursor
from pylon.data.door import ReadDoor
from pylon.data.filters import parse, parse_order
from pylon.data.query import Queries, complete_order, select
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.identity import ADMIN
from pylon.schema.model import EntitySpec, FieldSpec, IndexSpec, Manifest
from pylon.store.tables import wanted_indexes
from tests.data.apps import app, task
from tests.data.reading import reading

NOON = "2026-01-01T12:00:00Z"
SPELLINGS = (NOON, "2026-01-01T14:00:00.000+02:00", "20260101T1200", "1767268800Z", "1767268800")
LATER = "2026-01-01T12:00:00.25Z"


async def query(rows: Rows, body: Any) -> list[str]:
    found = await Queries(ReadDoor(rows)).find(ADMIN, "Task", body)
    return [row["at"] for row in found]


def tasks() -> list[dict[str, Any]]:
    return [task(n, "ann", at=at) for n, at in enumerate((LATER, *SPELLINGS, "2025-12-31", None))]


@pytest.mark.parametrize("asked", SPELLINGS)
async def test_filters_and_lookups_go_by_the_moment(asked: str) -> None:
    async with app(tasks()) as rows:
        assert await query(rows, {"at": asked}) == list(SPELLINGS)
        assert await query(rows, {"at": {"$in": [asked]}}) == list(SPELLINGS)
        assert await query(rows, {"at": {"$gt": asked}}) == [LATER]
        assert await query(rows, {"at": {"$lt": asked}}) == ["2025-12-31"]
        assert await query(rows, {"at": {"$nin": [asked, LATER]}}) == ["2025-12-31"]
        found = await Queries(ReadDoor(rows)).lookup(ADMIN, "Task", "at", asked)
        assert found["at"] == NOON
        assert await query(rows, {"at": {"$startsWith": "2026-"}}) == [LATER, *SPELLINGS[:2]]
        assert await query(rows, {"at": None}) == [None]


async def test_orders_and_cursors_go_by_the_moment() -> None:
    async with app(tasks()) as rows:
        wanted = [None, "2025-12-31", *SPELLINGS, LATER]
        body: dict[str, Any] = {"$order": {"at": "asc"}, "$limit": 1}
        door, seen = Queries(ReadDoor(rows)), []
        while page := await door.find(ADMIN, "Task", body):
            seen += page
            body["$after"] = {"at": page[-1]["at"], "id": page[-1]["id"]}
        assert [row["at"] for row in seen] == wanted
        columns = rows.door.open(ADMIN, "Task").columns
        order = complete_order(parse_order({"at": "desc"}, columns))
        values = read_cursor(cursor_of(seen[-1], order), order, columns)
        last = parse({"$after": {"at": LATER, "id": seen[-1]["id"]}}, columns).after
        assert values == last


@pytest.mark.parametrize("asked", ["yesterday", "", "2026-01", 5])
async def test_what_is_no_time_is_refused(asked: Any) -> None:
    async with app(tasks()) as rows:
        for condition in (asked, {"$gt": asked}, {"$in": [asked]}, {"$ne": asked}):
            with pytest.raises(PylonError) as refused:
                await query(rows, {"at": condition})
            assert (refused.value.status, refused.value.code) == (400, "INVALID_QUERY")
        with pytest.raises(PylonError) as missed:
            await Queries(ReadDoor(rows)).lookup(ADMIN, "Task", "at", str(asked))
        assert missed.value.status == 404


async def test_counts_and_extremes_go_by_the_moment() -> None:
    async with app(tasks()) as rows:
        aggregates = Aggregates(ReadDoor(rows))
        body = {"countDistinct": ["at"], "min": ["at"], "max": ["at"]}
        assert await aggregates.run(ADMIN, "Task", body) == [
            {"count_distinct_at": 3, "min_at": "2025-12-31", "max_at": LATER}
        ]
        groups: dict[str, Any] = {"count": "*", "groupBy": ["at"], "having": {"at": {"$gt": NOON}}}
        assert await aggregates.run(ADMIN, "Task", groups) == [{"at": LATER, "count": 1}]
        groups = {"count": "*", "groupBy": ["at"], "having": {"at": NOON}}
        assert await aggregates.run(ADMIN, "Task", groups) == [{"at": min(SPELLINGS), "count": 5}]


@pytest.mark.parametrize(
    ("zone", "bucket", "expected"),
    [
        ("Europe/Berlin", "hour", ["2026-03-29 01:00:00", "2026-03-29 03:00:00"]),
        ("Asia/Kathmandu", "day", ["2026-03-29"]),
        ("America/New_York", "day", ["2026-03-28"]),
        ("UTC", "hour", ["2026-03-29 00:00:00", "2026-03-29 01:00:00"]),
    ],
)
async def test_buckets_of_a_zone(zone: str, bucket: str, expected: list[str]) -> None:
    times = ("2026-03-29T00:59:59.999Z", "2026-03-29T03:00:00+02:00")
    async with app([task(n, "ann", at=at) for n, at in enumerate(times)]) as rows:
        group = {"field": "at", "bucket": bucket, "timezone": zone}
        found = await Aggregates(ReadDoor(rows)).run(ADMIN, "Task", {"groupBy": [group]})
        assert [row[f"at_{bucket}"] for row in found] == expected


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", None, 1, "europe/berlin; --"])
async def test_a_zone_that_is_none_is_refused(zone: Any) -> None:
    async with app(tasks()) as rows:
        group = {"field": "at", "timezone": zone}
        with pytest.raises(PylonError) as refused:
            await Aggregates(ReadDoor(rows)).run(ADMIN, "Task", {"groupBy": [group]})
        assert (refused.value.status, refused.value.code) == (400, "INVALID_QUERY")


LOG = EntitySpec(
    name="Log",
    fields=(FieldSpec(name="at", type="datetime"), FieldSpec(name="gone", type="datetime")),
    indexes=(IndexSpec(name="by_at", fields=("at",)), IndexSpec(name="by_gone", fields=("gone",))),
)


@pytest.mark.parametrize(
    ("body", "index"),
    [
        ({"$order": {"at": "desc"}}, "Log_by_at"),
        ({"$order": {"at": "asc"}, "$after": {"at": NOON, "id": "1"}}, "Log_by_at"),
        ({"at": {"$gte": NOON}, "$order": {"at": "asc"}}, "Log_by_at"),
        ({"gone": None}, "Log_by_gone"),
        ({"gone": {"$exists": True}, "$order": {"gone": "asc"}}, "Log_by_gone"),
    ],
)
async def test_an_index_has_the_moments(body: Any, index: str) -> None:
    manifest = Manifest(name="a", version="1", entities=(LOG,))
    async with reading(manifest, {"Log": []}) as rows:
        for each in wanted_indexes(LOG):
            sql = f'CREATE INDEX {each.name} ON "Log" ({each.columns})'

            async def make(tx: Any, sql: str = sql) -> None:
                await tx.execute(sql)

            await rows.store.write(make)
        opened = rows.door.open(ADMIN, "Log")
        asked = parse({**body, "$limit": 20}, opened.columns)
        sql, params = select(opened, asked, "t.id", rows_max=20)
        plan = " ".join(
            row[3] for row in await rows.store.read(f"EXPLAIN QUERY PLAN {sql}", params)
        )
        assert index in plan, plan
        assert "$order" not in body or "B-TREE" not in plan, plan
