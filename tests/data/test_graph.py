"""Graph queries: shapes, policies at every level, bounds, and that each is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pylon import limits
from pylon.data.door import ReadDoor
from pylon.data.graph import Graphs
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.store.base import Row, Value
from tests.data.apps import ANN, app, task


async def find(rows: Rows, body: Any, identity: Identity = ANN) -> Any:
    return await Graphs(ReadDoor(rows)).find(identity, body)


async def refused(rows: Rows, body: Any, identity: Identity = ANN) -> str:
    with pytest.raises(PylonError) as caught:
        await find(rows, body, identity)
    return caught.value.code


async def test_levels_have_their_own_filter_order_and_limit() -> None:
    async with app() as rows:
        tasks = {
            "where": {"rank": {"$gt": 0}},
            "order": {"rank": "desc"},
            "limit": 2,
            "offset": 1,
            "include": {"owner": {"include": {"tasks": {"limit": 1}}}},
        }
        body = {"Person": {"order": {"name": "desc"}, "include": {"tasks": tasks}}}
        bob, ann = (await find(rows, body))["Person"]
        assert bob == {"id": "bob", "name": "Bob", "tasks": []}
        assert [each["id"] for each in ann["tasks"]] == ["t4", "t3"]
        assert "secretId" not in ann["tasks"][0]
        owner = ann["tasks"][0]["owner"]
        assert owner["name"] == "Ann"
        assert [each["id"] for each in owner["tasks"]] == ["t1"]


async def test_related_rows_are_under_their_own_policy() -> None:
    async with app() as rows:
        body = {"Person": {"include": {"tasks": True}}}
        ann, bob = (await find(rows, body, Identity()))["Person"]
        assert ann["tasks"] == []
        assert [each["id"] for each in bob["tasks"]] == ["t0"]
        # Nothing of the vault can be seen, which is no reason to refuse the tasks.
        assert "safe" not in (await find(rows, {"Task": {"include": {"safe": {}}}}))["Task"][0]
        assert await refused(rows, {"Task": {}, "Vault": {}}) == "POLICY_DENIED"


async def test_options_of_the_reference_mean_what_they_meant() -> None:
    async with app() as rows:
        where = {"rank": {"$gte": 1}, "$limit": 3, "$order": {"rank": "desc"}}
        found = await find(rows, {"Task": {"where": where, "limit": 2}, "Person": True})
        assert [row["id"] for row in found["Task"]] == ["t5", "t4"]
        assert list(found) == ["Task", "Person"]
        assert await find(rows, {}) == {}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "INVALID_QUERY"),
        ({"Nope": {}}, "ENTITY_NOT_FOUND"),
        ({"Task": 1}, "INVALID_QUERY"),
        ({"Task": {"filter": {}}}, "INVALID_QUERY"),
        ({"Task": {"where": {"nope": 1}}}, "INVALID_COLUMN"),
        ({"Task": {"where": []}}, "INVALID_QUERY"),
        ({"Task": {"after": "t1"}}, "INVALID_QUERY"),
        ({"Task": {"after": {"secretId": "ann"}}}, "INVALID_COLUMN"),
        ({"Task": {"after": {"id": "t1"}, "order": {"rank": "asc"}}}, "INVALID_QUERY"),
        ({"Person": {"include": {"tasks": {"after": {"id": "t1"}}}}}, "INVALID_QUERY"),
        ({"Person": {"include": {"tasks": {"where": {"$after": {"id": "t1"}}}}}}, "INVALID_QUERY"),
        ({"Task": {"order": {"secretId": "asc"}}}, "INVALID_COLUMN"),
        ({"Task": {"limit": -1}}, "INVALID_QUERY"),
        ({"Task": {"include": []}}, "INVALID_QUERY"),
        ({"Task": {"include": {"ownr": {}}}}, "RELATION_NOT_FOUND"),
        ({"Task": {"include": {"owner": {"limit": 1}}}}, "INVALID_QUERY"),
        ({"Task": {"where": {"$order": {"id": "asc"}}, "order": {"id": "asc"}}}, "INVALID_QUERY"),
        ({"Person": {"include": {"hidden": {}}}}, "RELATION_NOT_FOUND"),
    ],
)
async def test_mistakes_are_refused(body: Any, code: str) -> None:
    async with app() as rows:
        assert await refused(rows, body) == code


async def test_a_relation_through_a_private_field_is_for_the_administrator() -> None:
    async with app() as rows:
        found = await find(rows, {"Person": {"include": {"hidden": {}}}}, ADMIN)
        assert [len(person["hidden"]) for person in found["Person"]] == [5, 2]


async def test_pages_go_on_after_a_row() -> None:
    async with app() as rows:
        seen: list[str] = []
        options: dict[str, Any] = {"order": {"rank": "desc"}, "limit": 2, "include": {"owner": {}}}
        while page := (await find(rows, {"Task": options}))["Task"]:
            assert [row["owner"]["id"] for row in page] == [row["ownerId"] for row in page]
            seen += [row["id"] for row in page]
            options["after"] = {"rank": page[-1]["rank"], "id": page[-1]["id"]}
        assert seen == ["t5", "t4", "t3", "t2", "t1", "t0"]
        where = {"$after": {"id": "t4"}}
        assert [r["id"] for r in (await find(rows, {"Task": {"where": where}}))["Task"]] == ["t5"]


async def test_depth_and_breadth_are_bounded() -> None:
    body: Any = {}
    for level in range(limits.GRAPH_DEPTH_MAX):
        body = {"include": {"tasks" if level % 2 else "owner": body}}
    async with app() as rows:
        assert await refused(rows, {"Person": body}) == "INVALID_QUERY"


async def test_an_answer_is_bounded_by_the_rows_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRAPH_ROWS_MAX", 40)
    again: Any = {"owner": {"include": {"tasks": {}}}}
    async with app([task(n, "ann") for n in range(6)]) as rows:
        await find(rows, {"Task": {"include": {"owner": {}}}})
        # Few rows are read, but each of six tasks would show its owner with all six.
        assert await refused(rows, {"Task": {"include": again}}) == "INVALID_QUERY"
    monkeypatch.setattr(limits, "GRAPH_ROWS_MAX", 5)
    async with app([task(n, "ann") for n in range(6)]) as rows:
        assert await refused(rows, {"Task": {}}) == "INVALID_QUERY"
        assert len((await find(rows, {"Task": {"limit": 5}}))["Task"]) == 5


async def test_an_answer_is_bounded_by_the_texts_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_BYTES_MAX", 2_000_000)
    tasks: Any = {"tasks": {}}
    async with app([task(n, "ann", title="x" * 100_000) for n in range(6)]) as rows:
        await find(rows, {"Person": {"include": tasks}})
        # Little is read, but each of six tasks would show its owner with all six.
        again: Any = {"Task": {"include": {"owner": {"include": tasks}}}}
        assert await refused(rows, again) == "ANSWER_TOO_LARGE"
        again["Task"]["limit"] = 2
        await find(rows, again)


async def test_a_graph_is_one_statement() -> None:
    async with app() as rows:
        asked: list[str] = []

        async def fetch(
            sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
        ) -> list[Row]:
            asked.append(sql)
            return await rows.store.read(sql, params)

        graphs = Graphs(ReadDoor(rows, fetch=fetch))
        for limit in (1, 2):
            tasks: Any = {"limit": limit, "include": {"owner": {}}}
            await graphs.find(ANN, {"Person": {"include": {"tasks": tasks}}, "Task": {}})
        assert len(asked) == 2
        assert asked[0] == asked[1]
