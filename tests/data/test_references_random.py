"""Whatever is written, on whatever path, in whatever order: no row names one that is not there.

Several callers write at once; some fail, some are refused, hooks write in between. After each step
every key is looked at, and every replica that only listens has what the database has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylon import limits
from pylon.data.bulk import Bulk
from pylon.data.operations import Operation
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.identity import Identity
from tests.data.references import all_references, dangling, unhurried
from tests.data.test_cascade import subjects
from tests.data.test_references import ANN, load, name
from tests.sync.replica import Replica
from tests.sync.test_push import push
from tests.sync.world import World

ENTITIES = ("Team", "Project", "Task", "Person")
REFUSALS = {
    "REFERENCE_NOT_FOUND",
    "ROW_REFERENCED",
    "CASCADE_TOO_LARGE",
    "ID_TAKEN",
    "NOT_FOUND",
    "HOOK_WROTE_ITS_ROW",
    "HOOKS_TOO_DEEP",
}

KEYS = {
    "Team": {},
    "Project": {"teamId": "Team"},
    "Task": {"projectId": "Project", "teamId": "Team", "parentId": "Task", "blockerId": "Task"},
    "Person": {"chiefId": "Person"},
}

FAMILY: list[tuple[str, dict[str, Any]]] = [
    ("Team", {"id": name(0)}),
    ("Team", {"id": name(1), "ownerId": "eve"}),
    ("Project", {"id": name(0), "teamId": name(0)}),
    ("Project", {"id": name(1), "teamId": name(1)}),
    ("Task", {"id": name(0), "projectId": name(0)}),
    ("Task", {"id": name(1), "parentId": name(0), "projectId": name(1)}),
    ("Task", {"id": name(2), "parentId": name(1), "blockerId": name(0), "ownerId": "eve"}),
    ("Task", {"id": name(3), "teamId": name(1), "projectId": name(1), "blockerId": name(2)}),
    ("Person", {"id": name(0), "chiefId": name(0)}),
    ("Person", {"id": name(1), "chiefId": name(0), "ownerId": "eve"}),
]
"""What there is at first."""

row_ids = st.integers(0, 4).map(name)


@st.composite
def rows(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    entity = draw(st.sampled_from(ENTITIES))
    keys = {
        key: draw(row_ids if draw(st.booleans()) else st.none())
        for key in KEYS[entity]
        if draw(st.booleans())
    }
    owner = {"ownerId": "eve"} if draw(st.booleans()) else {}
    return entity, {"id": draw(row_ids), **keys, **owner}


@st.composite
def operations(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["insert", "insert", "update", "delete", "delete", "link"]))
    entity, row = draw(rows())
    if kind == "insert":
        return {"op": kind, "entity": entity, "data": row}
    row_id = row.pop("id")
    if kind == "update":
        return {"op": kind, "entity": entity, "id": row_id, "data": row or {"title": "t"}}
    if kind == "delete":
        return {"op": kind, "entity": entity, "id": row_id}
    relation = draw(st.sampled_from(["project", "team", "parent", "blocker"]))
    return {
        "op": kind,
        "entity": "Task",
        "id": row_id,
        "relation": relation,
        "target_id": draw(row_ids),
    }


def change_of(operation: dict[str, Any], *, is_temporary: bool) -> dict[str, Any] | None:
    """The same as a change of a push; ids may be temporary."""
    kind, entity = operation["op"], operation["entity"]
    if kind in ("link", "unlink"):
        return None
    data = dict(operation.get("data", {}))
    row_id = data.pop("id", None) or operation.get("id")

    def called(value: Any) -> Any:
        return f"_pending_{value[-1]}" if is_temporary and value else value

    data = {key: called(value) if key in KEYS[entity] else value for key, value in data.items()}
    return {"entity": entity, "row_id": called(row_id), "kind": kind, "data": data, "op_id": None}


steps = st.one_of(
    st.tuples(st.just("one"), operations()),
    st.tuples(st.just("transact"), st.lists(operations(), min_size=1, max_size=6)),
    st.tuples(st.just("batch"), st.lists(operations(), min_size=1, max_size=6)),
    st.tuples(st.just("push"), st.lists(operations(), min_size=1, max_size=6)),
    st.tuples(st.just("push temporary"), st.lists(operations(), min_size=1, max_size=6)),
    st.tuples(st.just("import"), st.lists(rows(), min_size=1, max_size=8)),
    st.tuples(st.just("upsert"), st.lists(rows(), min_size=1, max_size=8)),
    st.tuples(st.just("together"), st.lists(operations(), min_size=2, max_size=6)),
    st.tuples(st.just("hook's work"), st.lists(operations(), min_size=1, max_size=4)),
    st.tuples(st.just("purge"), st.just("eve")),
)


async def carry_out(app: World, what: str, given: Any) -> None:
    bulk = Bulk(app.rows)
    if what == "one":
        await one(bulk, given)
    elif what == "transact":
        done = await bulk.transact(ANN, given)
        assert done.failure is None or done.failure.code in REFUSALS
    elif what == "batch":
        await bulk.batch(ANN, given)
    elif what in ("push", "push temporary"):
        changes = [change_of(each, is_temporary=what != "push") for each in given]
        await push(app, ANN, *[each for each in changes if each is not None])
    elif what in ("import", "upsert"):
        await load(app, given, "upsert" if what == "upsert" else "skip")
    elif what == "together":
        await asyncio.gather(*[one(bulk, each) for each in given])
    elif what == "hook's work":
        await app.rows.write(ANN, lambda tx: caught(tx, given), trusted=True)
    else:
        await subjects(app).purge(given)


async def one(bulk: Bulk, operation: dict[str, Any]) -> None:
    kind = operation["op"]
    parts = {key: value for key, value in operation.items() if key != "op"}
    await refusable(bulk.single(ANN, Operation(kind=kind, **parts)))


async def refusable(work: Awaitable[Any]) -> None:
    try:
        await work
    except PylonError as error:
        if error.code not in REFUSALS:
            raise


async def caught(tx: Transaction, operations: list[dict[str, Any]]) -> None:
    """Code of an app that goes on after each refusal, without a savepoint of its own."""
    for each in operations:
        with suppress(PylonError):
            if each["op"] == "insert":
                await tx.insert(each["entity"], each["data"])
            elif each["op"] == "update":
                await tx.update(each["entity"], each["id"], each["data"])
            elif each["op"] == "delete":
                await tx.delete(each["entity"], each["id"])


async def restless(tx: RowTx, who: Identity, entity: str, before: Any, data: Row) -> None:
    """An after-hook of deletes that names what has just gone or is about to, as far as it may."""
    for key in ("projectId", "parentId"):
        if before.get(key) is not None:
            with suppress(PylonError):
                await tx.insert("Task", {key: before[key], "title": "from a hook"})
            return


async def check(schedule: list[tuple[str, Any]], *, with_hooks: bool) -> None:
    async with unhurried() as app:
        if with_hooks:
            app.rows.hooks.after_delete("Task")(restless)
        await load(app, FAMILY)
        live = Replica(ANN)
        await live.pull(app)
        await app.hub.join(ANN, live, live.cursor)
        for what, step in schedule:
            await refusable(carry_out(app, what, step))
            assert await dangling(app.store, app.manifest) == [], (what, step)
        await app.settle()
        await live.equals_truth(app, ENTITIES)


@settings(deadline=None)
@given(st.lists(steps, max_size=12), st.booleans())
def test_no_schedule_leaves_a_key_that_names_none(
    schedule: list[tuple[str, Any]], with_hooks: bool
) -> None:
    asyncio.run(check(schedule, with_hooks=with_hooks))


@settings(deadline=None, max_examples=30)
@given(st.lists(steps, max_size=12), st.booleans())
def test_nor_where_everything_is_too_much_for_one_unit(
    schedule: list[tuple[str, Any]], with_hooks: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CASCADE_ROWS_MAX", 2)
        patch.setattr(limits, "ERASE_UNIT_ROWS", 2)
        patch.setattr(limits, "IMPORT_UNIT_ROWS", 2)
        patch.setattr(limits, "PUSH_UNIT_CHANGES", 2)
        asyncio.run(check(schedule, with_hooks=with_hooks))


async def test_the_eye_sees_a_key_that_names_none() -> None:
    async with unhurried() as app:
        assert len(all_references(app.manifest)) == 7
        await app.store.write(
            lambda tx: tx.execute('INSERT INTO "Task" (id, "parentId") VALUES (?, ?)', ("a", "b"))
        )
        assert await dangling(app.store, app.manifest) == ["Task a.parentId = b"]
