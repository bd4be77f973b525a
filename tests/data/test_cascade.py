"""What a delete takes with it, what it refuses, and in which order, under which bounds."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from pylon import limits
from pylon.changes.model import Change
from pylon.data.bulk import Bulk
from pylon.data.erase import Reset
from pylon.data.subjects import Subjects
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.identity import ADMIN, Identity
from tests.data.references import APP, dangling, unhurried
from tests.data.test_references import ANN, insert, name, new, refused
from tests.sync.replica import Replica
from tests.sync.test_push import push
from tests.sync.world import World

Events = list[tuple[str, str, str]]


async def ids(app: World, entity: str) -> list[str]:
    return [row["id"] for row in await app.rows.list(ADMIN, entity, limit=None, offset=0)]


async def changes_of(app: World, work: Any) -> Events:
    """Kind, entity and id of what the work committed, in order."""
    heard: list[Change] = []

    def hear(messages: Any) -> None:
        heard.extend(each for each in messages if isinstance(each, Change))

    app.store.on_commit(hear)
    await work
    return [(each.kind, each.entity, each.row_id) for each in heard]


async def family(app: World) -> None:
    """Team 1 > project 2 > tasks 3 > 4 > 5; task 6, of no project, is blocked by task 4."""
    await new(app, "Team", id=name(1))
    await new(app, "Project", id=name(2), teamId=name(1))
    await new(app, "Task", id=name(3), projectId=name(2))
    await new(app, "Task", id=name(4), parentId=name(3))
    await new(app, "Task", id=name(5), parentId=name(4), projectId=name(2))
    await new(app, "Task", id=name(6), blockerId=name(4))


async def test_those_that_name_a_row_go_before_it_each_with_its_event() -> None:
    async with unhurried() as app:
        await family(app)
        events = await changes_of(app, app.rows.delete(ANN, "Team", name(1)))
        assert events == [
            ("update", "Task", name(6)),
            ("delete", "Task", name(5)),
            ("delete", "Task", name(4)),
            ("delete", "Task", name(3)),
            ("delete", "Project", name(2)),
            ("delete", "Team", name(1)),
        ]
        assert (await app.rows.get(ANN, "Task", name(6)))["blockerId"] is None
        assert await dangling(app.store, app.manifest) == []


async def test_who_listens_and_who_pulls_hear_of_each() -> None:
    async with unhurried() as app:
        await family(app)
        replica = Replica(ANN)
        await replica.pull(app)
        live = Replica(ANN)
        await live.pull(app)
        await app.hub.join(ANN, live, live.cursor)
        await app.rows.delete(ANN, "Team", name(1))
        await app.settle()
        assert len(live.events) == 6
        for each in (replica, live):
            await each.pull(app)
            await each.equals_truth(app, ("Team", "Project", "Task"))


async def test_a_row_in_the_way_refuses_before_anything_is_done() -> None:
    async with unhurried() as app:
        await family(app)
        await app.rows.update(ANN, "Task", name(6), {"teamId": name(1)})
        head, asked = app.store.seq, []

        async def note(tx: RowTx, who: Identity, entity: str, before: Any, row: Row) -> None:
            asked.append(entity)

        app.rows.hooks.before_delete("Task", "Project")(note)
        error = await refused(app.rows.delete(ANN, "Team", name(1)))
        assert (error.status, error.code) == (409, "ROW_REFERENCED")
        assert "Task.teamId" in error.message
        assert (app.store.seq, asked) == (head, [])
        await app.rows.update(ANN, "Task", name(6), {"teamId": None})
        await app.rows.delete(ANN, "Team", name(1))


async def test_a_row_that_goes_itself_is_in_nobodys_way() -> None:
    """However it is found: by the team it restricts, or by the project it belongs to."""
    async with unhurried() as app:
        await family(app)
        for task in (3, 4, 5):
            await app.rows.update(ANN, "Task", name(task), {"teamId": name(1)})
        await app.rows.delete(ANN, "Team", name(1))
        assert await ids(app, "Task") == [name(6)]


async def test_rows_in_a_circle_go_together() -> None:
    async with unhurried() as app:
        await Bulk(app.rows).transact(
            ANN,
            [insert("Task", id=name(n), parentId=name((n + 1) % 5)) for n in range(5)],
        )
        await app.rows.delete(ANN, "Task", name(3))
        assert await ids(app, "Task") == []


async def test_rows_in_a_circle_that_restrict_one_another_stay() -> None:
    async with unhurried() as app:
        await Bulk(app.rows).transact(
            ANN,
            [insert("Person", id=name(n), chiefId=name((n + 1) % 2)) for n in range(2)],
        )
        assert (await refused(app.rows.delete(ANN, "Person", name(0)))).code == "ROW_REFERENCED"
        await app.rows.update(ANN, "Person", name(0), {"chiefId": name(0)})
        await app.rows.delete(ANN, "Person", name(1))
        await app.rows.delete(ANN, "Person", name(0))  # it names itself only


async def test_a_private_key_in_the_way_is_not_named() -> None:
    app_wire = copy.deepcopy(APP)
    app_wire["entities"][2]["relations"][4]["onDelete"] = "restrict"  # type: ignore[index]
    async with unhurried(app_wire) as app:
        person = await new(app, "Person")
        await app.rows.insert(ADMIN, "Task", {"leadId": person})
        error = await refused(app.rows.delete(ANN, "Person", person))
        assert error.code == "ROW_REFERENCED"
        assert "leadId" not in f"{error.message} {error.hint}"


# --- policies --------------------------------------------------------------------------------


async def test_the_rule_of_the_row_decides_and_those_of_what_follows_do_not() -> None:
    app_wire = copy.deepcopy(APP)
    for policy in app_wire["policies"]:  # type: ignore[attr-defined]
        if policy["entity"] in ("Project", "Task"):
            policy["allow"] = "data.ownerId == auth.userId"
    async with unhurried(app_wire) as app:
        await app.rows.insert(ADMIN, "Team", {"id": name(1)})
        await app.rows.insert(ADMIN, "Project", {"id": name(2), "teamId": name(1)})
        await app.rows.insert(ADMIN, "Task", {"id": name(3), "projectId": name(2)})
        await app.rows.insert(ADMIN, "Task", {"id": name(4), "blockerId": name(3)})
        error = await refused(app.rows.delete(ANN, "Project", name(2)))
        assert error.code == "NOT_FOUND"
        await app.rows.delete(ANN, "Team", name(1))
        assert await ids(app, "Task") == [name(4)]


# --- bounds ----------------------------------------------------------------------------------


async def many_tasks(app: World, count: int, **data: Any) -> None:
    async def write(tx: Transaction) -> None:
        for _ in range(count):
            await tx.insert("Task", data)

    for _ in range(0, count, 500):
        count = min(count, 500)
        await app.rows.write(ANN, write)


@pytest.mark.parametrize("key", ["parentId", "blockerId"])
async def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", 10)
    async with unhurried() as app:
        root = await new(app, "Task")
        await many_tasks(app, 10, **{key: root})
        last = await new(app, "Task", **{key: root})
        head = app.store.seq
        error = await refused(app.rows.delete(ANN, "Task", root))
        assert (error.status, error.code) == (413, "CASCADE_TOO_LARGE")
        assert app.store.seq == head
        await app.rows.delete(ANN, "Task", last)
        await app.rows.delete(ANN, "Task", root)
        assert await dangling(app.store, app.manifest) == []


async def test_the_bound_is_that_of_the_whole_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", 10)
    async with unhurried() as app:
        roots = [await new(app, "Task") for _ in range(3)]
        for root in roots:
            await many_tasks(app, 6, parentId=root)
        deletes = [{"op": "delete", "entity": "Task", "id": root} for root in roots]
        done = await Bulk(app.rows).transact(ANN, deletes)
        assert done.failed_at == 1
        assert done.failure is not None
        assert done.failure.code == "CASCADE_TOO_LARGE"
        # A push goes on in a unit of its own.
        changes = [{"entity": "Task", "row_id": root, "kind": "delete"} for root in roots]
        pushed = await push(app, ANN, *changes)
        assert (pushed.applied, pushed.errors) == (3, [])
        assert await ids(app, "Task") == []


async def test_others_write_while_a_large_one_goes() -> None:
    """It goes in steps, so the loop is not held; that its unit is bounded is said above."""
    async with unhurried() as app:
        root = await new(app, "Task")
        await many_tasks(app, 2000, parentId=root)
        turns = 0
        deleting = asyncio.ensure_future(app.rows.delete(ANN, "Task", root))
        while not deleting.done():
            await asyncio.sleep(0)
            turns += 1
        await deleting
        assert turns > 5
        assert await ids(app, "Task") == []


# --- hooks -----------------------------------------------------------------------------------


async def test_hooks_run_for_each_as_for_any_delete() -> None:
    async with unhurried() as app:
        await family(app)
        seen: list[tuple[str, str, str | None]] = []

        async def before(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            seen.append(("before", row["id"], who.user_id))

        async def after(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            seen.append(("after", row["id"], who.user_id))

        app.rows.hooks.before_delete("Task")(before)
        app.rows.hooks.after_delete("Task")(after)
        await app.rows.delete(ANN, "Project", name(2))
        assert seen == [
            (when, name(task), "ann") for task in (5, 4, 3) for when in ("before", "after")
        ]


async def test_a_hook_that_refuses_refuses_all_of_it() -> None:
    async with unhurried() as app:
        await family(app)

        async def refuse(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            if row["id"] == name(3):
                raise PylonError(409, "STAYS", "It stays.")

        app.rows.hooks.before_delete("Task")(refuse)
        head = app.store.seq

        async def try_it(tx: Transaction) -> None:
            """Without a savepoint of its own: nothing half done may be left to commit."""
            error = await refused(tx.delete("Team", name(1)))
            assert error.code == "STAYS"

        await app.rows.write(ANN, try_it)
        assert app.store.seq == head
        assert len(await ids(app, "Task")) == 4


async def test_a_hook_cannot_keep_the_key() -> None:
    async with unhurried() as app:
        await family(app)

        async def keep(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            data["blockerId"] = row["blockerId"]
            data["title"] = "unblocked"

        app.rows.hooks.before_update("Task")(keep)
        await app.rows.delete(ANN, "Task", name(4))
        row = await app.rows.get(ANN, "Task", name(6))
        assert (row["blockerId"], row["title"]) == (None, "unblocked")


async def test_rows_that_hooks_write_meanwhile_go_too() -> None:
    async with unhurried() as app:
        await family(app)

        async def replace(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            if row["id"] == name(5):
                await tx.insert("Task", {"id": name(7), "projectId": row["projectId"]})
                await tx.insert("Task", {"id": name(8), "parentId": name(7)})

        app.rows.hooks.after_delete("Task")(replace)
        await app.rows.delete(ANN, "Team", name(1))
        assert await ids(app, "Task") == [name(6)]
        assert await dangling(app.store, app.manifest) == []


async def test_hooks_that_write_without_end_are_refused() -> None:
    async with unhurried() as app:
        await family(app)

        async def again(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            await tx.insert("Task", {"projectId": name(2)})

        app.rows.hooks.after_delete("Task")(again)
        head = app.store.seq
        error = await refused(app.rows.delete(ANN, "Project", name(2)))
        assert (error.code, app.store.seq) == ("HOOKS_TOO_DEEP", head)


async def test_a_hook_may_delete_the_row_itself_meanwhile() -> None:
    """The last child takes its parent with it: which was to go anyway, and goes once."""
    async with unhurried() as app:
        await family(app)

        async def last_one(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            if row["projectId"] and await tx.get("Project", row["projectId"]):
                await tx.delete("Project", row["projectId"])

        app.rows.hooks.after_delete("Task")(last_one)
        events = await changes_of(app, app.rows.delete(ANN, "Team", name(1)))
        assert len(events) == len(set(events)) == 6


async def test_what_hooks_changed_in_the_row_is_what_is_told_to_go() -> None:
    async with unhurried() as app:
        await family(app)

        async def count(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            await tx.update("Project", name(2), {"title": "fewer"})

        app.rows.hooks.after_delete("Task")(count)
        befores: list[Any] = []
        app.store.on_commit(
            lambda told: befores.extend(
                each.before for each in told if isinstance(each, Change) and each.kind == "delete"
            )
        )
        await app.rows.delete(ANN, "Project", name(2))
        assert befores[-1]["title"] == "fewer"


async def test_a_before_hook_whose_row_would_go_is_told_so() -> None:
    async with unhurried() as app:
        await family(app)

        async def up(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            if row["id"] == name(3):
                await tx.delete("Project", name(2))

        app.rows.hooks.before_delete("Task")(up)
        error = await refused(app.rows.delete(ANN, "Task", name(3)))
        assert error.code == "HOOK_WROTE_ITS_ROW"


# --- a push, a reset, a person ---------------------------------------------------------------


async def test_a_push_may_delete_what_has_gone_with_its_parent() -> None:
    async with unhurried() as app:
        await family(app)
        done = await push(
            app,
            ANN,
            {"entity": "Project", "row_id": name(2), "kind": "delete"},
            {"entity": "Task", "row_id": name(3), "kind": "delete"},
            {"entity": "Task", "row_id": name(5), "kind": "delete"},
        )
        assert (done.applied, done.errors) == (3, [])
        again = await push(app, ANN, {"entity": "Task", "row_id": name(5), "kind": "delete"})
        assert again.applied == 0


async def test_a_reset_asks_nobody() -> None:
    async with unhurried() as app:
        await family(app)
        await app.rows.update(ANN, "Task", name(6), {"teamId": name(1)})
        await new(app, "Person", id=name(1), chiefId=name(1))
        await new(app, "Person", id=name(2), chiefId=name(1))
        done = await Reset(app.rows, ["Team", "Project", "Task", "Person"])()
        assert done.errors == []
        for entity in ("Team", "Project", "Task", "Person"):
            assert await ids(app, entity) == []


def subjects(app: World) -> Subjects:
    return Subjects(app.rows, app.manifest, erases={}, exports={})


async def test_a_person_goes_with_what_follows_and_each_is_counted() -> None:
    async with unhurried() as app:
        await family(app)
        await app.rows.update(ANN, "Team", name(1), {"ownerId": "eve"})
        done = await subjects(app).purge("eve")
        assert (done.rows_deleted, done.errors) == (5, [])
        assert await ids(app, "Task") == [name(6)]


async def test_what_was_in_the_way_of_a_persons_row_may_go_after_it() -> None:
    """Rows of a team stand before those of its tasks, which restrict it."""
    async with unhurried() as app:
        await new(app, "Team", id=name(1), ownerId="eve")
        await new(app, "Task", id=name(2), teamId=name(1), ownerId="eve")
        await new(app, "Team", id=name(3), ownerId="eve")
        await new(app, "Task", id=name(4), teamId=name(3), ownerId="bob")
        done = await subjects(app).purge("eve")
        assert done.rows_deleted == 2
        assert len(done.errors) == 1
        assert done.errors[0].startswith(f"Team {name(3)}: ")
        assert await ids(app, "Team") == [name(3)]


async def test_a_persons_row_with_very_many_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", 10)
    monkeypatch.setattr(limits, "ERASE_UNIT_ROWS", 7)
    async with unhurried() as app:
        await family(app)
        await app.rows.update(ANN, "Team", name(1), {"ownerId": "eve"})
        await many_tasks(app, 25, parentId=name(4))
        await many_tasks(app, 25, blockerId=name(4))
        for number in range(60, 90):
            await new(app, "Task", id=name(number), parentId=name(max(number - 1, 60)))
        await app.rows.update(ANN, "Task", name(60), {"projectId": name(2)})
        done = await subjects(app).purge("eve")
        assert done.errors == []
        assert done.rows_deleted == 5 + 25 + 30
        assert len(await ids(app, "Task")) == 26
        assert await dangling(app.store, app.manifest) == []


async def test_a_person_whose_rows_hooks_bring_back_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", 3)
    monkeypatch.setattr(limits, "ERASE_UNIT_ROWS", 2)
    async with unhurried() as app:
        await new(app, "Project", id=name(1), ownerId="eve")
        await many_tasks(app, 5, projectId=name(1))

        async def again(tx: RowTx, who: Identity, entity: str, row: Any, data: Row) -> None:
            await tx.insert("Task", {"projectId": name(1)})

        app.rows.hooks.after_delete("Task")(again)
        assert (await refused(subjects(app).purge("eve"))).code == "HOOKS_TOO_DEEP"


# --- at the same time ------------------------------------------------------------------------


async def test_a_row_that_is_named_while_it_is_deleted() -> None:
    async with unhurried() as app:
        for _ in range(20):
            team = await new(app, "Team")
            work = [app.rows.insert(ANN, "Project", {"teamId": team}) for _ in range(6)]
            work.insert(3, app.rows.delete(ANN, "Team", team))  # type: ignore[arg-type]
            done = await asyncio.gather(*work, return_exceptions=True)
            late = [each for each in done if isinstance(each, PylonError)]
            assert [each.code for each in late] == ["REFERENCE_NOT_FOUND"] * 3
            assert await dangling(app.store, app.manifest) == []
