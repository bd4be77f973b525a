"""What one reader is told of a change: the only place where this is decided.

A change takes a row from `before` to `after`. Who could not see the row and now can gets an insert
with the whole row; who could and still can, an update with the patch; who no longer can, a delete;
who never could, nothing (design 4.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pylon.changes.model import Change, Kind, RowData
from pylon.identity import Identity
from pylon.policy.engine import Rule
from pylon.policy.membership import Lookup


def told_live(
    rule: Rule, identity: Identity, change: Change, lookup: Lookup | None = None
) -> Kind | None:
    """The kind of event that this reader gets for a live change; None for no event.

    Whether an `exists` held before or after does not matter: whoever a change of those rows
    concerns starts anew (`changes/epochs.py`).
    """
    before, after = change.before, change.after
    seen_before = before is not None and rule.allows(identity, before, None, lookup)
    seen_after = after is not None and rule.allows(identity, after, None, lookup)
    if seen_after:
        return "update" if seen_before else "insert"
    return "delete" if seen_before else None


def told_by_pull(
    rule: Rule,
    identity: Identity,
    *,
    since: int,
    born: int,
    audiences: Sequence[tuple[int, RowData]],
    visible_now: bool,
) -> Kind | None:
    """The kind of event that this reader gets for a row by a pull from the cursor `since`.

    `born` is the position of the row's insert, `audiences` its earlier watched values. A row that
    was visible at any time after `since` and is not now must be forgotten.
    """
    if visible_now and born > since:
        return "insert"
    ended_since = [values for until, values in audiences if until > since]
    if visible_now:
        hidden_then = any(not _allows(rule, identity, values) for values in ended_since)
        return "insert" if hidden_then else "update"
    return "delete" if any(_allows(rule, identity, values) for values in ended_since) else None


def _allows(rule: Rule, identity: Identity, values: Mapping[str, object]) -> bool:
    return rule.allows(identity, values)
