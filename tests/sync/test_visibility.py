"""What a reader is told of a change, by what it saw before and sees now."""

from __future__ import annotations

import pytest

from pylon.changes.model import Change, Kind, RowData, Seq
from pylon.identity import Identity
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec
from pylon.sync.visibility import looked_at, told_by_pull, told_live

DOC = EntitySpec(name="Doc", fields=(FieldSpec(name="ownerId", type="string"),))
RULE = (
    PolicyEngine(
        Manifest(
            name="app",
            version="1",
            entities=(DOC,),
            policies=(PolicySpec(name="own", entity="Doc", allow="data.ownerId == auth.userId"),),
        ),
        open_by_default=False,
    )
    .entity("Doc")
    .read
)
ANN = Identity(user_id="ann")
MINE, THEIRS = {"ownerId": "ann"}, {"ownerId": "bob"}


def change(before: RowData | None, after: RowData | None) -> Change:
    return Change(
        seq=Seq(1),
        entity="Doc",
        row_id="x",
        kind="update",
        before=before,
        after=after,
        patch=None,
        at=0.0,
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, MINE, "insert"),
        (None, THEIRS, None),
        (MINE, MINE, "update"),
        (MINE, THEIRS, "delete"),
        (THEIRS, MINE, "insert"),
        (THEIRS, THEIRS, None),
        (MINE, None, "delete"),
        (THEIRS, None, None),
    ],
)
def test_live(before: RowData | None, after: RowData | None, told: Kind | None) -> None:
    assert told_live(RULE, ANN, change(before, after)) == told


def test_only_rows_that_there_are_need_a_look() -> None:
    assert looked_at(change(None, MINE)) == [(MINE, None)]
    assert looked_at(change(MINE, THEIRS)) == [(MINE, None), (THEIRS, None)]


@pytest.mark.parametrize(
    ("born", "audiences", "visible_now", "told"),
    [
        (6, [], True, "insert"),
        (6, [(7, MINE)], True, "insert"),
        (3, [], True, "update"),
        (3, [(6, MINE)], True, "update"),
        (3, [(6, THEIRS)], True, "insert"),
        (3, [(5, THEIRS)], True, "update"),
        (3, [(4, MINE), (7, THEIRS)], True, "insert"),
        (3, [(6, MINE)], False, "delete"),
        (6, [(7, MINE)], False, "delete"),
        (3, [(5, MINE)], False, None),
        (3, [(6, THEIRS)], False, None),
        (3, [(6, THEIRS), (7, MINE)], False, "delete"),
        (3, [], False, None),
    ],
)
def test_by_a_pull_from_position_5(
    born: int, audiences: list[tuple[int, RowData]], visible_now: bool, told: Kind | None
) -> None:
    found = told_by_pull(
        RULE, ANN, since=5, born=born, audiences=audiences, visible_now=visible_now
    )
    assert found == told
