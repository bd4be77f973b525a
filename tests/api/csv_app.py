"""The app that the tests of CSV serve: every type, and rows that are told apart by their values."""

from datetime import datetime

from pylon import App, Entity, Id, auth, data, field, index

app = App("csv")


@app.entity
class Person(Entity):
    """Told apart by their addresses."""

    email: str | None = field(unique=True, case_insensitive=True)
    name: str
    age: int | None
    score: float | None
    isMember: bool | None
    joinedAt: datetime | None
    friendId: Id["Person"] | None
    team: str = "none"
    secret: str | None = field(private=True)
    ownerId: str | None = field(default=auth.userId)

    class policy:
        read = auth.userId == data.ownerId
        write = True


@app.entity
class Seat(Entity):
    """Told apart by two fields; of those that are free, by one."""

    hall: str
    number: int
    label: str | None

    class policy:
        allow = True

    class indexes:
        by_place = index("hall", "number", unique=True)
        by_label = index("label", unique=True, where="hall = 'a'")
