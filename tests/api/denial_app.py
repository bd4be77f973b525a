"""The app of the tests of what a refusal tells."""

from pylon import App, Entity, Id, auth, data, exists, field, relation, row

app = App("denials")


@app.entity
class Member(Entity):
    orgId: str
    userId: str

    class policy:
        allow = True


@app.entity
class Note(Entity):
    """Owned; seen by members of its organisation."""

    title: str
    orgId: str | None
    ownerId: str | None = field(default=auth.userId)
    locked: bool = False
    secret: str | None = field(private=True)
    parentId: Id["Note"] | None

    class policy:
        read = (auth.userId == data.ownerId) | exists(
            "Member", row.orgId == data.orgId, row.userId == auth.userId
        )
        insert = (auth.userId == data.ownerId) & (data.title != "forbidden")
        update = (auth.userId == data.ownerId) & ~data.locked
        delete = auth.has_role("editor")

    class relations:
        parent = relation("Note", field="parentId")

    class search:
        text = ("title",)


@app.entity
class Closed(Entity):
    n: int

    class policy:
        allow = auth.has_role("editor")


@app.entity
class Secret(Entity):
    code: str | None = field(private=True)

    class policy:
        read = True
        insert = True
        update = data.code == "open"


app.action("clear", input={"name": str})
app.policy("clear", action="clear", allow="input.name == auth.userId")
