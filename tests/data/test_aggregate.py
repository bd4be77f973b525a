"""Aggregates: columns, groups, buckets, the tenant's share, bounds and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from pylon import limits
from pylon.data.aggregate import Aggregates
from pylon.data.door import ReadDoor
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.schema.model import EntitySpec, Manifest
from tests.data.apps import ANN, BOB, app, spec, task
from tests.data.reading import reading

ANN_ANYWHERE = Identity(user_id="ann")


async def run(rows: Rows, body: Any, identity: Identity = ANN_ANYWHERE) -> list[dict[str, Any]]:
    return await Aggregates(ReadDoor(rows)).run(identity, "Task", body)


async def test_columns_come_in_order_groups_first() -> None:
    body = {
        "max": ["at"],
        "min": ["done"],
        "avg": ["rank"],
        "sum": ["rank", "score", "done"],
        "countDistinct": ["orgId"],
        "count": "*",
        "groupBy": ["done", {"field": "at", "bucket": "month"}],
    }
    async with app() as rows:
        assert [list(row.items()) for row in await run(rows, body)] == [
            [
                ("done", done),
                ("at_month", "2026-01"),
                ("count", 3),
                ("count_distinct_orgId", 2),
                ("sum_rank", rank),
                ("sum_score", rank / 2),
                ("sum_done", 3 * done),
                ("avg_rank", rank / 3),
                ("min_done", done),
                ("max_at", at),
            ]
            for done, rank, at in (
                (False, 9, "2026-01-06T12:00:00Z"),
                (True, 6, "2026-01-05T12:00:00Z"),
            )
        ]


async def test_names_of_columns_may_differ_in_case_alone() -> None:
    manifest = Manifest(
        name="app", version="1", entities=(EntitySpec(name="Task", fields=(spec("Count", "int"),)),)
    )
    stored = {"Task": [{"id": str(n), "Count": n // 3} for n in range(4)]}
    async with reading(manifest, stored) as rows:
        body = {"groupBy": ["Count"], "count": "*", "order": {"count": "asc"}}
        found = [{"Count": 1, "count": 1}, {"Count": 0, "count": 3}]
        assert await run(rows, body) == found
        assert await run(rows, {**body, "having": {"count": {"$gt": 1}}}) == found[1:]
        assert await run(rows, {**body, "having": {"$not": {"Count": 0}}}) == found[:1]


async def test_nothing_to_count() -> None:
    async with app([]) as rows:
        body: dict[str, Any] = {"count": "rank", "sum": ["rank"], "avg": ["rank"], "min": ["done"]}
        assert await run(rows, body) == [
            {"count_rank": 0, "sum_rank": None, "avg_rank": None, "min_done": None}
        ]
        assert await run(rows, {**body, "groupBy": ["done"]}) == []


@pytest.mark.parametrize(
    ("at", "bucket", "expected"),
    [
        ("2026-01-01T03:45:00Z", "hour", "2026-01-01 03:00:00"),
        ("2026-01-01T23:30:00-01:00", None, "2026-01-02"),
        ("2027-01-01", "week", "2026-W53"),
        ("2024-12-30T00:00:00Z", "week", "2025-W01"),
        ("2026-01-01T00:00:00.123Z", "month", "2026-01"),
        ("1767225600", "day", "2026-01-01"),
        ("1767225600Z", "year", "2026"),
        ("now", "year", None),
        ("", "year", None),
        ("Z", "year", None),
        ("12:00", "year", None),
        ("20260131", "day", "2026-01-31"),
        ("20260131T230000-0200", "day", "2026-02-01"),
        ("2026-W05-6T10", "hour", "2026-01-31 10:00:00"),
        ("2026-01-31T23:59:59,999999999Z", "day", "2026-01-31"),
        ("2026-01-31T23:00:00.5-01:00:00.5", "hour", "2026-02-01 00:00:00"),
        ("2026-01-31 23", "hour", "2026-01-31 23:00:00"),
        ("2026-01-31x12:00 +0200", "hour", "2026-01-31 10:00:00"),
        ("2026-01-31T12:00:00+05:30:15", "hour", "2026-01-31 06:00:00"),
        ("17672256001", "year", "2530"),
        ("999999999999999Z", "year", None),
        (None, "year", None),
    ],
)
async def test_buckets(at: str | None, bucket: str | None, expected: str | None) -> None:
    group = {"field": "at"} if bucket is None else {"field": "at", "bucket": bucket}
    async with app([task(0, "ann", at=at)]) as rows:
        found = await run(rows, {"groupBy": [group]})
        assert found == [{f"at_{bucket or 'day'}": expected}]


async def test_a_caller_with_a_tenant_counts_the_tenants_rows_and_no_filter_widens_it() -> None:
    async with app() as rows:
        assert await run(rows, {"count": "*"}) == [{"count": 6}]
        assert await run(rows, {"count": "*"}, ANN) == [{"count": 3}]
        for where in ({"orgId": "other"}, {"$or": [{"orgId": "other"}]}):
            assert await run(rows, {"count": "*", "where": where}, ANN) == [{"count": 0}]
        assert await run(rows, {"count": "*"}, ADMIN) == [{"count": 7}]
        assert await run(rows, {"count": "*"}, BOB) == [{"count": 2}]


async def test_what_is_counted_may_be_searched_for() -> None:
    async with app() as rows:
        assert await run(rows, {"count": "*", "where": {"$search": "task 3"}}) == [{"count": 1}]
        where = {"$search": "task", "rank": {"$gt": 2}}
        assert await run(rows, {"count": "*", "where": where}) == [{"count": 3}]


async def test_groups_are_filtered_ordered_and_cut() -> None:
    tasks = [task(n, "ann", orgId="abc"[n % 3], rank=n) for n in range(8)]
    body: dict[str, Any] = {"count": "*", "sum": ["rank"], "groupBy": ["orgId"]}
    async with app(tasks) as rows:

        async def orgs(**more: Any) -> str:
            return "".join(row["orgId"] for row in await run(rows, {**body, **more}))

        assert await orgs() == "abc"
        assert await orgs(order={"sum_rank": "desc"}) == "bac"
        assert await orgs(order={"count": "asc"}) == "cab"
        assert await orgs(order={"orgId": "desc"}, limit=1, offset=1) == "b"
        assert await orgs(having={"count": {"$gt": 2}, "orgId": {"$ne": "a"}}) == "b"


async def test_a_sum_beyond_64_bits_is_exact(caplog: pytest.LogCaptureFixture) -> None:
    tasks = [task(n, "ann", rank=2**63 - 1, done=n < 2) for n in range(2)] + [task(5, "ann")]
    async with app(tasks) as rows:
        body: dict[str, Any] = {"sum": ["rank"], "groupBy": ["done"]}
        assert await run(rows, body) == [
            {"done": False, "sum_rank": 5},
            {"done": True, "sum_rank": 2**64 - 2},
        ]
        for asked in (
            {"order": {"sum_rank": "asc"}},
            {"having": {"$or": [{"$not": {"sum_rank": {"$gt": 1}}}]}},
        ):
            with pytest.raises(PylonError) as refused:
                await run(rows, {**body, **asked})
            assert (refused.value.status, refused.value.code) == (400, "INVALID_QUERY")
    assert not caplog.records, "nothing has failed"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "INVALID_QUERY"),
        ({}, "INVALID_QUERY"),
        ({"cuont": "*"}, "INVALID_QUERY"),
        ({"sum": "rank"}, "INVALID_QUERY"),
        ({"sum": ["title"]}, "INVALID_QUERY"),
        ({"sum": [1]}, "INVALID_QUERY"),
        ({"count": 1}, "INVALID_QUERY"),
        ({"count": "nope"}, "INVALID_COLUMN"),
        ({"count": "secretId"}, "INVALID_COLUMN"),
        ({"min": ["secretId"]}, "INVALID_COLUMN"),
        ({"countDistinct": ["secretId"]}, "INVALID_COLUMN"),
        ({"groupBy": ["secretId"]}, "INVALID_COLUMN"),
        ({"groupBy": [{"field": "secretId"}]}, "INVALID_COLUMN"),
        ({"groupBy": [{"bucket": "day"}]}, "INVALID_QUERY"),
        ({"groupBy": [{"field": "at", "bucket": "decade"}]}, "INVALID_QUERY"),
        ({"groupBy": [{"field": "at", "by": "day"}]}, "INVALID_QUERY"),
        ({"groupBy": [{"field": "rank"}]}, "INVALID_QUERY"),
        ({"count": "*", "where": []}, "INVALID_QUERY"),
        ({"count": "*", "where": {"secretId": "x"}}, "INVALID_COLUMN"),
        ({"count": "*", "where": {"$limit": 1}}, "INVALID_QUERY"),
        ({"count": "*", "where": {"$search": 1}}, "INVALID_QUERY"),
        ({"count": "*", "having": {"$search": "x"}}, "INVALID_QUERY"),
        ({"count": "*", "having": {"rank": 1}}, "INVALID_COLUMN"),
        ({"count": "*", "having": {"count": {}}}, "INVALID_QUERY"),
        ({"count": "*", "where": {"rank": {}}}, "INVALID_QUERY"),
        ({"count": "*", "order": {"rank": "asc"}}, "INVALID_COLUMN"),
        ({"count": "*", "limit": "1"}, "INVALID_QUERY"),
    ],
)
async def test_mistakes_are_refused(body: Any, code: str) -> None:
    async with app() as rows:
        with pytest.raises(PylonError) as caught:
            await run(rows, body)
        assert (caught.value.status, caught.value.code) == (400, code)


async def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AGGREGATE_GROUPS_MAX", 3)
    async with app() as rows:
        with pytest.raises(PylonError, match="more than 3 groups"):
            await run(rows, {"groupBy": ["rank"]})
        assert len(await run(rows, {"groupBy": ["rank"], "limit": 3})) == 3
