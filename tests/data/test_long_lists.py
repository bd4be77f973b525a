"""Lists that are read as they are taken: piece by piece, whatever the size of the rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from pylon import limits
from pylon.codec import decode
from pylon.data.context import Context
from pylon.data.door import ReadDoor
from pylon.data.long_lists import LongList
from pylon.data.query import Queries
from pylon.data.rows import Rows
from pylon.identity import ADMIN, Identity
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec
from pylon.store.base import Row, Tx, Value
from tests.data.reading import reading

TEXT = FieldSpec(name="text", type="string", optional=True)
OWNER = FieldSpec(name="owner", type="string", optional=True)
NOTE = EntitySpec(name="Note", fields=(TEXT, OWNER))
ANN = Identity(user_id="ann")
MANIFEST = Manifest(
    name="long",
    version="1",
    entities=(NOTE,),
    policies=(PolicySpec(name="own", entity="Note", allowRead="data.owner == auth.userId"),),
)
PIECE = 10_000


@asynccontextmanager
async def notes(*sizes: int) -> AsyncIterator[Rows]:
    """Notes of Ann with texts of these sizes; every read is a long one, little is made whole."""
    rows = [{"id": f"{n:04}", "text": "x" * size, "owner": "ann"} for n, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "READ_BUDGET_SECONDS", 0.0)
        patch.setattr(limits, "READ_ON_LOOP_STEPS", 1)
        patch.setattr(limits, "ANSWER_BYTES_WHOLE_MAX", 50_000)
        patch.setattr(limits, "ANSWER_PIECE_BYTES", PIECE)
        async with reading(MANIFEST, {"Note": rows}) as made:
            yield made


async def change(rows: Context, sql: str) -> None:
    async def unit(tx: Tx) -> None:
        await tx.execute(sql)

    await rows.store.write(unit)


async def long_list(rows: Rows) -> LongList:
    found = await rows.list_or_long(ANN, "Note", limit=None, offset=0)
    assert isinstance(found, LongList)
    return found


async def test_pieces_follow_the_size_of_the_rows() -> None:
    sizes = [10] * 2_000 + [30_000] * 5 + [200_000] + [10] * 300
    async with notes(*sizes) as rows:
        found = await long_list(rows)
        pieces = [piece async for piece in found.pieces()]
    assert [len(row["text"]) for piece in pieces for row in piece.rows] == sizes
    assert decode(b"[" + b",".join(piece.text for piece in pieces) + b"]") == [
        row for piece in pieces for row in piece.rows
    ]
    assert found.count == len(found) == len(sizes)
    assert max(len(piece.rows) for piece in pieces) <= limits.ANSWER_PIECE_ROWS_MAX
    assert len(pieces) > 10
    small = [len(piece.text) for piece in pieces if len(piece.rows[0]["text"]) == 10]
    assert max(small) <= 4 * PIECE


async def test_a_row_that_is_larger_than_any_piece_comes_alone() -> None:
    huge = 3_000_000
    async with notes(*[huge] * 3, 1, huge) as rows:
        pieces = [piece async for piece in (await long_list(rows)).pieces()]
    assert [[len(row["text"]) for row in piece.rows] for piece in pieces] == [
        [huge],
        [huge],
        [huge],
        [1],
        [huge],
    ]


async def test_what_goes_meanwhile_is_left_out_and_what_changes_is_as_it_is() -> None:
    async with notes(*[1_000] * 100) as rows:
        found = await long_list(rows)
        pieces = aiter(found.pieces())
        first = await anext(pieces)
        assert [row["id"] for row in first.rows] == [f"{n:04}" for n in range(10)]
        await change(rows, "DELETE FROM \"Note\" WHERE id = '0090'")
        await change(rows, "UPDATE \"Note\" SET owner = 'bob' WHERE id = '0091'")
        await change(rows, "UPDATE \"Note\" SET text = 'new' WHERE id IN ('0000', '0092')")
        await change(rows, "INSERT INTO \"Note\" VALUES ('0092a', 'y', 'ann')")
        rest = [row async for piece in pieces for row in piece.rows]
        assert [row["id"] for row in rest] == [
            f"{n:04}" for n in range(10, 100) if n not in (90, 91)
        ]
        assert rest[80]["text"] == "new"
        assert found.count == 98


async def test_a_list_of_which_all_goes_is_empty() -> None:
    async with notes(*[10_000] * 20) as rows:
        found = await long_list(rows)
        await change(rows, 'DELETE FROM "Note"')
        assert [piece async for piece in found.pieces()] == []
        assert found.count == 0


async def test_a_query_keeps_its_order_and_its_bound_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with notes(*range(1_000, 1_100)) as rows:
        queries = Queries(ReadDoor(rows))
        body = {"$order": {"id": "desc"}, "$limit": 90}
        found = await queries.find_json(ANN, "Note", body)
        assert isinstance(found, LongList)
        ids = [row["id"] async for piece in found.pieces() for row in piece.rows]
        assert ids == [f"{n:04}" for n in reversed(range(10, 100))]
        monkeypatch.setattr(limits, "QUERY_ROWS_MAX", 99)
        with pytest.raises(Exception, match="more than 99 rows"):
            await queries.find_json(ANN, "Note", {})


async def test_what_fits_is_made_at_once() -> None:
    async with notes(*[1_000] * 20) as rows:
        assert len(await rows.list_or_long(ANN, "Note", limit=None, offset=0)) == 20
        assert isinstance(await Queries(ReadDoor(rows)).find_json(ANN, "Note", {}), bytes)


@pytest.mark.parametrize("size", [10, 4_000, 30_000, 3_000_000])
async def test_pages_end_early_and_come_to_an_end(size: int) -> None:
    async with notes(*[size] * 12, 1, 1) as rows:
        seen: list[str] = []
        after, has_more = "", True
        while has_more:
            page = await rows.page(ANN, "Note", after=after, limit=10)
            assert page.rows
            assert sum(len(row["text"]) for row in page.rows) <= max(50_000 + 4 * PIECE, size)
            seen += [row["id"] for row in page.rows]
            assert page.next_cursor == seen[-1]
            after, has_more = page.next_cursor, page.has_more
        assert seen == [f"{n:04}" for n in range(14)]


class Purged(ReadDoor):
    """A door whose first ten rows go between the look for ids and that for rows."""

    async def fetch_within(
        self, sql: str, params: Sequence[Value], bytes_max: int | None
    ) -> list[Row]:
        if " IN " in sql:
            await change(self._context, "DELETE FROM \"Note\" WHERE id < '0010'")
        return await super().fetch_within(sql, params, bytes_max)


async def test_a_page_of_which_all_goes_meanwhile_is_not_the_end() -> None:
    async with notes(*[30_000] * 20) as rows:
        page = await Purged(rows).page(ANN, "Note", after="", limit=10)
        assert (page.rows, page.next_cursor, page.has_more) == ([], "0009", True)


async def test_what_is_kept_grows_with_the_rows_not_with_their_size() -> None:
    async with notes(*[20_000] * 50) as rows:
        assert (await long_list(rows)).held_bytes < 50 * 200 + PIECE
        found = await rows.list_or_long(ADMIN, "Note", limit=3, offset=0)
        assert isinstance(found, LongList)
        assert len(found) == 3
