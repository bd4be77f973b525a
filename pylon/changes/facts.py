"""What a unit tells besides changes of rows: facts that every process must hear, in commit order.

A fact rides on the commit by `Tx.tell` and takes no position of the log; one that has to lie above
every cursor is given to `Tx.publish` instead. Whoever keeps something in memory (sessions, epochs,
figures) changes it when the fact comes out of the feed, in the process that wrote as in others.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class SessionStarted(Struct, frozen=True, kw_only=True):
    """Somebody has signed in, or a guest was made. `session_id` as in `Identity.session_id`."""

    session_id: bytes
    user_id: str
    tenant_id: str | None


class SessionEnded(Struct, frozen=True, kw_only=True):
    """A sign-in is over: revoked, or found expired. User and tenant are what it meant last."""

    session_id: bytes
    user_id: str
    tenant_id: str | None


class SessionChanged(Struct, frozen=True, kw_only=True):
    """A session means another caller from now on: another user, or another tenant."""

    session_id: bytes
    user_id: str
    tenant_id: str | None


class TokensVoid(Struct, frozen=True, kw_only=True):
    """The rows of these tokens (their hashes) were changed or deleted: what is kept is void."""

    tokens: tuple[bytes, ...]


class ClaimsChanged(Struct, frozen=True, kw_only=True):
    """What the app knows of a user (roles, e-mail) is no longer what it was."""

    user_id: str


class ReaderBegun(Struct, frozen=True, kw_only=True):
    """A reader's cursors rest on something new; see `sync/reader_epochs.py`.

    `audience` is a digest of what the read rules can tell of it, `since` the position below which
    its cursors are void, `at` when it was last seen (Unix seconds).
    """

    reader: bytes
    audience: bytes
    since: int
    at: int


class ReadersForgotten(Struct, frozen=True, kw_only=True):
    """Readers that have not pulled for long were dropped; which of them, nobody keeps."""


class OldestRaised(Struct, frozen=True, kw_only=True):
    """Cursors above 0 and below `oldest_seq` cannot be continued any more."""

    oldest_seq: int


class MustPull(Struct, frozen=True, kw_only=True):
    """The streams of a caller (`sync/streams.Reader.caller`) must end, so that it pulls: their
    client may have come to be somebody who sees other rows than they show."""

    caller: bytes


class JobDue(Struct, frozen=True, kw_only=True):
    """There is something to do in a queue, at `at` (Unix seconds); whoever works there looks."""

    queue: str
    at: float


Fact: TypeAlias = (
    SessionStarted
    | SessionEnded
    | SessionChanged
    | TokensVoid
    | ClaimsChanged
    | ReaderBegun
    | ReadersForgotten
    | OldestRaised
    | MustPull
    | JobDue
)
