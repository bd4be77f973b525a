"""The app whose OpenAPI document drives `test_contract`: few entities, every kind of everything.

`Error` has the name of one of the server's own schemas, and `Session` that of an operation.
"""

from datetime import datetime

from pylon import App, Entity, Id, RichText, User, auth, data, field, now, relation

app = App("contract")
app.action("publish", input={"title": str, "rank": int | None, "at": datetime | None})
app.action("tidy")
app.policy("publishing", action="publish", allow='auth.userId != null && input.title != "no"')
app.policy("tidying", action="tidy", allow="true")


@app.entity
class Session(Entity):
    """Every type, optional and required, with and without a default; related and searchable."""

    title: str
    slug: str | None = field(unique=True)
    body: RichText | None
    rank: int
    price: float | None
    isDone: bool = False
    dueAt: datetime | None
    tags: str | None = field(crdt="list")
    outline: str | None = field(crdt="tree")
    ownerId: Id[User] | None = field(default=auth.userId)
    madeAt: datetime = field(default=now)
    secret: str | None = field(private=True)

    class policy:
        read = (auth.userId == data.ownerId) | (data.ownerId == None)
        write = True

    class relations:
        errors = relation("Error", field="sessionId", many=True)

    class search:
        text = ("title", "body")
        facets = ("isDone",)
        sortable = ("rank",)


@app.entity(crdt=False)
class Error(Entity):
    """Open to all, without documents."""

    text: str | None
    sessionId: Id[Session] | None

    class policy:
        allow = True

    class relations:
        session = relation("Session", field="sessionId")
