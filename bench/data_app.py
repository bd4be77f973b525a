"""The application of the data suite: an owner rule, a rule over a relation, sums, and full text.

Started as `pylon start bench/data_app.py`; its rows are made by `worlds`. PocketBase is given the
same collections by `peers.pocketbase_data`.
"""

from __future__ import annotations

from pylon import App, Entity, Id, User, auth, data, exists, index, row

app = App("bench_data")

SIGNED_IN = auth.userId != None  # noqa: E711 - the policy language's null


@app.entity(crdt=False)
class Task(Entity):
    """A row of one of 10 000 owners; ordered by `rank` (indexed) and by `weight` (not)."""

    title: str
    ownerId: Id[User]  # noqa: N815 - a wire name
    rank: int
    weight: int

    class indexes:  # noqa: N801 - the language's own word
        by_owner_rank = index("ownerId", "rank")

    class policy:  # noqa: N801 - the language's own word
        """An owner's rows are the owner's."""

        allow = auth.userId == data.ownerId


@app.entity(crdt=False)
class Org(Entity):
    """What tickets and members belong to."""

    name: str

    class policy:  # noqa: N801 - the language's own word
        """Open to those who are signed in."""

        read = SIGNED_IN


@app.entity(crdt=False)
class Member(Entity):
    """Who belongs to which organisation."""

    orgId: Id[Org]  # noqa: N815 - a wire name
    userId: Id[User]  # noqa: N815 - a wire name

    class indexes:  # noqa: N801 - the language's own word
        by_org = index("orgId", "userId")
        by_user = index("userId", "orgId")

    class policy:  # noqa: N801 - the language's own word
        """One's own memberships."""

        read = auth.userId == data.userId


@app.entity(crdt=False)
class Ticket(Entity):
    """Read by the members of its organisation: ticket, organisation, member are two steps."""

    title: str
    orgId: Id[Org]  # noqa: N815 - a wire name
    rank: int

    class indexes:  # noqa: N801 - the language's own word
        by_org_rank = index("orgId", "rank")

    class policy:  # noqa: N801 - the language's own word
        """For members."""

        read = exists(Member, row.orgId == data.orgId, row.userId == auth.userId)


@app.entity(crdt=False)
class Sale(Entity):
    """What is summed up by status."""

    status: str
    amount: int

    class policy:  # noqa: N801 - the language's own word
        """Open to those who are signed in."""

        read = SIGNED_IN


@app.entity(crdt=False)
class Note(Entity):
    """What is searched."""

    text: str

    class search:  # noqa: N801 - the language's own word
        text = ("text",)

    class policy:  # noqa: N801 - the language's own word
        """Open to those who are signed in."""

        read = SIGNED_IN


@app.entity(crdt=False)
class Line(Entity):
    """A note that is not searched."""

    text: str

    class policy:  # noqa: N801 - the language's own word
        """Open to those who are signed in."""

        read = SIGNED_IN


@app.entity(crdt=False)
class Memo(Entity):
    """What is searched by its owner only."""

    text: str
    ownerId: Id[User]  # noqa: N815 - a wire name

    class indexes:  # noqa: N801 - the language's own word
        by_owner = index("ownerId")

    class search:  # noqa: N801 - the language's own word
        text = ("text",)

    class policy:  # noqa: N801 - the language's own word
        """An owner's rows are the owner's."""

        allow = auth.userId == data.ownerId
