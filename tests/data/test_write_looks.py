"""What a write asks of other rows: as they stand before it, within bounds, also over a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pylon import limits
from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.hooks import Hooks
from pylon.identity import ADMIN, Identity
from pylon.policy.engine import PolicyEngine
from pylon.schema.parse import parse_manifest
from pylon.store.base import Store, Tx
from pylon.store.sqlite.store import open_store
from tests.slow import SlowStore
from tests.store.sqlite.fresh import fresh_schema

ANN = Identity(user_id="ann")
MEMBER = "exists(Member, teamId == data.teamId && userId == auth.userId)"


def field(name: str) -> dict[str, Any]:
    return {"name": name, "type": "string", "optional": True, "unique": False}


def app(rule: str) -> dict[str, Any]:
    return {
        "manifest_version": 1,
        "name": "looks",
        "version": "1",
        "routes": [],
        "entities": [
            {"name": "Room", "fields": [field("teamId"), field("text")], "indexes": []},
            {"name": "Member", "fields": [field("teamId"), field("userId")], "indexes": []},
        ],
        "policies": [
            {"name": "rooms", "entity": "Room", "allow": rule},
            {"name": "members", "entity": "Member", "allow": "true"},
        ],
    }


@asynccontextmanager
async def looking(rule: str = MEMBER, *, slow: bool = True) -> AsyncIterator[Rows]:
    manifest, problems = parse_manifest(encode(app(rule)))
    assert manifest is not None, problems
    tables = {"changes": LOG_TABLES}
    opened = open_store(None, tables=tables, ddl=fresh_schema(manifest))
    clock = ManualClock()
    store: Store = SlowStore(opened) if slow else opened
    policies = PolicyEngine(manifest, open_by_default=False, read=store.read)
    log = ChangeLog(store, clock, {"Room": ("teamId",)})
    await log.start("rules")
    try:
        yield Rows(
            store=store, log=log, manifest=manifest, policies=policies, hooks=Hooks(), clock=clock
        )
    finally:
        await opened.close()


async def code_of(rows: Rows, work: Any) -> str | None:
    try:
        await rows.write(ANN, work)
    except PylonError as error:
        return error.code
    return None


@pytest.mark.parametrize("slow", [True, False])
async def test_each_write_sees_what_the_unit_has_written_before(slow: bool) -> None:
    async with looking(slow=slow) as rows:

        async def comes_and_goes(tx: Transaction) -> None:
            member = await tx.insert("Member", {"teamId": "red", "userId": "ann"})
            room = await tx.insert("Room", {"teamId": "red"})
            await tx.update("Room", room["id"], {"text": "x"})
            await tx.delete("Member", member["id"])
            with pytest.raises(PylonError, match="Room"):
                await tx.update("Room", room["id"], {"text": "y"})
            with pytest.raises(PylonError):
                await tx.insert("Room", {"teamId": "red"})

        assert await code_of(rows, comes_and_goes) is None
        assert [row["text"] for row in await rows.list(ADMIN, "Room", limit=None, offset=0)] == [
            "x"
        ]


@pytest.mark.parametrize("slow", [True, False])
async def test_both_rows_of_an_update_are_looked_at(slow: bool) -> None:
    async with looking(slow=slow) as rows:
        await rows.insert(ADMIN, "Member", {"teamId": "red", "userId": "ann"})
        red = (await rows.insert(ADMIN, "Room", {"teamId": "red"}))["id"]
        blue = (await rows.insert(ADMIN, "Room", {"teamId": "blue"}))["id"]
        away = await code_of(rows, lambda tx: tx.update("Room", red, {"teamId": "blue"}))
        taken = await code_of(rows, lambda tx: tx.update("Room", blue, {"teamId": "red"}))
        fine = await code_of(rows, lambda tx: tx.update("Room", red, {"text": "x"}))
        gone = await code_of(rows, lambda tx: tx.delete("Room", blue))
        assert (away, taken, fine, gone) == ("POLICY_DENIED", "NOT_FOUND", None, "NOT_FOUND")


async def test_too_many_looks_end_the_unit_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICY_UNIT_LOOKS_MAX", 10)
    async with looking() as rows:
        await rows.insert(ADMIN, "Member", {"teamId": "red", "userId": "ann"})

        async def many(tx: Transaction) -> None:
            for _ in range(11):
                await tx.insert("Room", {"teamId": "red"})

        async def few(tx: Transaction) -> None:
            await tx.insert("Room", {"teamId": "red"})

        found = [*await asyncio.gather(*(code_of(rows, work) for work in (few, many, few)))]
        assert found == [None, "QUERY_TIMEOUT", None]
        assert len(await rows.list(ADMIN, "Room", limit=None, offset=0)) == 2


async def test_a_long_look_ends_the_unit_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing finds a member by this condition but looking at each."""
    rule = f"exists(Member, userId != data.text && !({MEMBER.replace('exists(Member, ', '(')}))"
    async with looking(rule, slow=False) as rows:

        async def fill(tx: Tx) -> None:
            await tx.execute(
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 200000)"
                ' INSERT INTO "Member" (id, "teamId", "userId") SELECT x, ?, ? FROM c',
                ("red", "ann"),
            )

        await rows.store.write(fill)

        async def denied(tx: Transaction) -> None:
            await tx.insert("Room", {"teamId": "red"})

        async def other(tx: Transaction) -> None:
            await tx.insert("Member", {"teamId": "blue", "userId": "bob"})

        for bound in ("POLICY_LOOK_SECONDS_MAX", "POLICY_UNIT_SECONDS_MAX"):
            monkeypatch.setattr(limits, bound, 60.0)
        assert await code_of(rows, denied) == "POLICY_DENIED"
        monkeypatch.setattr(limits, "POLICY_LOOK_SECONDS_MAX", 0.001)
        found = [*await asyncio.gather(*(code_of(rows, work) for work in (other, denied, other)))]
        assert found == [None, "QUERY_TIMEOUT", None]
