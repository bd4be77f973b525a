"""The app that the tests over sockets serve."""

from pylon import App, Entity, RichText, auth, data, field

app = App("pages")


@app.entity
class Page(Entity):
    """Read and written by its owner, or by all when it has none."""

    title: str | None = field(default=None, unique=True)
    body: RichText | None
    likes: int | None = field(crdt="counter")
    tags: str | None = field(crdt="list")
    steps: str | None = field(crdt="movable-list")
    outline: str | None = field(crdt="tree")
    n: int | None
    done: bool | None
    ownerId: str | None
    secret: str | None = field(private=True)

    class policy:
        allow = (auth.userId == data.ownerId) | (data.ownerId == None)


@app.entity(crdt=False)
class Plain(Entity):
    """A row without documents."""

    text: str | None

    class policy:
        allow = True
