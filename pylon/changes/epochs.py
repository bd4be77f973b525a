"""From which position on the cursors of a subject are good (design 4.5).

A row can change what somebody may see of other rows: a membership, a role. Whoever it names gets a
new epoch in the transaction of that write: cursors from before it start anew, and open streams are
closed, since no change of the other rows themselves will tell. A subject is an attribute of the
caller with its value, or everybody. Pulls ask `good_from`, the hub hears of `EpochRaised`. What a
session's own cursors rest on is in `sync/reader_epochs.py`.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pylon.identity import Identity
from pylon.policy.audience import found_by
from pylon.store.base import Store, Tx
from pylon.store.naming import load_queries

SQL = load_queries("pylon.changes", "epochs.sql")

EVERYBODY: Final = "*"
"""The subject of a change that may concern any reader."""

NOBODY: Final = ""
"""No subject: fills the places of a query that asks for fewer than it has room for."""

SUBJECTS_MAX: Final = 4
"""Subjects that one caller belongs to: everybody, its user, its tenant, its e-mail."""


class EpochRaised(Struct, frozen=True, kw_only=True):
    """Published with the commit: streams of this subject rest on what is no longer so."""

    seq: int
    subject: str


def subject_of(attribute: str, value: str) -> str:
    """The subject of everyone whose attribute (`userId`, `tenantId`, `email`) has this value."""
    return f"{attribute}:{found_by(attribute, value)}"


def subjects_of(identity: Identity) -> tuple[str, ...]:
    """Every subject that a caller belongs to; none for administrators, who see all rows."""
    if identity.is_admin:
        return ()
    named = (
        ("userId", identity.user_id),
        ("tenantId", identity.tenant_id),
        ("email", identity.email),
    )
    mine = [subject_of(attribute, value) for attribute, value in named if value is not None]
    return (EVERYBODY, *mine)


async def raise_epoch(tx: Tx, subject: str) -> int:
    """Begin a new epoch for `subject` with this transaction; its position, which it takes up."""
    seq = tx.next_seq
    await tx.execute(SQL["raise"], (subject, seq))
    tx.publish(EpochRaised(seq=seq, subject=subject))
    return seq


async def good_from(store: Store, identity: Identity) -> tuple[int, int]:
    """The position that no cursor, and the one that no cursor of this caller may lie below.

    Read from the database, since memory may not have heard yet of a commit that a page shows.
    """
    subjects = subjects_of(identity)
    marks = (*subjects, *[NOBODY] * (SUBJECTS_MAX - len(subjects)))
    oldest, epoch = (await store.read(SQL["good_from"], marks))[0]
    return int(oldest), int(epoch)


async def any_raised(store: Store, since: int) -> bool:
    """Whether a new epoch has begun for anybody after this position."""
    return bool((await store.read(SQL["raised_after"], (since,)))[0][0])
