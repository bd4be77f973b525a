"""The app whose OpenAPI document drives `test_contract`: few entities, every kind of everything.

`Error` has the name of one of the server's own schemas, and `Session` that of an operation. What
may be done with a `Page` is decided by rows of `Member`.
"""

from datetime import datetime
from typing import Any

from pylon import (
    App,
    Entity,
    Id,
    RichText,
    User,
    auth,
    data,
    exists,
    field,
    index,
    now,
    relation,
    row,
)

app = App("contract")
app.action("publish", input={"title": str, "rank": int | None, "at": datetime | None})
app.action("tidy")
app.policy("publishing", action="publish", allow='auth.userId != null && input.title != "no"')
app.policy("tidying", action="tidy", allow="true")

IS_MEMBER: Any = exists("Member", row.orgId == data.orgId, row.userId == auth.userId)


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


@app.entity
class Member(Entity):
    """Seen by those whom it names; written by administrators."""

    orgId: str
    userId: str = field(write_once=True)
    level: int = 0

    class policy:
        read = data.userId == auth.userId

    class indexes:
        by_user = index("userId", "orgId", unique=True)


@app.entity
class Page(Entity):
    """For members of its organisation, and read by whoever is signed in once it is public."""

    orgId: str
    title: str = field(unique=True)
    isPublic: bool = False
    state: str = field(default="draft", readonly=True)

    class policy:
        read = (auth.userId != None) & (IS_MEMBER | (data.isPublic == True))
        write = IS_MEMBER

    class relations:
        members = relation("Member", field="orgId", many=True)

    class search:
        text = ("title",)
        facets = ("orgId", "state", "isPublic")
        sortable = ("title",)
