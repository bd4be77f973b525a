"""The app that the tests of query routes serve: people, their tasks, and what nobody may see."""

from pylon import App, Entity, Id, auth, data, field, relation

app = App("queries")


@app.entity
class Person(Entity):
    """Readable by all, but for the secret."""

    name: str | None
    email: str | None = field(unique=True)
    secret: str | None = field(private=True)

    class policy:
        read = True
        write = True

    class relations:
        tasks = relation("Task", field="personId", many=True)


@app.entity
class Task(Entity):
    """Seen by its owner only."""

    title: str | None
    rank: int | None
    done: bool | None
    ownerId: str | None = field(default=auth.userId)
    personId: Id[Person] | None

    class policy:
        allow = auth.userId == data.ownerId

    class relations:
        person = relation("Person", field="personId")


@app.entity
class Sealed(Entity):
    """Closed to all but the administrator."""

    n: int | None

    class policy:
        allow = False
