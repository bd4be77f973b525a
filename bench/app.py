"""The application under test: one entity behind an owner rule, two that everybody may read.

Started as `pylon start bench/app.py`; `PocketBase` is given the first two as
collections.
"""

from __future__ import annotations

from pylon import App, Entity, Id, User, auth, data, field

app = App("bench")


@app.entity
class Item(Entity):
    """What the REST suites read and write: 10 000 rows, all of the caller."""

    title: str
    done: bool = False
    ownerId: Id[User] | None = field(default=auth.userId)  # noqa: N815 - a wire name

    class policy:  # noqa: N801 - the language's own word
        """An owner's rows are the owner's."""

        read = update = delete = auth.userId == data.ownerId
        insert = auth.userId != None  # noqa: E711 - the policy language's null


@app.entity
class Post(Entity):
    """What the live suite writes: every reader sees every row."""

    title: str

    class policy:  # noqa: N801 - the language's own word
        """Open to read, to write for anybody who is signed in."""

        read = True
        insert = auth.userId != None  # noqa: E711 - the policy language's null
        update = delete = False


@app.entity
class Page(Entity):
    """What the editors of the sync suite write together."""

    body: str = field(default="", crdt="text")

    class policy:  # noqa: N801 - the language's own word
        """Everybody who is signed in writes."""

        read = True
        insert = update = auth.userId != None  # noqa: E711 - the policy language's null
        delete = False
