"""Keys must name rows that are there: at an insert, an update, in a transaction, a push, an import.

That nothing else can break it is `test_references_random.py`, what a delete does `test_cascade.py`.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pylon import limits
from pylon.calls import DirectCalls
from pylon.data.bulk import Bulk
from pylon.data.imports import Import, ImportUnits, Mode, Report
from pylon.data.references import named_first
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.identity import ADMIN, Identity
from tests.data.references import APP, dangling, unhurried
from tests.sync.test_push import push
from tests.sync.world import World

ANN = Identity(user_id="ann", session_id=b"a" * 32)
ABSENT = "a" * 40


def name(number: int) -> str:
    return f"{number:040x}"


async def refused(work: Any) -> PylonError:
    with pytest.raises(PylonError) as caught:
        await work
    return caught.value


async def new(app: World, entity: str, **data: Any) -> str:
    return str((await app.rows.insert(ANN, entity, data))["id"])


# --- one write -------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [ANN, ADMIN])
async def test_a_key_must_name_a_row(who: Identity) -> None:
    async with unhurried() as app:
        error = await refused(app.rows.insert(who, "Project", {"teamId": ABSENT}))
        assert (error.status, error.code) == (400, "REFERENCE_NOT_FOUND")
        assert error.message == "Project.teamId names a row of Team that is not there."
        team = await new(app, "Team")
        project = await new(app, "Project", teamId=team)
        error = await refused(app.rows.update(who, "Project", project, {"teamId": ABSENT}))
        assert error.code == "REFERENCE_NOT_FOUND"
        await app.rows.update(who, "Project", project, {"teamId": None})
        await app.rows.update(who, "Project", project, {"teamId": team})
        assert app.store.seq == 4


async def test_a_key_that_named_none_before_the_promise_is_left_alone() -> None:
    async with unhurried() as app:
        await app.store.write(
            lambda tx: tx.execute(
                'INSERT INTO "Project" (id, "teamId") VALUES (?, ?)', (name(1), ABSENT)
            )
        )
        row = await app.rows.update(ANN, "Project", name(1), {"title": "t", "teamId": ABSENT})
        assert row["teamId"] == ABSENT
        error = await refused(app.rows.update(ANN, "Project", name(1), {"teamId": name(9)}))
        assert error.code == "REFERENCE_NOT_FOUND"


async def test_a_manifest_that_promises_nothing_behaves_as_before() -> None:
    async with unhurried() as app:
        loose = await new(app, "Loose", taskId=ABSENT)
        task = await new(app, "Task")
        await app.rows.update(ANN, "Loose", loose, {"taskId": task})
        await app.rows.delete(ANN, "Task", task)
        assert (await app.rows.get(ANN, "Loose", loose))["taskId"] == task


async def test_a_row_may_name_itself() -> None:
    async with unhurried() as app:
        assert await new(app, "Task", id=name(1), parentId=name(1)) == name(1)
        await app.rows.delete(ANN, "Task", name(1))
        assert await app.rows.list(ANN, "Task", limit=None, offset=0) == []


async def test_a_key_in_a_text_is_kept_as_the_row_is_called() -> None:
    small = "0190b5f0-1111-7222-8333-44445555666a"
    async with unhurried() as app:
        await new(app, "Person", id=small)
        other = await new(app, "Person", chiefId=small.upper())
        assert (await app.rows.get(ANN, "Person", other))["chiefId"] == small


async def test_a_private_key_is_not_named_to_those_who_may_not_know_it() -> None:
    async with unhurried() as app:

        async def write(tx: Transaction) -> None:
            await tx.insert("Task", {"leadId": ABSENT})

        error = await refused(app.rows.write(ADMIN, write))
        assert "leadId" in error.message
        app.rows.hooks.before_insert("Task")(_lead)
        error = await refused(app.rows.insert(ANN, "Task", {}))
        assert error.code == "REFERENCE_NOT_FOUND"
        assert "leadId" not in error.message


async def _lead(tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row) -> None:
    row["leadId"] = ABSENT


async def test_the_rule_is_asked_first() -> None:
    app_wire = copy.deepcopy(APP)
    app_wire["policies"][1]["allow"] = "data.ownerId == auth.userId"  # type: ignore[index]
    async with unhurried(app_wire) as app:
        error = await refused(app.rows.insert(ANN, "Project", {"teamId": ABSENT}))
        assert error.code == "POLICY_DENIED"


async def test_an_entity_without_promises_asks_nothing_more() -> None:
    async with unhurried() as app:
        for entity, looks in (("Loose", 0), ("Project", 1), ("Person", 0)):
            team = await new(app, "Team")
            asked: list[str] = []
            data = {"teamId": team} if entity == "Project" else {}

            async def write(
                tx: Transaction, data: Any = data, asked: Any = asked, entity: str = entity
            ) -> None:
                fetch = tx.tx.fetch

                async def noting(sql: str, *more: Any, **keys: Any) -> Any:
                    asked.append(sql)
                    return await fetch(sql, *more, **keys)

                watched = Transaction(app.rows, _Noting(tx.tx, noting), ANN)
                await watched.insert(entity, data)

            await app.rows.write(ANN, write)
            assert len(asked) == looks, asked


class _Noting:
    """A transaction whose reads are noted."""

    def __init__(self, tx: Any, fetch: Any) -> None:
        self._tx = tx
        self.fetch = fetch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


# --- one transaction -------------------------------------------------------------------------


def insert(entity: str, **data: Any) -> dict[str, Any]:
    return {"op": "insert", "entity": entity, "data": data}


async def test_a_row_may_come_later_in_its_transaction() -> None:
    async with unhurried() as app:
        bulk = Bulk(app.rows)
        done = await bulk.transact(
            ANN,
            [
                insert("Task", id=name(1), parentId=name(2), projectId=name(3)),
                insert("Task", id=name(2), parentId=name(1)),
                insert("Project", id=name(3)),
            ],
        )
        assert done.failed_at is None, done
        assert await dangling(app.store, app.manifest) == []


async def test_what_does_not_come_fails_its_own_operation() -> None:
    async with unhurried() as app:
        bulk = Bulk(app.rows)
        operations = [
            insert("Team", id=name(1)),
            insert("Project", id=name(2), teamId=name(1)),
            insert("Project", teamId=name(9)),
            insert("Team", id=name(3)),
        ]
        done = await bulk.transact(ANN, operations)
        assert (done.failed_at, len(done.outcomes)) == (2, 3)
        assert done.failure is not None
        assert done.failure.code == "REFERENCE_NOT_FOUND"
        assert app.store.seq == 0


async def test_what_was_overwritten_or_deleted_since_is_no_failure() -> None:
    async with unhurried() as app:
        bulk = Bulk(app.rows)
        done = await bulk.transact(
            ANN,
            [
                insert("Project", id=name(2), teamId=name(9)),
                {"op": "update", "entity": "Project", "id": name(2), "data": {"teamId": None}},
                insert("Project", id=name(3), teamId=name(9)),
                {"op": "delete", "entity": "Project", "id": name(3)},
            ],
        )
        assert done.failed_at is None, done


async def test_operations_of_a_batch_stand_alone() -> None:
    async with unhurried() as app:
        bulk = Bulk(app.rows)
        outcomes = await bulk.batch(
            ANN, [insert("Project", teamId=name(1)), insert("Team", id=name(1))]
        )
        assert [each.error and each.error.code for each in outcomes] == [
            "REFERENCE_NOT_FOUND",
            None,
        ]


# --- a push ----------------------------------------------------------------------------------


def pushed(entity: str, row_id: str, op_id: str | None = None, **data: Any) -> dict[str, Any]:
    return {"entity": entity, "row_id": row_id, "kind": "insert", "data": data, "op_id": op_id}


async def test_a_row_may_come_later_in_its_push() -> None:
    async with unhurried() as app:
        changes = [
            pushed("Task", "_pending_1", "t1", parentId="_pending_2", projectId="_pending_3"),
            pushed("Task", "_pending_2", "t2", projectId="_pending_3"),
            pushed("Project", "_pending_3", "p", teamId=name(4)),
            pushed("Team", name(4), "team"),
        ]
        done = await push(app, ANN, *changes)
        assert (done.applied, done.deduped, done.errors) == (4, 0, [])
        first = await app.rows.get(ANN, "Task", done.ids["_pending_1"])
        assert first["parentId"] == done.ids["_pending_2"]
        assert first["projectId"] == done.ids["_pending_3"]
        assert await dangling(app.store, app.manifest) == []
        again = await push(app, ANN, *changes)
        assert (again.applied, again.deduped, again.errors) == (4, 4, [])
        assert len(await app.rows.list(ANN, "Task", limit=None, offset=0)) == 2


async def test_one_of_another_unit_of_the_push_comes_early() -> None:
    async with unhurried() as app:
        many = [pushed("Team", f"_pending_{n}", f"n{n}") for n in range(limits.PUSH_UNIT_CHANGES)]
        done = await push(
            app,
            ANN,
            pushed("Project", "_pending_p", "p", teamId="_pending_t"),
            *many,
            pushed("Team", "_pending_t", "t"),
        )
        assert (done.applied, done.errors) == (limits.PUSH_UNIT_CHANGES + 2, [])
        assert len(await app.rows.list(ANN, "Team", limit=None, offset=0)) == len(many) + 1


async def test_without_an_op_id_only_its_own_unit_is_looked_through() -> None:
    async with unhurried() as app:
        many = [pushed("Team", f"_pending_{n}") for n in range(limits.PUSH_UNIT_CHANGES)]
        near = [pushed("Project", name(1), teamId=name(2)), pushed("Team", name(2))]
        far = [pushed("Project", name(3), teamId=name(4)), *many, pushed("Team", name(4))]
        assert (await push(app, ANN, *near)).errors == []
        done = await push(app, ANN, *far)
        assert done.applied == 0
        assert "names a row of Team that is not there" in done.errors[0]


async def test_a_change_that_fails_takes_back_what_was_done_early_for_it() -> None:
    async with unhurried() as app:
        done = await push(
            app,
            ANN,
            pushed("Team", "_pending_0", "fine"),
            pushed("Task", "_pending_1", "bad", projectId="_pending_2", teamId=ABSENT),
            pushed("Project", "_pending_2", "p"),
        )
        assert (done.applied, set(done.ids)) == (1, {"_pending_0"})
        assert await app.rows.list(ANN, "Project", limit=None, offset=0) == []
        again = await push(app, ANN, pushed("Project", "_pending_2", "p"))
        assert (again.applied, again.deduped) == (1, 0)


async def test_rows_of_a_push_that_name_one_another_find_no_order() -> None:
    async with unhurried() as app:
        done = await push(
            app,
            ANN,
            pushed("Task", name(1), "a", parentId=name(2)),
            pushed("Task", name(2), "b", parentId=name(1)),
        )
        assert done.applied == 0
        assert len(done.errors) == 1


async def test_a_long_chain_in_the_wrong_order() -> None:
    async with unhurried() as app:
        chain = [
            pushed("Task", name(n), f"o{n}", parentId=name(n - 1) if n else None)
            for n in reversed(range(1500))
        ]
        done = await push(app, ANN, *chain)
        assert (done.applied, done.errors) == (1500, [])


# --- an import -------------------------------------------------------------------------------


async def load(app: World, rows: list[tuple[str, dict[str, Any]]], mode: Mode = "skip") -> Report:
    units = ImportUnits(app.rows)
    work = Import(app.rows, ADMIN, units=units, calls=DirectCalls(), mode=mode)
    for number, (entity, row) in enumerate(rows):
        await work.add(number, entity, row)
    return await work.finish()


@pytest.mark.parametrize("is_backwards", [True, False])
async def test_rows_may_come_in_any_order(is_backwards: bool) -> None:
    async with unhurried() as app:
        count = 3 * limits.IMPORT_UNIT_ROWS
        rows: list[tuple[str, dict[str, Any]]] = [("Team", {"id": name(0)})]
        rows += [("Project", {"id": name(n), "teamId": name(0)}) for n in range(count)]
        rows += [
            ("Task", {"id": name(n), "projectId": name(n), "parentId": name(max(n - 1, 0))})
            for n in range(count)
        ]
        report = await load(app, rows[::-1] if is_backwards else rows)
        assert (report.failed, report.total("inserted")) == (0, len(rows)), report.failures[:3]
        assert await dangling(app.store, app.manifest) == []
        again = await load(app, rows[::-1])
        assert (again.failed, again.total("skipped")) == (0, len(rows))


async def test_what_names_a_row_that_nobody_brings_is_reported_with_what_names_it() -> None:
    async with unhurried() as app:
        report = await load(
            app,
            [
                ("Task", {"id": name(1), "parentId": name(2)}),
                ("Task", {"id": name(2), "parentId": name(3), "projectId": name(7)}),
                ("Project", {"id": name(7)}),
                ("Task", {"id": name(4)}),
            ],
        )
        assert sorted((each.number, each.error.code) for each in report.failures) == [
            (0, "REFERENCE_NOT_FOUND"),
            (1, "REFERENCE_NOT_FOUND"),
        ]
        assert (report.rows, report.failed, report.total("inserted")) == (4, 2, 2)


async def test_rows_that_name_one_another_come_in_together() -> None:
    async with unhurried() as app:
        far = 2 * limits.IMPORT_UNIT_ROWS
        rows: list[tuple[str, dict[str, Any]]] = [
            ("Task", {"id": name(1), "parentId": name(2)}),
            ("Task", {"id": name(5), "parentId": name(1), "blockerId": name(9)}),
            *[("Team", {"id": name(n)}) for n in range(far)],
            ("Task", {"id": name(2), "parentId": name(3)}),
            ("Task", {"id": name(3), "parentId": name(1)}),
        ]
        report = await load(app, rows)
        assert [each.number for each in report.failures] == [1]
        assert len(await app.rows.list(ANN, "Task", limit=None, offset=0)) == 3
        assert await dangling(app.store, app.manifest) == []


async def test_what_has_no_room_to_wait_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMPORT_HELD_BYTES_MAX", 200)
    async with unhurried() as app:
        rows: list[tuple[str, dict[str, Any]]] = [
            *[("Project", {"id": name(n), "teamId": name(0)}) for n in range(9)],
            *[("Person", {"id": name(n)}) for n in range(limits.IMPORT_UNIT_ROWS)],
            ("Team", {"id": name(0)}),
        ]
        assert (await load(app, rows)).failed == 8
        assert (await load(app, rows)).failed == 0


async def test_a_bad_row_costs_those_that_wait_nothing() -> None:
    async with unhurried() as app:
        report = await load(
            app,
            [
                ("Project", {"id": name(1), "teamId": name(2)}),
                ("Team", {"id": name(3), "title": 7}),
                ("Team", {"id": name(2)}),
            ],
        )
        assert [(each.number, each.error.code) for each in report.failures] == [(1, "INVALID_DATA")]


async def test_an_upsert_may_not_leave_a_key_that_names_none() -> None:
    async with unhurried() as app:
        await load(app, [("Project", {"id": name(1)})])
        report = await load(app, [("Project", {"id": name(1), "teamId": name(2)})], "upsert")
        assert report.failures[0].error.code == "REFERENCE_NOT_FOUND"
        rows: list[tuple[str, dict[str, Any]]] = [
            ("Project", {"id": name(1), "teamId": name(2)}),
            ("Team", {"id": name(2)}),
        ]
        assert (await load(app, rows, "upsert")).failed == 0


async def test_what_is_named_is_exported_first() -> None:
    async with unhurried() as app:
        order = named_first(app.manifest)
        assert set(order) == {"Team", "Project", "Task", "Person", "Loose"}
        places = [order.index(each) for each in ("Team", "Project", "Task")]
        assert places == sorted(places)
        assert order.index("Person") < order.index("Task")
