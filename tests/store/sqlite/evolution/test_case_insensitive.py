"""Fields and indexes become case-insensitive, whatever rows there are; and stop being it."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from pylon.schema.model import IndexSpec, Manifest
from pylon.store.evolution.model import NO_HINTS, Hints
from pylon.store.evolution.wish import Wish
from pylon.store.sqlite.evolution.engine import preview
from pylon.store.sqlite.evolution.introspect import introspect
from pylon.store.sqlite.evolution.serving import FitSchema
from pylon.store.tables import IndexShape
from tests.store.sqlite.evolution.database import (
    NOW,
    app,
    entity,
    field,
    fit,
    fresh_shape,
    insert,
    rows_of,
    shape,
    start_with,
)

INDEX = "User_email_unique"
AS_WRITTEN = app(entity("User", field("email", unique=True, caseInsensitive=False)))
FOLDED = app(entity("User", field("email", unique=True)))
"""As it is by itself for the e-mail of people."""


def index(connection: apsw.Connection, name: str = INDEX) -> IndexShape:
    return introspect(connection).tables["User"].indexes[name]


def rows(*emails: str) -> list[dict[str, Any]]:
    return [{"id": str(number), "email": each} for number, each in enumerate(emails)]


def test_an_index_is_made_anew() -> None:
    connection = start_with(AS_WRITTEN, User=rows("A@x", "b@x"))
    assert index(connection).folded == ()
    outcome = fit(connection, FOLDED)
    assert index(connection).folded == ("email",)
    assert outcome.plan.notices == ()
    assert shape(introspect(connection)) == fresh_shape(FOLDED)
    with pytest.raises(apsw.ConstraintError):
        insert(connection, "User", {"id": "9", "email": "B@X"})
    assert fit(connection, FOLDED).plan.is_empty
    fit(connection, AS_WRITTEN)
    insert(connection, "User", {"id": "9", "email": "B@X"})


def test_accounts_that_differ_in_case_keep_what_they_had() -> None:
    emails = ("Kim@x", "kim@x", "bob@x", "BOB@x", "BOb@x", "ann@x")
    connection = start_with(AS_WRITTEN, User=rows(*emails))
    for _ in range(2):
        outcome = fit(connection, FOLDED)
        (notice,) = outcome.plan.notices
        assert "2 values are shared by 5 rows" in notice
        assert outcome.plan.is_empty
        assert index(connection).folded == ()
    assert [row["email"] for row in rows_of(connection, "User")] == list(emails)
    with pytest.raises(apsw.ConstraintError):
        insert(connection, "User", {"id": "9", "email": "ann@x"})
    connection.execute("DELETE FROM User WHERE email IN ('kim@x', 'BOB@x', 'BOb@x')")
    assert fit(connection, FOLDED).plan.notices == ()
    assert index(connection).folded == ("email",)


def test_one_that_is_new_is_as_strict_as_the_rows_allow() -> None:
    plain = app(entity("User", field("email", caseInsensitive=False)))
    connection = start_with(plain, User=rows("Kim@x", "kim@x"))
    assert len(fit(connection, FOLDED).plan.notices) == 1
    assert index(connection).unique
    assert index(connection).folded == ()
    connection = start_with(plain, User=rows("kim@x", "kim@x"))
    planned = preview(connection, FOLDED, Wish(), now=NOW)
    assert [each.refused for each in planned.steps] == [
        "1 value is shared by 2 rows, for example 'kim@x'"
    ]


def test_a_start_tells_and_serves(caplog: pytest.LogCaptureFixture) -> None:
    connection = start_with(AS_WRITTEN, User=rows("Kim@x", "kim@x"))
    served = FitSchema(FOLDED, path=None, now=lambda: NOW, baseline="start", confirm_renames=True)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level("WARNING"):
            served(connection)
        assert "1 value is shared by 2 rows, for example 'kim@x'" in caplog.text
        assert "docs/evolution.md" in caplog.text


def test_indexes_of_several_fields() -> None:
    fields = (field("email"), field("n", "int"), field("key", caseInsensitive=True))

    def manifest(**words: Any) -> Manifest:
        by = IndexSpec(name="by", fields=("n", "email", "key"), unique=True, **words)
        return app(entity("Person", *fields, indexes=(by,)))

    row = {"id": "1", "n": 1, "email": "A", "key": "a"}
    connection = start_with(manifest(), Person=[row])
    shapes = introspect(connection).tables["Person"].indexes
    assert shapes["Person_by"].folded == ("key",)
    insert(connection, "Person", {**row, "id": "2", "email": "a"})
    assert len(fit(connection, manifest(caseInsensitive=True)).plan.notices) == 1
    connection.execute("DELETE FROM Person WHERE id = '2'")
    assert fit(connection, manifest(caseInsensitive=True)).plan.notices == ()
    shapes = introspect(connection).tables["Person"].indexes
    assert shapes["Person_by"].folded == ("email", "key")


@pytest.mark.parametrize("change", ["rename", "retype", "remove"])
def test_a_folded_column_changes(change: str) -> None:
    before = app(entity("Thing", field("a", unique=True, caseInsensitive=True), field("b")))
    connection = start_with(before, Thing=[{"id": "1", "a": "7", "b": "x"}])
    after = {
        "rename": app(entity("Thing", field("c", unique=True, caseInsensitive=True), field("b"))),
        "retype": app(entity("Thing", field("a", "int", unique=True), field("b"))),
        "remove": app(entity("Thing", field("b"))),
    }[change]
    hints = Hints(fields=(("Thing", "a", "c"),)) if change == "rename" else NO_HINTS
    fit(connection, after, allow="destructive", hints=hints)
    assert shape(introspect(connection)) == fresh_shape(after)
