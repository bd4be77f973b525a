"""The app that the black-box tests serve: every type, and the shapes of policies that differ."""

from datetime import datetime

from pylon import App, Entity, Id, RichText, User, auth, data, field, now

app = App("blackbox")


@app.entity
class Sample(Entity):
    """Every type, nothing required, open to all."""

    text: str | None
    number: int | None
    ratio: float | None
    flag: bool | None
    at: datetime | None
    body: RichText | None
    link: Id["Sample"] | None

    class policy:
        allow = True


@app.entity
class Strict(Entity):
    """Required and unique fields and every kind of default, open to all."""

    name: str = field(unique=True)
    count: int
    done: bool = False
    state: str = "open"
    score: float = 1.5
    ownerId: Id[User] | None = field(default=auth.userId)
    madeAt: datetime = field(default=now)

    class policy:
        allow = True


@app.entity
class Note(Entity):
    """Seen by its owner, and by all when public; `secret` by the administrator only."""

    text: str | None
    ownerId: str | None
    public: bool | None
    secret: str | None = field(private=True)

    class policy:
        read = (auth.userId == data.ownerId) | data.public
        write = auth.userId == data.ownerId


@app.entity
class Mine(Entity):
    """Seen by its owner only, and hopeless for anonymous callers."""

    text: str | None
    ownerId: str | None

    class policy:
        allow = auth.userId == data.ownerId


@app.entity
class Shown(Entity):
    """A rule that looks at the row only."""

    n: int | None
    shown: bool | None

    class policy:
        read = "data.shown == true"
        write = True


@app.entity
class Mark(Entity):
    """Open to all; tests write one and wait for it."""

    n: int | None
    text: str | None

    class policy:
        allow = True


@app.entity
class Undeclared(Entity):
    """Without a policy: closed in production."""

    n: int | None
