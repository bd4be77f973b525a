"""The standard `User` entity, added to an app that refers to User and declares none of its own.

Its fields are those that sign-up and sign-in write (spec 04 section 9); an app that wants others
declares its own class `User`.
"""

from __future__ import annotations

from datetime import datetime

from pylon.schema.entity import Entity
from pylon.schema.expressions import auth, data, now
from pylon.schema.fields import field


class User(Entity):
    """Somebody who signed up. Only they and administrators see the row; the server writes it."""

    email: str = field(unique=True)
    displayName: str  # noqa: N815 - names as on the wire
    avatarColor: str | None = None  # noqa: N815
    passwordHash: str | None = field(default=None, private=True)  # noqa: N815
    emailVerified: datetime | None = None  # noqa: N815
    createdAt: datetime = field(default=now)  # noqa: N815

    class policy:  # noqa: N801
        read = auth.userId == data.id
        insert = update = delete = False
