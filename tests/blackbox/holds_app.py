"""The app of `test_holds`: a searchable entity with documents, and a rule that asks many rows."""

from typing import Any

from pylon import App, Entity, Json, RichText, auth, data, exists, field, relation, row

app = App("holds")
app.action("publish", input={"title": str, "rank": int | None})
app.policy("publishing", action="publish", allow='input.title != "no"')

IS_LISTED: Any = exists("Listed", row.about == data.title, row.userId == auth.userId)


@app.entity
class Paper(Entity):
    """Searchable, with every kind of document."""

    title: str
    text: str | None
    body: RichText | None
    tags: str | None = field(crdt="list")
    outline: str | None = field(crdt="tree")
    rank: int | None
    kind: str | None
    ownerId: str | None

    class policy:
        allow = True

    class relations:
        sheets = relation("Sheet", field="paperId", many=True)

    class search:
        text = ("title", "text")
        facets = ("kind",)
        sortable = ("rank",)


@app.entity(crdt=False)
class Sheet(Entity):
    """Many, open to all."""

    text: str | None
    rank: int | None
    paperId: str | None

    class policy:
        allow = True

    class relations:
        paper = relation("Paper", field="paperId")


@app.entity(crdt=False)
class Listed(Entity):
    """Many rows and no index for what the rule of `Ruled` asks of them."""

    about: str
    userId: str

    class policy:
        allow = True


@app.entity(crdt=False)
class Ruled(Entity):
    """To be written by whom a row of `Listed` names."""

    title: str

    class policy:
        read = True
        write = IS_LISTED


@app.entity(crdt=False)
class Bag(Entity):
    """Of more JSON than one row may have."""

    a: Json | None
    b: Json | None
    c: Json | None
    d: Json | None
    e: Json | None
    f: Json | None
    g: Json | None
    h: Json | None
    numbers: list[float] | None
    texts: list[str] | None

    class policy:
        allow = True
