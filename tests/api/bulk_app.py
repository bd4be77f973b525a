"""The app that the tests of bulk routes serve: owners, relations on either side, a hook."""

from pylon import App, Entity, Id, User, auth, data, field, index, relation
from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.identity import Identity

app = App("bulk")


@app.entity
class Person(Entity):
    """A stand-in for people, readable by all but those that are hidden."""

    name: str | None
    hidden: bool = False

    class policy:
        read = data.hidden == False
        write = True


@app.entity
class Todo(Entity):
    """Owned; others neither see nor change it."""

    title: str
    done: bool | None
    rank: int | None = field(unique=True)
    score: float | None
    ownerId: str | None = field(default=auth.userId)
    personId: Id[Person] | None
    secret: str | None = field(private=True)

    class policy:
        allow = auth.userId == data.ownerId

    class indexes:
        by_owner = index("ownerId")

    class relations:
        person = relation("Person", field="personId")
        comments = relation("Comment", field="todoId", many=True)


@app.entity
class Comment(Entity):
    """Open to all; two ways to name a person."""

    text: str | None
    todoId: Id[Todo] | None
    author_id: str | None
    reviewer: Id[User] | None

    class policy:
        allow = True


async def refuse_sacred(
    tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row
) -> None:
    """Rows of this id can never be deleted."""
    if before is not None and before["id"] == "f" * 40:
        raise PylonError(409, "SACRED", "This row stays.")


async def shout(tx: RowTx, identity: Identity, entity: str, before: Row | None, row: Row) -> None:
    """Shows that hooks run in bulk writes too."""
    if row.get("title") == "shout":
        row["title"] = "SHOUT"


app.hooks.before_delete.append(refuse_sacred)
app.hooks.before_insert.append(shout)
