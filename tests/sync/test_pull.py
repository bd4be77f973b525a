"""Events made in SQL are those that `event_json` makes, whatever the values and ids are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.clock import iso_seconds
from pylon.codec import encode
from pylon.data.write import Transaction
from pylon.identity import ADMIN, Identity
from pylon.sync.pull import PullPage
from pylon.wire.events import event_json
from tests.sync.world import World, world

TEXTS = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NOTES = st.fixed_dictionaries({"text": TEXTS, "public": st.none() | st.booleans()})


async def insert(app: World, values: dict[str, Any]) -> str:
    async def unit(tx: Transaction) -> str:
        return str((await tx.insert("Note", values))["id"])

    return await app.rows.write(ADMIN, unit)


async def update(app: World, row_id: str, values: dict[str, Any]) -> None:
    async def unit(tx: Transaction) -> None:
        await tx.update("Note", row_id, values)

    await app.rows.write(ADMIN, unit)


def made_here(app: World, kind: str, rows: dict[int, dict[str, Any]]) -> list[bytes]:
    """Events of these rows, by position."""
    return [
        event_json(
            seq=seq,
            entity="Note",
            row_id=row["id"],
            kind=kind,
            data=encode(row),
            timestamp=iso_seconds(app.clock.now()),
        )
        for seq, row in rows.items()
    ]


@given(st.lists(NOTES, min_size=1, max_size=5), TEXTS)
async def test_events_are_the_same_as_if_made_here(notes: list[Any], text: str | None) -> None:
    async with world() as app:
        ids = [await insert(app, values) for values in notes]
        rows = {seq: await app.rows.get(ADMIN, "Note", row_id) for seq, row_id in enumerate(ids, 1)}
        page = await app.puller.page(ADMIN, 0)
        assert [event for _, event in page.events] == made_here(app, "insert", rows)
        since = app.store.seq
        await update(app, ids[0], {"text": text})
        rows = {since + 1: await app.rows.get(ADMIN, "Note", ids[0])}
        page = await app.puller.page(ADMIN, since)
        assert [event for _, event in page.events] == made_here(app, "update", rows)


async def test_a_first_page_during_which_the_view_changed_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that the pages after it can go on from where the log is whole."""
    ann = Identity(user_id="ann")
    async with world() as app:
        await app.rows.insert(ADMIN, "Room", {"teamId": "red"})
        read = app.puller._log_page

        async def joins_meanwhile(*arguments: Any) -> PullPage:
            page = await read(*arguments)
            monkeypatch.setattr(app.puller, "_log_page", read)
            await app.rows.insert(ADMIN, "Member", {"teamId": "red", "userId": "ann", "n": 3})
            return page

        monkeypatch.setattr(app.puller, "_log_page", joins_meanwhile)
        page = await app.puller.page(ann, 0)
        assert len(page.events) == 2, "the room and the membership"
        assert page.whole_from == await app.log.good_from(ann) > 0
