"""What one reader is told of a change: the only place where this is decided.

A change takes a row from `before` to `after`. Who could not see the row and now can gets an insert
with the whole row; who could and still can, an update with the patch; who no longer can, a delete;
who never could, nothing (design 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from pylon.changes.model import Change, Kind, RowData
from pylon.identity import Identity
from pylon.policy.engine import Rule
from pylon.policy.lookup import NOTHING, Lookup


def told_live(
    rule: Rule, identity: Identity, change: Change, lookup: Lookup = NOTHING
) -> Kind | None:
    """The kind of event that this reader gets for a live change; None for no event.

    `lookup` has gathered what the rule needs for the rows that are `looked_at`. Whether an `exists`
    held before or after does not matter: whoever a change of those rows concerns starts anew
    (`changes/epochs.py`).
    """
    before, after = change.before, change.after
    seen_before = before is not None and rule.allows(identity, before, None, lookup)
    seen_after = after is not None and rule.allows(identity, after, None, lookup)
    if seen_after:
        return "update" if seen_before else "insert"
    return "delete" if seen_before else None


def looked_at(change: Change) -> list[tuple[RowData | None, None]]:
    """The rows that `told_live` asks a read rule about, for `gather`."""
    return [(row, None) for row in (change.before, change.after) if row is not None]


def told_by_pull(
    rule: Rule,
    identity: Identity,
    *,
    since: int,
    born: int,
    audiences: Sequence[tuple[int, RowData]],
    visible_now: bool,
    lookup: Lookup = NOTHING,
) -> Kind | None:
    """The kind of event that this reader gets for a row by a pull from the cursor `since`.

    `born` is the position of the row's insert, `audiences` its earlier watched values. A row that
    was visible at any time after `since` and is not now must be forgotten. `lookup` has gathered
    what the rule needs for them.
    """
    if visible_now and born > since:
        return "insert"
    ended_since = [values for until, values in audiences if until > since]
    if visible_now:
        hidden_then = any(not rule.allows(identity, values, None, lookup) for values in ended_since)
        return "insert" if hidden_then else "update"
    seen_then = any(rule.allows(identity, values, None, lookup) for values in ended_since)
    return "delete" if seen_then else None
