"""A team chat: public and private channels, whose messages only members see, live.

Membership decides through `exists(...)`: who joins a private channel sees its history at once, and
who leaves it is told to forget it.
"""

from __future__ import annotations

from datetime import datetime

from pylon import App, Entity, Id, auth, data, exists, field, index, now, relation, row

app = App("chat")

is_signed_in = auth.userId != None


@app.entity
class User(Entity):
    """A person. Everybody signed in sees names; addresses and hashes stay on the server."""

    email: str = field(unique=True, private=True)
    displayName: str
    avatarColor: str | None = None
    passwordHash: str | None = field(default=None, private=True)
    emailVerified: datetime | None = field(default=None, private=True)
    createdAt: datetime = field(default=now)

    class policy:
        read = is_signed_in
        write = False


@app.entity
class Membership(Entity):
    """That somebody is in a channel. People join public channels; owners add to private ones."""

    channelId: Id[Channel]
    userId: Id[User] | None = field(default=auth.userId)
    joinedAt: datetime = field(default=now)

    class indexes:
        by_channel_user = index("channelId", "userId", unique=True)
        by_user = index("userId")

    class policy:
        read = is_signed_in
        insert = exists(
            "Channel",
            row.id == data.channelId,
            (row.ownerId == auth.userId) | ((row.private == False) & (auth.userId == data.userId)),
        )
        update = False
        delete = auth.userId == data.userId


is_member = exists("Membership", row.channelId == data.channelId, row.userId == auth.userId)


@app.entity
class Channel(Entity):
    """A place to talk."""

    name: str = field(unique=True)
    topic: str | None = field(default=None, crdt="text")
    private: bool = False
    ownerId: Id[User] | None = field(default=auth.userId, write_once=True)
    createdAt: datetime = field(default=now)

    class relations:
        members = relation(Membership, field="channelId", many=True)

    class policy:
        read = (
            ((data.private == False) & is_signed_in)
            | (auth.userId == data.ownerId)
            | exists("Membership", row.channelId == data.id, row.userId == auth.userId)
        )
        insert = update = delete = auth.userId == data.ownerId


@app.entity
class Message(Entity):
    """What somebody said, in a channel they are a member of."""

    channelId: Id[Channel] = field(write_once=True)
    authorId: Id[User] | None = field(default=auth.userId, write_once=True)
    parentId: Id[Message] | None = None
    body: str = field(crdt="text")
    createdAt: datetime = field(default=now)

    class indexes:
        by_channel = index("channelId", "createdAt")
        by_parent = index("parentId")

    class policy:
        read = is_member
        insert = is_member & (auth.userId == data.authorId)
        update = delete = auth.userId == data.authorId


@app.entity
class Reaction(Entity):
    """An emoji on a message."""

    channelId: Id[Channel]
    messageId: Id[Message]
    userId: Id[User] | None = field(default=auth.userId)
    emoji: str

    class indexes:
        by_message_user_emoji = index("messageId", "userId", "emoji", unique=True)

    class policy:
        read = is_member
        insert = is_member & (auth.userId == data.userId)
        update = False
        delete = auth.userId == data.userId


@app.entity
class ReadMarker(Entity):
    """How far somebody has read a channel; nobody else's business."""

    channelId: Id[Channel]
    userId: Id[User] | None = field(default=auth.userId)
    lastReadAt: datetime

    class indexes:
        by_user_channel = index("userId", "channelId", unique=True)

    class policy:
        read = insert = update = delete = auth.userId == data.userId
