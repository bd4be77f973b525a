"""The app that the tests of hooks serve: one hook of each kind, and what they have heard.

In one process the tests look at `fired`; a served app writes what its hook of commits is told to
the file that `HOOKS_TOLD` names, slowly enough to be killed in the midst of it.
"""

import asyncio
import os
from pathlib import Path

from pylon import App, Entity, Id, PylonError, User, auth, field, relation
from pylon.hooks import Commit, RequestView, Row, RowTx, SessionEvent
from pylon.identity import Identity

app = App("hooks")

fired: list[tuple[str, str, str]] = []
"""When, kind and entity of every call of a hook."""


@app.entity
class Note(Entity):
    """What all write paths write."""

    title: str | None
    n: int = 0
    parentId: Id["Note"] | None
    ownerId: Id[User] | None = field(default=auth.userId)

    class policy:
        allow = True

    class relations:
        parent = relation("Note", field="parentId")


@app.entity
class Employee(Entity):
    """Salaries are for the employee and for administrators."""

    name: str
    salary: str | None
    userId: str | None
    secret: str | None = field(private=True)
    noteId: Id[Note] | None

    class policy:
        allow = True

    class relations:
        note = relation("Note", field="noteId")

    class search:
        text = ("name", "salary")
        facets = ("name", "salary")
        sortable = ("name", "salary")


@app.entity
class Payslip(Entity):
    """All that it has is hidden."""

    amount: str

    class policy:
        allow = True

    class search:
        text = ("amount",)


for kind in ("insert", "update", "delete"):
    for when in ("before", "after"):

        async def hear(
            tx: RowTx,
            identity: Identity,
            entity: str,
            before: Row | None,
            row: Row,
            said: tuple[str, str] = (when, kind),
        ) -> None:
            fired.append((*said, entity))

        getattr(app.hooks, f"{when}_{kind}").append(hear)


@app.hooks.before_insert("Note")
async def spin(tx: RowTx, identity: Identity, entity: str, before: Row | None, data: Row) -> None:
    """Never comes to an end with some notes."""
    while data.get("title") == "spin":
        pass


@app.hooks.committed(name="tests.told")
async def told(commit: Commit) -> None:
    fired.append(("committed", commit.kind, commit.entity))
    if "HOOKS_TOLD" in os.environ:
        with Path(os.environ["HOOKS_TOLD"]).open("a") as file:
            file.write(f"{commit.seq} {commit.row_id} {commit.kind}\n")
        await asyncio.sleep(0.002)


@app.hooks.on_read("Employee", "salary")
def salaries(identity: Identity, entity: str, row: Row) -> Row:
    """Only the employee sees the number. What it does to other fields counts for nothing."""
    if row["userId"] != identity.user_id:
        row["salary"] = "hidden" if row["secret"] is None else f"hidden by {row['secret']}"
    row["name"], row["secret"] = "changed", "told"
    return row


@app.hooks.on_read("Payslip", "amount")
def amounts(identity: Identity, entity: str, row: Row) -> Row:
    return {}


async def refuse(request: RequestView) -> None:
    """The app's own rule about requests."""
    if request.header(b"x-refuse-me") is not None and not request.identity.is_admin:
        raise PylonError(418, "TEAPOT", f"{request.method} {request.path} is not for you.")


app.hooks.on_request.append(refuse)


async def hear_session(event: SessionEvent) -> None:
    """Writes what it is told to the file that `HOOKS_SESSIONS` names, and fails with eve."""
    if event.user_id == "eve":
        raise ValueError("eve is here")
    if "HOOKS_SESSIONS" in os.environ:
        who = "a guest" if event.is_guest else event.user_id
        with Path(os.environ["HOOKS_SESSIONS"]).open("a") as file:
            file.write(f"{event.session_id.hex()} {event.kind} {who}\n")


app.hooks.on_session.append(hear_session)
