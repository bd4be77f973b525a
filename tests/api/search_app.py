"""The app that the tests of the search route serve."""

from pylon import App, Entity, auth, data, field

app = App("shop")


@app.entity
class Product(Entity):
    """Readable by all but what is somebody's."""

    name: str | None
    body: str | None
    brand: str | None
    price: float | None
    ownerId: str | None = field(default=auth.userId)
    hidden: bool = False

    class policy:
        read = (data.hidden == False) | (auth.userId == data.ownerId)
        write = True

    class search:
        text = ("name", "body")
        facets = ("brand",)
        sortable = ("price",)


@app.entity
class Diary(Entity):
    """For those signed in."""

    text: str | None
    ownerId: str | None = field(default=auth.userId)

    class policy:
        allow = auth.userId == data.ownerId

    class search:
        text = ("text",)


@app.entity
class Plain(Entity):
    """Not searchable."""

    title: str | None

    class policy:
        allow = True
