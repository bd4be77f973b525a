"""Queries and lookups: order, pages, bounds, and what a caller may not name."""

from __future__ import annotations

from typing import Any

import pytest

from pylon import limits
from pylon.codec import decode
from pylon.data.door import ReadDoor
from pylon.data.query import Queries
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from tests.data.apps import ANN, TASKS, app, task


async def ids(rows: Rows, body: Any, identity: Identity = ANN) -> list[str]:
    return [row["id"] for row in await Queries(ReadDoor(rows)).find(identity, "Task", body)]


async def refused(rows: Rows, entity: str, body: Any, identity: Identity = ANN) -> PylonError:
    with pytest.raises(PylonError) as caught:
        await Queries(ReadDoor(rows)).find(identity, entity, body)
    return caught.value


async def test_rows_are_those_that_the_reader_may_see() -> None:
    async with app() as rows:
        assert await ids(rows, {}) == ["t0", "t1", "t2", "t3", "t4", "t5"]
        assert await ids(rows, {}, Identity()) == ["t0"]
        assert await ids(rows, {}, ADMIN) == [row["id"] for row in TASKS]
        assert (await refused(rows, "Vault", {})).code == "POLICY_DENIED"
        assert (await refused(rows, "Nope", {})).code == "ENTITY_NOT_FOUND"


async def test_order_is_that_of_the_document_and_ends_with_the_id() -> None:
    tasks = [task(n, "ann", rank=n % 2, score=n // 2) for n in range(6)]
    async with app(tasks) as rows:
        order = {"rank": "desc", "score": "asc"}
        assert await ids(rows, {"$order": order}) == ["t1", "t3", "t5", "t0", "t2", "t4"]
        order = {"score": "asc", "rank": "desc"}
        assert await ids(rows, {"$order": order}) == ["t1", "t0", "t3", "t2", "t5", "t4"]
        # Ties follow the direction of the last field, so an order reversed is the reverse.
        assert await ids(rows, {"$order": {"rank": "desc"}}) == ["t5", "t3", "t1", "t4", "t2", "t0"]


async def test_pages_after_a_row_stay_right_while_rows_come_and_go() -> None:
    tasks = [task(n, "ann", rank=n // 3 or None) for n in range(1, 9)]
    async with app(tasks) as rows:
        queries = Queries(ReadDoor(rows))
        for order in ({"rank": "asc"}, {"rank": "desc"}, {"rank": "desc", "id": "asc"}):
            seen: list[str] = []
            last: dict[str, Any] | None = None
            wanted = await ids(rows, {"$order": order})
            made = []
            while True:
                body: dict[str, Any] = {"$order": order, "$limit": 2}
                page = await queries.find(
                    ANN, "Task", body if last is None else body | {"$after": last}
                )
                seen += [row["id"] for row in page]
                if len(page) < 2:
                    break
                last = page[-1]
                del last["title"]  # only the fields of the order and the id are needed
                # A row ahead of the page, where `$offset` would show the last one twice.
                at = {"rank": None} if order["rank"] == "asc" else {"rank": 99}
                new = await rows.insert(ADMIN, "Task", {"ownerId": "ann", **at})
                made.append(new["id"])
            for row_id in made:
                await rows.delete(ADMIN, "Task", row_id)
            assert [row_id for row_id in seen if row_id not in made] == wanted


async def test_after_needs_the_fields_of_the_order() -> None:
    async with app() as rows:
        error = await refused(rows, "Task", {"$order": {"rank": "asc"}, "$after": {"id": "t1"}})
        assert error.code == "INVALID_QUERY"
        assert "rank, id" in error.message


async def test_private_fields_are_as_if_they_were_not_there() -> None:
    async with app() as rows:
        for body in (
            {"secretId": "ann"},
            {"secretId": {"$exists": True}},
            {"$order": {"secretId": "asc"}},
            {"$or": [{"$not": {"secretId": None}}]},
            {"$after": {"id": "x", "secretId": "x"}},
        ):
            hidden = await refused(rows, "Task", body)
            absent = await refused(rows, "Task", decode(str(body).replace("secretId", "secretIx")
                .replace("'", '"').replace("True", "true").replace("None", "null")))  # fmt: skip
            assert hidden.code == absent.code == "INVALID_COLUMN"
            assert hidden.message.replace("secretId", "secretIx") == absent.message
            assert hidden.hint == absent.hint
        with pytest.raises(PylonError, match="has no field"):
            await Queries(ReadDoor(rows)).lookup(ANN, "Person", "secret", "s")
        assert await ids(rows, {"secretId": "bob"}, ADMIN) == ["t0", "t6"]


async def test_an_answer_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUERY_ROWS_MAX", 3)
    async with app() as rows:
        assert len(await ids(rows, {"$limit": 3})) == 3
        for body in ({}, {"$limit": 4}, {"$limit": 2**63 - 1}):
            assert (await refused(rows, "Task", body)).code == "INVALID_QUERY"


async def test_a_lookup_reads_the_text_as_the_fields_kind() -> None:
    async with app() as rows:
        queries = Queries(ReadDoor(rows))
        for field, text, row_id in (
            ("id", "t2", "t2"),
            ("title", "task 3", "t3"),
            ("rank", "4", "t4"),
            ("score", "2.5", "t5"),
            ("done", "1", "t0"),
            ("done", "false", "t1"),
        ):
            assert (await queries.lookup(ANN, "Task", field, text))["id"] == row_id
        for field, text in (
            ("rank", "x"),
            ("rank", "9" * 30),
            ("score", "1_0"),
            ("score", "nan"),
            ("done", "yes"),
            ("title", "task 6"),
        ):
            with pytest.raises(PylonError) as caught:
                await queries.lookup(ANN, "Task", field, text)
            assert caught.value.code == "NOT_FOUND"


async def test_the_server_reads_inside_its_own_transaction() -> None:
    async with app() as rows:

        async def work(tx: Any) -> list[str]:
            await tx.execute("UPDATE Task SET rank = 77 WHERE id = 't6'")
            door = ReadDoor(rows, fetch=tx.fetch, trusted=True)
            return [row["id"] for row in await Queries(door).find(ANN, "Task", {"rank": 77})]

        assert await rows.store.write(work) == ["t6"]


async def test_long_texts_are_looked_for_as_short_ones_are() -> None:
    tasks = [task(1, "ann", title=f"é{'Ab%' * 60}"), task(2, "ann", title="Ab%" * 20)]
    async with app(tasks) as rows:
        queries = Queries(ReadDoor(rows))
        for times in (5, 50):
            found = await queries.find(ANN, "Task", {"title": {"$like": r"aB\%" * times}})
            assert [row["id"] for row in found] == (["t1", "t2"] if times == 5 else ["t1"])
            assert await queries.find(ANN, "Task", {"title": {"$like": r"aB\_" * times}}) == []
