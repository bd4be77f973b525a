"""The scan of the log: its order, its plan, and what it gives of each change."""

from __future__ import annotations

from typing import Any

from pylon.changes.scan import LogScan, newest_seq
from pylon.codec import decode_trusted
from pylon.identity import ADMIN, Identity
from tests.data.searching import column, manifest_of, searching
from tests.schema.samples import an_entity

NOTE: dict[str, Any] = an_entity(
    "Note", column("ownerId", "id(User)"), column("secret", private=True), crdt=False
)

ANNA, BERT = Identity(user_id="anna"), Identity(user_id="bert")


async def test_a_reader_gets_events_of_rows_seen_and_nothing_of_others() -> None:
    manifest = manifest_of(NOTE, policies={"Note": "data.ownerId == auth.userId"})
    async with searching(manifest) as world:
        store = world.rows.store
        scans = LogScan(store, manifest, world.rows.policies)
        row_id = await world.add("Note", ownerId="anna", secret="s")
        await world.add("Note", ownerId="bert")
        assert await newest_seq(store) == store.seq == 2

        first, second = await scans.since(ANNA, 0).after(0, 10)
        assert (first[0], second[0]) == (1, 2)
        assert first[2] is not None
        assert second[2] is None
        assert first[3:] == (None, None, None, None)
        assert decode_trusted(first[2] + b"}") == {
            "seq": 1,
            "entity": "Note",
            "row_id": row_id,
            "kind": "insert",
            "data": {"id": row_id, "ownerId": "anna"},
        }
        assert [each[0] for each in await scans.since(BERT, 0).after(1, 1)] == [2]
        ((_, _, data, *_),) = await scans.since(ADMIN, 1).after(0, 1)
        assert data is not None
        event = decode_trusted(data + b"}")
        assert event["kind"] == "update"  # born before the cursor of the pull
        assert event["data"]["secret"] == "s"


async def test_a_row_with_earlier_audiences_comes_bare_with_what_decides() -> None:
    manifest = manifest_of(NOTE, policies={"Note": "data.ownerId == auth.userId"})
    async with searching(manifest) as world:
        row_id = await world.add("Note", ownerId="anna")
        await world.rows.store.write(
            lambda tx: tx.execute("UPDATE _pylon_changes SET audiences = '[]'")
        )
        scans = LogScan(world.rows.store, manifest, world.rows.policies)
        ((_, _, data, audiences, *rest),) = await scans.since(ANNA, 0).after(0, 10)
        assert data is not None
        assert decode_trusted(data) == {"id": row_id, "ownerId": "anna"}
        assert (audiences, *rest) == ("[]", "Note", row_id, 1)


async def test_the_log_is_read_in_its_own_order() -> None:
    manifest = manifest_of(NOTE)
    async with searching(manifest) as world:
        scan = LogScan(world.rows.store, manifest, world.rows.policies).since(ADMIN, 0)
        plan = await world.rows.store.read(f"EXPLAIN QUERY PLAN {scan.sql}", (0, 0, 10))
        assert plan[0][3] == "SEARCH c USING INTEGER PRIMARY KEY (rowid>?)"
        assert not any("TEMP B-TREE" in row[3] for row in plan)
