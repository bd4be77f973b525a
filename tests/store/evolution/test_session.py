"""An evolution as people go through it: what is proposed, asked, done, and said on failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.store.database import Database
from pylon.store.evolution.model import EvolutionError, Hints, RetireField
from pylon.store.evolution.session import Evolution, Proposal
from pylon.store.evolution.wish import Wish
from pylon.store.opening import open_database
from tests.cli.evolving import run_sql


def app(*names: str) -> Manifest:
    fields = tuple(FieldSpec(name=name, type="string", optional=True) for name in names)
    return Manifest(name="app", version="1", entities=(EntitySpec(name="Note", fields=fields),))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Notes with a title and a text, and one row."""
    made = open_database(tmp_path / "app.db", tables={})
    made.evolve(app("title", "text"), Wish())
    run_sql(tmp_path / "app.db", "INSERT INTO Note VALUES ('1', 'a', 'b')")
    return made


class Asked:
    """Answers, and what it was shown."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.proposals: list[Proposal] = []

    def __call__(self, proposal: Proposal) -> bool:
        self.proposals.append(proposal)
        return self.answer


def test_who_is_asked_says_no_and_nothing_is_done(database: Database) -> None:
    no = Asked(False)
    assert Evolution(database, app("title", "text", "more"), Wish()).run(no) is None
    assert [len(each.plan.steps) for each in no.proposals] == [1]
    assert "more" not in database.inspect().tables["Note"].columns
    outcome = Evolution(database, app("title", "text", "more"), Wish()).run(Asked(True))
    assert outcome is not None
    assert outcome.history_id is not None


def test_nobody_is_asked_about_nothing(database: Database) -> None:
    asked = Asked(False)
    outcome = Evolution(database, app("title", "text"), Wish()).run(asked)
    assert outcome is not None
    assert (outcome.history_id, asked.proposals) == (None, [])


def test_what_is_blocked_is_not_asked_but_refused_with_a_way_on(database: Database) -> None:
    asked = Asked(True)
    wish = Wish(hints=Hints(fields=(("Note", "text", "body"),)))
    evolution = Evolution(database, app("body"), wish, app="notes", command="migrate apply")
    with pytest.raises(EvolutionError) as error:
        evolution.run(asked)
    assert asked.proposals == []
    assert error.value.code == "SCHEMA_BLOCKED"
    assert error.value.hint == (
        f"Run `pylon migrate apply notes --db {database.name} --rename Note.text:body"
        " --allow-destructive`."
    )


def test_kept_things_are_shown_as_kept(database: Database) -> None:
    wish = Wish(allow="careful", keep_removed=True)
    proposal = Evolution(database, app("title"), wish).propose()
    assert [type(each.step) for each in proposal.shown.steps] == [RetireField]
    assert proposal.blocked == ()


def test_migrations_are_those_that_have_not_run(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_shout.sql").write_text("-- UP\nUPDATE Note SET title = upper(title);\n")
    for labels in (("0001_shout",), ()):
        evolution = Evolution(database, app("title", "text"), Wish(baseline="migrate"))
        evolution.add_migrations(folder)
        assert evolution.propose().plan.migrations == labels
        evolution.run(Asked(True))
    assert run_sql(tmp_path / "app.db", "SELECT title FROM Note") == [("A",)]
    (folder / "0001_shout.sql").write_text("-- UP\nUPDATE Note SET title = lower(title);\n")
    with pytest.raises(EvolutionError, match="was changed after it ran"):
        evolution.add_migrations(folder)
