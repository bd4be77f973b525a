"""Hooks of commits: told in order, at least once, tried again, given up on, and never overrun."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pylon import App, Entity, auth, field, limits
from pylon.changes.feed import Feed
from pylon.clock import SystemClock
from pylon.data.committed import CommitTeller
from pylon.data.outbox import Outbox
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.hooks import Commit, Row, RowTx
from pylon.identity import ADMIN, Identity
from pylon.store.base import Tx
from tests.data.hooked import serving

ANN = Identity(user_id="ann", tenant_id="acme", roles=("boss",), session_id=b"secret")


def notes() -> App:
    app = App("committed")

    class Note(Entity):
        title: str
        ownerId: str | None = field(default=auth.userId)

    class Other(Entity):
        title: str

    app.entity(Note)
    app.entity(Other)
    return app


@asynccontextmanager
async def telling(rows: Rows) -> AsyncIterator[CommitTeller]:
    """A teller at work, as one process has it."""
    teller, stopping = CommitTeller(rows), asyncio.Event()
    Feed(rows.store).subscribe("teller", teller.hear)
    working = asyncio.create_task(teller.run(stopping))
    try:
        yield teller
    finally:
        stopping.set()
        await working


async def until(is_so: object) -> None:
    """Wait until it is so; the test's own bound is the runner's."""
    assert callable(is_so)
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def settled(rows: Rows, teller: CommitTeller) -> None:
    """Wait until nothing waits any more."""
    while await teller.outbox.names():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def test_commits_are_told_in_order_with_all_that_is_known_of_them() -> None:
    app, told = notes(), list[Commit]()

    @app.hooks.committed("Note")
    async def hear(commit: Commit) -> None:
        told.append(commit)

    async with serving(app, clock=SystemClock()) as rows, telling(rows) as teller:
        row = await rows.insert(ANN, "Note", {"title": "a"})
        await rows.insert(ANN, "Other", {"title": "nobody hears"})
        after = await rows.update(ANN, "Note", row["id"], {"title": "b"})
        await rows.delete(ADMIN, "Note", row["id"])
        await until(lambda: len(told) == 3)
        assert [(each.kind, each.before, each.data) for each in told] == [
            ("insert", None, row),
            ("update", row, {"title": "b"}),
            ("delete", after, {}),
        ]
        assert [each.seq for each in told] == [1, 3, 4]
        assert {(each.entity, each.row_id, each.attempt) for each in told} == {
            ("Note", row["id"], 1)
        }
        caller = told[0].identity
        assert (caller.user_id, caller.tenant_id, caller.roles) == ("ann", "acme", ("boss",))
        assert caller.session_id is None, "no secret of the caller's is kept"
        assert told[2].identity.is_admin
        await settled(rows, teller)
        assert sum(teller.told.values()) == 3


async def test_what_is_undone_or_of_no_interest_is_not_told() -> None:
    app, told = notes(), list[str]()

    @app.hooks.committed("Note", kinds=["update"], name="updates")
    async def hear(commit: Commit) -> None:
        told.append(commit.data["title"])

    @app.hooks.after_update("Note")
    async def refuse(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        if row["title"] == "refused":
            raise PylonError(409, "REFUSED", "Not this one.")

    async with serving(app) as rows, telling(rows) as teller:
        row = await rows.insert(ANN, "Note", {"title": "a"})
        with pytest.raises(PylonError):
            await rows.update(ANN, "Note", row["id"], {"title": "refused"})
        assert await teller.outbox.names() == {}
        await rows.update(ANN, "Note", row["id"], {"title": "b"})
        await until(lambda: told)
        assert told == ["b"]


async def test_a_failure_is_tried_again_before_what_follows_and_holds_up_no_other_hook(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_WAIT_SECONDS", 0.01)
    app, tried, heard = notes(), list[tuple[str, int]](), list[str]()

    @app.hooks.committed("Note", name="moody")
    async def moody(commit: Commit) -> None:
        tried.append((commit.data["title"], commit.attempt))
        if commit.data["title"] == "a" and commit.attempt < 3:
            raise RuntimeError("not yet")

    @app.hooks.committed(name="steady")
    async def steady(commit: Commit) -> None:
        heard.append(commit.data["title"])

    async with serving(app, clock=SystemClock()) as rows, telling(rows) as teller:
        await asyncio.gather(*(rows.insert(ANN, "Note", {"title": t}) for t in "ab"))
        await until(lambda: len(tried) == 4 and len(heard) == 2)
        assert tried == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
        assert heard == ["a", "b"]
        assert teller.failures == {"moody": 2, "steady": 0}
        assert "RuntimeError: not yet" in caplog.text


async def test_what_fails_too_often_is_put_with_the_dead(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(limits, "OUTBOX_TRIES_MAX", 3)
    monkeypatch.setattr(limits, "OUTBOX_HOOK_SECONDS_MAX", 0.02)
    app, told = notes(), list[str]()

    @app.hooks.committed("Note", name="mail")
    async def mail(commit: Commit) -> None:
        if commit.data["title"] == "bad":
            raise ValueError("x" * 10_000)
        if commit.data["title"] == "slow":
            await asyncio.sleep(60)
        told.append(commit.data["title"])

    async with serving(app, clock=SystemClock()) as rows, telling(rows) as teller:
        for title in ("bad", "slow", "good"):
            await rows.insert(ANN, "Note", {"title": title})
        await until(lambda: told)
        await settled(rows, teller)
        assert told == ["good"]
        assert teller.dead == {"mail": 2}
        dead = await rows.store.read("SELECT seq, tries, error FROM _pylon_outbox_dead")
        assert [(seq, tries) for seq, tries, _ in dead] == [(1, 3), (2, 3)]
        assert [error[:12] for _, _, error in dead] == ["ValueError: ", "TimeoutError"]
        assert max(len(error) for _, _, error in dead) <= limits.OUTBOX_ERROR_CHARACTERS_MAX
        assert next(r.message for r in caplog.records if r.levelno == logging.ERROR).startswith(
            "hook mail was told of Note"
        )
        monkeypatch.setattr(limits, "OUTBOX_DEAD_MAX", 1)
        await teller.purge()
        assert await teller.outbox.dead() == 1
        monkeypatch.setattr(limits, "OUTBOX_DEAD_SECONDS", -60.0)
        await teller.purge()
        assert await teller.outbox.dead() == 0


async def test_a_hook_that_is_cut_short_is_told_again() -> None:
    app, told, hangs = notes(), list[int](), asyncio.Event()

    @app.hooks.committed("Note")
    async def hear(commit: Commit) -> None:
        told.append(commit.seq)
        if commit.seq == 2 and not hangs.is_set():
            hangs.set()
            await asyncio.sleep(60)

    async with serving(app) as rows:
        for title in "abc":
            await rows.insert(ANN, "Note", {"title": title})
        first = asyncio.create_task(CommitTeller(rows).run(asyncio.Event()))
        await hangs.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        async with telling(rows) as teller:
            await settled(rows, teller)
        assert told == [1, 2, 1, 2, 3], "in order, each at least once"


async def test_a_teller_that_stops_finishes_what_it_has_begun() -> None:
    app, told, goes_on = notes(), list[int](), asyncio.Event()

    @app.hooks.committed("Note")
    async def hear(commit: Commit) -> None:
        await goes_on.wait()
        told.append(commit.seq)

    async with serving(app) as rows:
        teller, stopping = CommitTeller(rows), asyncio.Event()
        working = asyncio.create_task(teller.run(stopping))
        for title in "ab":
            await rows.insert(ANN, "Note", {"title": title})
        teller.hear([], 0)
        Feed(rows.store).subscribe("teller", teller.hear)
        await rows.insert(ANN, "Note", {"title": "c"})
        await asyncio.sleep(0.01)
        stopping.set()
        goes_on.set()
        await working
        assert told == [1]
        assert await teller.outbox.waiting(next(iter(teller.told))) == 2


async def test_what_waits_for_a_hook_that_is_gone_is_kept_for_a_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = notes()

    @app.hooks.committed("Note", name="old")
    async def hear(commit: Commit) -> None:
        """Is told nothing here."""

    async with serving(app) as rows:
        await rows.insert(ANN, "Note", {"title": "a"})
        rows.hooks._committed.clear()
        async with telling(rows) as teller:
            await asyncio.sleep(0.01)
            assert "1 commits wait for the hook old, which is not there" in caplog.text
            await teller.purge()
            assert await teller.outbox.names() == {"old": 1}
            monkeypatch.setattr(limits, "OUTBOX_DEAD_SECONDS", -60.0)
            await teller.purge()
            assert await teller.outbox.names() == {}


async def test_what_is_kept_for_too_long_goes_a_few_rows_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ERASE_UNIT_ROWS", 2)
    monkeypatch.setattr(limits, "OUTBOX_DEAD_MAX", 4)
    put = (
        "INSERT INTO _pylon_outbox"
        " (hook, n, seq, kind, entity, row_id, identity, data, at, tries, due_at)"
        " VALUES ('old', ?, ?, 'insert', 'Note', 'x', '{}', '{}', ?, 0, 0)"
    )
    async with serving(notes()) as rows:
        now = int(rows.clock.now() * 1000)
        old = now - int(limits.OUTBOX_DEAD_SECONDS * 1000)

        async def fill(tx: Tx) -> None:
            for n in range(1, 8):
                await tx.execute(put, (n, n, old - 100 + n if n < 6 else now))
            await tx.execute(
                "INSERT INTO _pylon_outbox_dead SELECT 'dead', n, kind, entity, row_id, identity,"
                " before, data, at, 1, '', at FROM _pylon_outbox"
            )
            await tx.execute(
                "INSERT INTO _pylon_outbox_dead SELECT 'late', n + x, kind, entity, row_id,"
                " identity, before, data, at, 1, '', at + x FROM _pylon_outbox,"
                " (SELECT 10 AS x UNION SELECT 20 UNION SELECT 30 UNION SELECT 40) WHERE n = 7"
            )

        await rows.store.write(fill)
        outbox = CommitTeller(rows).outbox
        assert await outbox.dead() == 11
        await outbox.purge(rows.clock.now(), ())
        assert await rows.store.read("SELECT n FROM _pylon_outbox") == [(6,), (7,)]
        left = await rows.store.read("SELECT hook, seq FROM _pylon_outbox_dead ORDER BY seq")
        assert left == [("late", 17), ("late", 27), ("late", 37), ("late", 47)]


async def test_a_hook_that_is_far_behind_stops_the_writes_that_it_is_to_be_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_ROWS_MAX", 3)
    app = notes()

    @app.hooks.committed("Note", name="behind")
    async def hear(commit: Commit) -> None:
        """Is told nothing here."""

    async with serving(app) as rows:
        for title in "abc":
            await rows.insert(ANN, "Note", {"title": title})
        with pytest.raises(PylonError) as refused:
            await rows.insert(ANN, "Note", {"title": "d"})
        assert (refused.value.status, refused.value.code) == (503, "OVERLOADED")
        await rows.insert(ANN, "Other", {"title": "d"})
        outbox = Outbox(rows.store)
        await outbox.settle("behind", 1)
        await rows.insert(ANN, "Note", {"title": "e"})
        assert [each.data["title"] for each in await outbox.next("behind")] == ["b", "c", "e"]
        await outbox.clear()
        assert await outbox.waiting("behind") == 0


async def test_a_hook_of_commits_writes_in_transactions_of_its_own() -> None:
    app = notes()

    @app.hooks.committed("Note", kinds=["insert"])
    async def answer(commit: Commit) -> None:
        async def work(tx: RowTx) -> Row:
            await tx.update("Note", commit.row_id, {"title": "answered"})
            return await tx.insert("Other", {"title": commit.data["title"]})

        assert (await commit.write(work))["title"] == "a"

    async with serving(app) as rows, telling(rows) as teller:
        row = await rows.insert(ANN, "Note", {"title": "a"})
        await settled(rows, teller)
        assert (await rows.get(ADMIN, "Note", row["id"]))["title"] == "answered"


async def test_work_of_a_hook_of_commits_that_computes_without_end_is_ended() -> None:
    app = notes()
    codes: list[str] = []

    @app.hooks.committed("Note", kinds=["insert"])
    async def spin(commit: Commit) -> None:
        async def work(tx: RowTx) -> None:
            await tx.update("Note", commit.row_id, {"title": "lost"})
            while True:
                pass

        with pytest.raises(PylonError) as failed:
            await commit.write(work)
        codes.append(failed.value.code)

    async with serving(app) as rows, telling(rows) as teller:
        row = await rows.insert(ANN, "Note", {"title": "a"})
        await settled(rows, teller)
        assert codes == ["FN_TIMEOUT"]
        assert (await rows.get(ADMIN, "Note", row["id"]))["title"] == "a"


def test_names_are_said_once() -> None:
    app = notes()

    async def hear(commit: Commit) -> None:
        """A hook."""

    app.hooks.committed("Note")(hear)
    with pytest.raises(ValueError, match="give one a name"):
        app.hooks.committed("Other")(hear)
    app.hooks.committed("Other", name="another")(hear)
    assert len(app.hooks.committed_hooks) == 2
