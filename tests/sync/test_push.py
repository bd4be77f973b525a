"""Pushes: in order, once, under policies, up to the first that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pylon import limits
from pylon.codec import decode
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.sync.push import Pushed, read_changes
from tests.sync.replica import Replica
from tests.sync.world import NOTES, World, field, world

ANN = Identity(user_id="ann", session_id=b"a" * 32)
PHONE = Identity(user_id="ann", session_id=b"p" * 32)
BOB = Identity(user_id="bob", session_id=b"b" * 32)
TEMP = "_pending_1_x"
UUID = "0190b5f0-1111-7222-8333-444455556666"


def insert(temp: str = TEMP, op_id: str | None = None, **data: Any) -> dict[str, Any]:
    return {"entity": "Note", "row_id": temp, "kind": "insert", "data": data, "op_id": op_id}


def update(row_id: str, op_id: str | None = None, **data: Any) -> dict[str, Any]:
    return {"entity": "Note", "row_id": row_id, "kind": "update", "data": data, "op_id": op_id}


def delete(row_id: str, op_id: str | None = None) -> dict[str, Any]:
    return {"entity": "Note", "row_id": row_id, "kind": "delete", "op_id": op_id}


async def push(app: World, who: Identity, *changes: dict[str, Any]) -> Pushed:
    return await app.push.push(who, read_changes({"changes": list(changes)}))


async def texts(app: World) -> list[str]:
    return [row["text"] for row in await app.rows.list(ADMIN, "Note", limit=None, offset=0)]


async def settle(app: World) -> None:
    await app.store.write(_nothing)
    await app.settle()


async def _nothing(tx: object) -> None:
    """A unit, to wait for those before it."""


# --- the body --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"changes": None},
        {"changes": {}},
        {"changes": [1]},
        {"changes": [{}]},
        {"changes": [{**insert(), "kind": "upsert"}]},
        {"changes": [{**insert(), "entity": 1}]},
        {"changes": [{**insert(), "row_id": None}]},
        {"changes": [{**insert(), "op_id": 7}]},
        {"changes": [insert(op_id="x" * (limits.OP_ID_CHARACTERS_MAX + 1))]},
        {"changes": [], "client_id": 1},
    ],
)
def test_another_shape_is_invalid_json(body: object) -> None:
    with pytest.raises(PylonError) as refused:
        read_changes(body)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_JSON")


def test_unknown_keys_are_ignored() -> None:
    (change,) = read_changes({"changes": [{**insert(), "more": 1}], "client_id": "c", "x": 2})
    assert (change.entity, change.kind, change.op_id) == ("Note", "insert", None)


# --- order and failures ----------------------------------------------------------------------


def test_no_more_changes_are_looked_at_than_a_push_takes() -> None:
    changes = [delete("x")] * limits.PUSH_CHANGES_MAX
    assert len(read_changes({"changes": [*changes, *changes, []]})) == limits.PUSH_CHANGES_MAX


async def test_changes_are_applied_in_order() -> None:
    async with world() as app:
        done = await push(app, ANN, insert(ownerId="ann", text="a"), update(TEMP, text="b"))
        assert (done.applied, done.deduped, done.errors) == (2, 0, [])
        assert await texts(app) == ["b"]
        await push(app, ANN, delete(TEMP))
        assert await texts(app) == []


async def test_the_first_failure_ends_the_push_and_leaves_nothing_of_itself() -> None:
    async with world() as app:
        head = app.store.seq
        done = await push(
            app,
            ANN,
            insert("_pending_1", ownerId="ann", text="a"),
            insert("_pending_2", ownerId="bob", text="not ours"),
            insert("_pending_3", ownerId="ann", text="c"),
        )
        assert (done.applied, list(done.ids)) == (1, ["_pending_1"])
        assert done.errors == ["insert Note: Access denied by policy"]
        assert await texts(app) == ["a"]
        assert app.store.seq == head + 2, "the delete of the temporary row and the insert"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (update("nope", text="x"), "update Note/nope: No such row in Note."),
        (delete("nope"), "delete Note/nope: No such row in Note."),
        (delete("_pending_unknown"), "delete Note/_pending_unknown: No such row in Note."),
        ({**insert(), "data": None}, "insert Note: The change has no data."),
        ({**update("nope"), "data": None}, "update Note/nope: The change has no data."),
        ({**insert(), "data": [1]}, "insert Note: The data must be a JSON object."),
        (insert(text=7), "insert Note: Note.text must be a string."),
    ],
)
async def test_failures_say_what_and_why(change: dict[str, Any], error: str) -> None:
    async with world() as app:
        done = await push(app, ANN, change)
        assert (done.applied, done.errors, done.ids) == (0, [error], {})
        assert app.store.seq == 0


async def test_an_unknown_entity_fails_like_any_change() -> None:
    async with world() as app:
        done = await push(app, ANN, {**insert(), "entity": "Nothing"})
        assert done.errors == ['insert Nothing: There is no entity "Nothing".']
        assert app.store.seq == 0


async def test_rows_of_others_are_out_of_reach() -> None:
    async with world() as app:
        row = await app.rows.insert(ADMIN, "Note", {"ownerId": "bob", "text": "b"})
        for change in (update(row["id"], text="x"), delete(row["id"])):
            done = await push(app, ANN, change)
            assert done.errors[0].endswith("No such row in Note.")
        done = await push(app, BOB, update(row["id"], ownerId="ann"))
        assert done.errors == [f"update Note/{row['id']}: Access denied by policy"]
        assert await texts(app) == ["b"]


async def test_a_long_push_takes_several_units_and_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUSH_UNIT_CHANGES", 3)
    monkeypatch.setattr(limits, "PUSH_CHANGES_MAX", 8)
    async with world() as app:
        many = [insert(f"_pending_{n}", f"op{n}", ownerId="ann", text=str(n)) for n in range(11)]
        done = await push(app, ANN, *many)
        assert (done.applied, done.errors, len(done.ids)) == (8, [], 8)
        done = await push(app, ANN, *many[8:])
        assert (done.applied, done.deduped) == (3, 0)
        assert await texts(app) == [str(n) for n in range(11)]


# --- once ------------------------------------------------------------------------------------


async def test_an_operation_is_done_once_and_counts_as_applied_again() -> None:
    async with world() as app:
        first = await push(app, ANN, insert(op_id="m1", ownerId="ann", text="a"))
        again = await push(app, ANN, insert(op_id="m1", ownerId="ann", text="a"))
        assert (again.applied, again.deduped, again.errors) == (1, 1, [])
        assert again.ids == first.ids, "who never saw the first answer learns the id now"
        assert await texts(app) == ["a"]


def test_an_empty_operation_id_is_none() -> None:
    change = {"entity": "Note", "row_id": "", "kind": "insert", "data": {}, "op_id": ""}
    assert [each.op_id for each in read_changes({"changes": [change, change]})] == [None, None]


async def test_an_operation_is_scoped_to_its_user() -> None:
    async with world() as app:
        await push(app, ANN, insert(op_id="m1", ownerId="ann", text="a"))
        done = await push(app, BOB, insert(op_id="m1", ownerId="bob", text="b"))
        assert (done.applied, done.deduped) == (1, 0)
        done = await push(app, PHONE, insert(op_id="m1", ownerId="ann", text="c"))
        assert (done.applied, done.deduped) == (1, 1)


async def test_a_failed_operation_may_be_tried_again() -> None:
    async with world() as app:
        change = insert(op_id="m1", ownerId="bob", text="a")
        assert (await push(app, ANN, change)).errors
        change["data"]["ownerId"] = "ann"
        done = await push(app, ANN, change)
        assert (done.applied, done.deduped, done.errors) == (1, 0, [])


async def test_two_tabs_that_push_the_same_queue_at_once() -> None:
    async with world() as app:
        queue = [insert(f"_pending_{n}", f"m{n}", ownerId="ann", text=str(n)) for n in range(5)]
        one, other = await asyncio.gather(push(app, ANN, *queue), push(app, ANN, *queue))
        assert one.applied == other.applied == 5
        assert one.deduped + other.deduped == 5
        assert one.ids == other.ids
        assert len(await texts(app)) == 5


async def test_what_is_remembered_is_forgotten_with_age() -> None:
    async with world() as app:
        await push(app, ANN, insert(op_id="m1", ownerId="ann", text="a"))
        app.clock.advance(limits.PUSH_REMEMBER_SECONDS - 10)
        await app.temporary.purge()
        assert (await push(app, ANN, update(TEMP, "m2", text="b"))).errors == []
        app.clock.advance(20)
        await app.temporary.purge()
        assert (await push(app, ANN, update(TEMP, "m3", text="c"))).errors
        assert (await push(app, ANN, insert(op_id="m1", ownerId="ann"))).deduped == 0
        assert (await push(app, ANN, insert(op_id="m2", ownerId="ann"))).deduped == 1


async def test_of_too_many_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each user, and of all together."""
    monkeypatch.setattr(limits, "PURGE_UNIT_ROWS", 2)
    monkeypatch.setattr(limits, "OP_IDS_PER_USER_MAX", 4)

    async def known() -> list[tuple[Any, ...]]:
        return await app.store.read("SELECT user_id, op_id FROM _pylon_op_ids ORDER BY at, op_id")

    async with world() as app:
        for number in range(9):
            await push(app, ANN, insert(f"_pending_{number}", op_id=f"m{number}", ownerId="ann"))
            app.clock.advance(1)
        await push(app, BOB, insert(op_id="b", ownerId="bob"))
        await app.temporary.purge()
        assert await known() == [*[("ann", f"m{number}") for number in range(5, 9)], ("bob", "b")]
        monkeypatch.setattr(limits, "OP_IDS_MAX", 3)
        await app.temporary.purge()
        assert await known() == [("ann", "m7"), ("ann", "m8"), ("bob", "b")]
        left = await app.store.read("SELECT count(*) FROM _pylon_temporary_rows")
        assert left == [(3,)]


async def test_what_is_kept_of_one_user_can_be_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PURGE_UNIT_ROWS", 2)
    async with world() as app:
        for number in range(5):
            new = insert(f"_pending_{number}", op_id=f"m{number}", ownerId="ann", text="a")
            await push(app, ANN, new)
        assert await app.temporary.erase("bob") == 0
        assert (await push(app, ANN, insert(op_id="m1", ownerId="ann"))).deduped == 1
        assert await app.temporary.erase("ann") == 10
        assert (await push(app, ANN, insert(op_id="m1", ownerId="ann"))).deduped == 0
        assert (await push(app, ANN, update("_pending_3", "u", text="b"))).errors


# --- ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_id", [UUID, "0" * 31 + "1" + "0" * 7 + "a"])
async def test_a_well_formed_id_is_kept(row_id: str) -> None:
    async with world() as app:
        done = await push(app, ANN, insert(row_id, ownerId="ann"))
        assert (done.applied, done.ids) == (1, {})
        assert (await app.rows.get(ANN, "Note", row_id))["id"] == row_id
        assert app.store.seq == 1, "there is no temporary row to forget"
        taken = await push(app, ANN, insert(row_id, ownerId="ann"))
        assert taken.errors == ["insert Note: A row of Note with this id exists."]


async def test_an_id_that_is_neither_is_replaced() -> None:
    async with world() as app:
        done = await push(app, ANN, insert("my own id", ownerId="ann", text="a"))
        assert (done.applied, done.ids) == (1, {})
        (row,) = await app.rows.list(ANN, "Note", limit=None, offset=0)
        assert len(row["id"]) == 40


async def test_a_temporary_id_means_the_row_for_its_user_only() -> None:
    async with world() as app:
        real = (await push(app, ANN, insert(ownerId="ann", text="a"))).ids[TEMP]
        done = await push(app, PHONE, update(TEMP, text="b"))
        assert (done.errors, done.ids) == ([], {TEMP: real})
        assert (await push(app, BOB, update(TEMP, text="c"))).errors
        assert await texts(app) == ["b"]


async def test_references_to_temporary_rows_become_real() -> None:
    entities: Any = NOTES["entities"]
    manifest = {
        **NOTES,
        "entities": [
            *entities,
            {"name": "Reply", "fields": [field("to", "id(Note)")], "indexes": []},
        ],
    }
    async with world(manifest) as app:
        reply = {
            "entity": "Reply",
            "row_id": "_pending_2",
            "kind": "insert",
            "data": {"to": TEMP},
        }
        done = await push(app, ANN, insert(ownerId="ann", text=TEMP), reply)
        (stored,) = await app.rows.list(ADMIN, "Reply", limit=None, offset=0)
        assert stored["to"] == done.ids[TEMP]
        assert await texts(app) == [TEMP], "only references are"


# --- who hears of it -------------------------------------------------------------------------


async def test_only_the_pushing_session_hears_of_the_temporary_row() -> None:
    async with world() as app:
        readers = {name: Replica(who) for name, who in HEARERS.items()}
        for replica in readers.values():
            await replica.pull(app)
            await app.hub.join(replica.identity, replica, replica.cursor)
        real = (await push(app, ANN, insert(ownerId="ann", text="a"))).ids[TEMP]
        await settle(app)
        heard = {
            name: [(e["seq"], e["kind"], e["row_id"]) for e in replica.events]
            for name, replica in readers.items()
        }
        both = [(1, "delete", TEMP), (2, "insert", real)]
        assert heard == {"ann": both, "phone": both[1:], "bob": [], "admin": both[1:]}
        pulled = {
            name: [
                (seq, decode(event)["kind"])
                for seq, event in (await app.puller.page(who, 0)).events
            ]
            for name, who in HEARERS.items()
        }
        own = [(1, "delete"), (2, "insert")]
        assert pulled == {"ann": own, "phone": own[1:], "bob": [], "admin": own[1:]}
        # A socket that joins from before is replayed both, too.
        late = Replica(ANN)
        await app.hub.join(ANN, late, 0)
        assert [event["seq"] for event in late.events] == [1, 2]


HEARERS = {"ann": ANN, "phone": PHONE, "bob": BOB, "admin": ADMIN}


async def test_many_temporary_rows_do_not_make_a_page_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as app:
        many = [insert(f"_pending_{n}", ownerId="ann", text=str(n)) for n in range(25)]
        await push(app, ANN, *many)
        for row in await app.rows.list(ADMIN, "Note", limit=None, offset=0):
            await app.rows.update(ADMIN, "Note", row["id"], {"text": "moved"})
        monkeypatch.setattr(limits, "PULL_ROWS_MAX", 10)
        replica = Replica(ANN)
        replica.rows["Note"] = {f"_pending_{n}": {} for n in range(25)}
        await replica.pull(app)
        await replica.equals_truth(app, ("Note",))
