"""Hooks in the transaction: what they are given, may change and may refuse, and what stays then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pylon import App, Config, Entity, auth, data, field
from pylon.data.bulk import Bulk
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import ConfigError, PylonError
from pylon.hooks import Hooks, Row, RowTx
from pylon.identity import ADMIN, Identity
from pylon.service import Service
from tests.data.hooked import serving

ANN = Identity(user_id="ann")

Seen = list[tuple[str, Row | None, Row]]


def notes() -> App:
    """Owned notes that clients write, and a journal that nobody but the server may."""
    app = App("hooked")

    class Note(Entity):
        title: str
        n: int = 0
        ownerId: str | None = field(default=auth.userId)
        slug: str | None = field(default=None, readonly=True)
        code: str | None = field(default=None, write_once=True)
        secret: str | None = field(default=None, private=True)

        class policy:
            allow = auth.userId == data.ownerId

    class Journal(Entity):
        what: str
        ownerId: str | None = field(default=auth.userId)

        class policy:
            allow = False

    app.entity(Note)
    app.entity(Journal)
    return app


@asynccontextmanager
async def seeing(app: App, *, when: str) -> AsyncIterator[tuple[Rows, Seen]]:
    """The rows of the app, and what hooks of all kinds before or after are given."""
    seen: Seen = []
    for kind in ("insert", "update", "delete"):

        async def see(
            tx: RowTx,
            identity: Identity,
            entity: str,
            before: Row | None,
            row: Row,
            kind: str = kind,
        ) -> None:
            assert (identity, entity) == (ANN, "Note")
            seen.append((kind, before, row))

        getattr(app.hooks, f"{when}_{kind}")("Note")(see)
    async with serving(app) as rows:
        yield rows, seen


async def code_of(work: Any) -> tuple[int, str]:
    with pytest.raises(PylonError) as refused:
        await work
    return refused.value.status, refused.value.code


async def titles(rows: Rows) -> list[str]:
    return sorted(row["title"] for row in await rows.list(ADMIN, "Note", limit=None, offset=0))


async def journal(rows: Rows) -> list[str]:
    return [row["what"] for row in await rows.list(ADMIN, "Journal", limit=None, offset=0)]


# --- what they are given ---------------------------------------------------------------------


async def test_before_hooks_are_given_what_is_and_what_is_to_be() -> None:
    async with seeing(notes(), when="before") as (rows, seen):
        row = await rows.insert(ANN, "Note", {"title": "a"})
        after = await rows.update(ANN, "Note", row["id"], {"title": "b"})
        await rows.delete(ANN, "Note", row["id"])
        assert seen == [
            ("insert", None, {"title": "a"}),
            ("update", row, {"title": "b"}),
            ("delete", after, {}),
        ]


async def test_after_hooks_are_given_what_was_and_what_was_written() -> None:
    async with seeing(notes(), when="after") as (rows, seen):
        row = await rows.insert(ANN, "Note", {"title": "a"})
        after = await rows.update(ANN, "Note", row["id"], {"title": "b"})
        await rows.delete(ANN, "Note", row["id"])
        assert seen == [
            ("insert", None, row),
            ("update", row, {"title": "b"}),
            ("delete", after, {}),
        ]
        assert row["ownerId"] == "ann"


async def test_hooks_run_in_the_order_of_their_declaration_for_their_entities_only() -> None:
    app, order = notes(), list[str]()

    def named(name: str) -> Any:
        async def hook(tx: RowTx, who: Identity, entity: str, old: Row | None, new: Row) -> None:
            order.append(f"{name} {entity}")

        return hook

    app.hooks.before_insert("Note")(named("first"))
    app.hooks.before_insert.append(named("second"))
    app.hooks.before_insert("Journal", "Note")(named("third"))
    app.hooks.before_insert("Journal")(named("fourth"))
    async with serving(app) as rows:
        await rows.insert(ADMIN, "Note", {"title": "a"})
        assert order == ["first Note", "second Note", "third Note"]
        order.clear()
        await rows.insert(ADMIN, "Journal", {"what": "a"})
        assert order == ["second Journal", "third Journal", "fourth Journal"]


# --- what they may change --------------------------------------------------------------------


async def test_a_before_hook_changes_what_is_written_and_never_the_callers_data() -> None:
    app = notes()

    @app.hooks.before_insert("Note")
    @app.hooks.before_update("Note")
    async def stamp(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        """Sets what no client may: a field for the server only, and a private one."""
        row["title"] = row["title"].upper()
        row["slug"], row["secret"], row["code"] = row["title"].lower(), "s", "c"

    async with serving(app) as rows:
        body = {"title": "a"}
        row = await rows.insert(ANN, "Note", body)
        assert (row["title"], row["slug"], row["secret"], row["code"]) == ("A", "a", "s", "c")
        assert body == {"title": "a"}
        patch = {"title": "b"}
        row = await rows.update(ANN, "Note", row["id"], patch)
        assert (row["title"], row["slug"]) == ("B", "b")
        assert patch == {"title": "b"}
        # What a client sends itself is checked before hooks run.
        assert await code_of(rows.insert(ANN, "Note", {"title": "a", "slug": "mine"})) == (
            400,
            "INVALID_COLUMN",
        )


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("nope", 1, "INVALID_COLUMN"),
        ("n", "many", "INVALID_DATA"),
        ("title", None, "_FAILED"),
        ("ownerId", "bob", "POLICY_DENIED"),
    ],
)
async def test_what_a_before_hook_sets_is_checked_like_anything_else(
    name: str, value: object, code: str
) -> None:
    app = notes()

    @app.hooks.before_insert()
    @app.hooks.before_update()
    async def spoil(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        if identity == ANN:
            row[name] = value

    async with serving(app) as rows:
        status, told = await code_of(rows.insert(ANN, "Note", {"title": "a"}))
        assert status < 500
        assert code in told
        stored = await rows.insert(ADMIN, "Note", {"title": "a", "ownerId": "ann"})
        status, told = await code_of(rows.update(ANN, "Note", stored["id"], {"title": "b"}))
        assert status < 500
        assert code in told
        assert await titles(rows) == ["a"]


async def test_what_a_hook_changes_of_what_is_only_shown_changes_nothing() -> None:
    app = notes()

    @app.hooks.before_update()
    async def scribble(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        assert before is not None
        before.clear()

    @app.hooks.after_insert()
    @app.hooks.after_update()
    async def wipe(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        row.clear()

    async with serving(app) as rows:
        published: list[Any] = []
        rows.store.on_commit(published.extend)
        row = await rows.insert(ANN, "Note", {"title": "a"})
        await rows.update(ANN, "Note", row["id"], {"title": "b"})
        inserted, updated = published
        assert inserted.after == row
        assert updated.before == row
        assert updated.patch == {"title": "b"}


# --- what they may write ---------------------------------------------------------------------


async def test_hooks_write_more_in_the_same_transaction_whatever_policies_say() -> None:
    app = notes()

    @app.hooks.after_insert("Note")
    async def note(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        entry = await tx.insert("Journal", {"what": f"new {row['title']}"})
        assert entry["ownerId"] == "ann", "as the caller"
        if row["title"] == "refused":
            raise PylonError(409, "REFUSED", "Not this one.")

    async with serving(app) as rows:
        assert await code_of(rows.insert(ANN, "Journal", {"what": "x"})) == (403, "POLICY_DENIED")
        await rows.insert(ANN, "Note", {"title": "a"})
        assert await journal(rows) == ["new a"]
        assert await code_of(rows.insert(ANN, "Note", {"title": "refused"})) == (409, "REFUSED")
        assert await journal(rows) == ["new a"]
        assert await titles(rows) == ["a"]


async def test_what_a_hook_writes_fires_hooks_and_circles_end() -> None:
    app = notes()

    @app.hooks.after_insert("Journal")
    async def again(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        if len(row["what"]) < 4 or row["what"].startswith("endless"):
            await tx.insert("Journal", {"what": row["what"] + "!"})

    async with serving(app) as rows:
        await rows.insert(ADMIN, "Journal", {"what": "a"})
        assert sorted(await journal(rows)) == ["a", "a!", "a!!", "a!!!"]
        assert await code_of(rows.insert(ADMIN, "Journal", {"what": "endless"})) == (
            500,
            "HOOKS_TOO_DEEP",
        )
        assert len(await journal(rows)) == 4


async def test_a_before_hook_may_not_write_the_row_it_is_asked_about() -> None:
    app = notes()

    @app.hooks.before_update("Note")
    async def write(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        assert before is not None
        if row.get("n") == 1:
            await tx.update("Note", before["id"], {"title": "changed", "n": 2})

    @app.hooks.after_update("Note")
    async def count(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        assert before is not None
        if row.get("n") == 5:
            await tx.update("Note", before["id"], {"n": 6})

    async with serving(app) as rows:
        row = await rows.insert(ANN, "Note", {"title": "a"})
        assert await code_of(rows.update(ANN, "Note", row["id"], {"n": 1})) == (
            500,
            "HOOK_WROTE_ITS_ROW",
        )
        await rows.update(ANN, "Note", row["id"], {"n": 5})
        assert (await rows.get(ANN, "Note", row["id"]))["n"] == 6, "an after-hook may"


async def test_rows_of_other_tables_are_enlisted() -> None:
    app = notes()

    @app.hooks.after_insert("Note")
    async def enlist(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        assert await tx.enlist("INSERT INTO side (id) VALUES (?)", (row["title"],)) == 1
        if row["title"] == "refused":
            raise PylonError(409, "REFUSED", "Not this one.")

    async with serving(app) as rows:
        await rows.store.write(lambda tx: tx.execute("CREATE TABLE side (id TEXT)"))
        await rows.insert(ANN, "Note", {"title": "a"})
        assert await code_of(rows.insert(ANN, "Note", {"title": "refused"})) == (409, "REFUSED")

        async def joined(tx: Transaction) -> None:
            await tx.insert("Note", {"title": "b"})
            try:
                async with tx.savepoint():
                    await tx.insert("Note", {"title": "c"})
                    raise PylonError(400, "STOP", "stop")
            except PylonError:
                await tx.enlist("INSERT INTO side (id) VALUES ('stopped')")
            assert await tx.tx.fetch("SELECT count(*) FROM side") == [(3,)]

        await rows.write(ANN, joined)
        found = await rows.store.read("SELECT id FROM side ORDER BY rowid")
        assert [name for (name,) in found] == ["a", "b", "stopped"]
        assert await titles(rows) == ["a", "b"]


# --- what they may refuse --------------------------------------------------------------------


async def test_a_refused_write_leaves_nothing_where_its_caller_goes_on() -> None:
    """Bulk routes pass over rows that are not there; that must not hide what a hook did."""
    app = notes()

    @app.hooks.after_update("Note")
    async def refuse(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        raise PylonError(404, "NOT_FOUND", "Something else is not there.")

    async with serving(app) as rows:
        row = await rows.insert(ANN, "Note", {"title": "a"})
        update = {"op": "update", "entity": "Note", "id": row["id"], "data": {"title": "b"}}
        done = await Bulk(rows).transact(ANN, [update])
        assert [each.changed for each in done.outcomes] == [False]
        assert await titles(rows) == ["a"]


async def test_a_hook_that_waits_for_something_else_is_refused() -> None:
    app = notes()

    @app.hooks.before_insert("Note")
    async def sleep(
        tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
    ) -> None:
        await asyncio.sleep(0)

    async with serving(app) as rows:
        assert await code_of(rows.insert(ANN, "Note", {"title": "a"})) == (
            500,
            "MUTATION_AWAITED_IO",
        )


# --- declaring them --------------------------------------------------------------------------


async def nothing(tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row) -> None:
    """A hook that does nothing."""


async def test_hooks_of_what_is_not_there_are_refused_at_the_start() -> None:
    app = notes()
    app.hooks.before_insert("Nota")(nothing)
    service = Service(app.manifest(), Config(in_memory=True, dev_mode=True), hooks=app.hooks)
    with pytest.raises(ConfigError, match="Nota") as refused:
        await service.start()
    assert refused.value.code == "HOOK_UNKNOWN"
    await service.stop()


def test_declarations_are_checked() -> None:
    hooks = Hooks()
    with pytest.raises(ValueError, match="name the fields"):
        hooks.on_read("Note")
    hooks.on_read("Note", "title", "nope")(lambda identity, entity, row: row)
    with pytest.raises(ConfigError, match=r"Note\.nope"):
        hooks.refuse_unknown({"Note": ["title"]})
    assert not hooks.are_any
    hooks.after_delete.append(nothing)
    assert hooks.are_any
