"""The schema in `pylon dev`: additive steps are taken by themselves, the rest is asked.

The server process looks (`look`) and, when told to, takes the steps (`take`) before it serves. The
parent asks on its terminal (`Asker`); without one it prints the command and takes nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pylon.cli.output import Output
from pylon.cli.schema_database import database
from pylon.errors import ConfigError

if TYPE_CHECKING:
    from pylon.cli.loading import LoadedApp
    from pylon.config import Config

Decision = dict[str, Any]
"""What the parent tells the server process: `fields`, `entities` and `allow` (a level), or nothing
at all when only additive steps are to be taken."""


# --- in the server process -------------------------------------------------------------------


def look(loaded: LoadedApp, config: Config) -> dict[str, Any] | None:
    """What the database needs beyond additive steps; None when that is nothing. Changes nothing."""
    from pylon.store.evolution.model import EvolutionError, RemoveEntity, RemoveField
    from pylon.store.evolution.session import Evolution
    from pylon.store.evolution.wish import Wish
    from pylon.store.evolution.words import planned_text

    target = database(Path(config.db_path))
    if config.in_memory or not target.exists():
        return None
    evolution = Evolution(
        target, loaded.manifest, Wish(keep_removed=True), app=str(loaded.entry.file)
    )
    try:
        proposal = evolution.propose()
    except (ConfigError, EvolutionError):
        return None  # The start of the server tells of it.
    plan = proposal.plan
    removals = [
        each
        for each in plan.steps
        if isinstance(each.step, RemoveField | RemoveEntity) and each.is_visible
    ]
    if not proposal.blocked and not removals:
        return None
    return {
        "blocked": [planned_text(each) for each in proposal.blocked],
        "refused": [planned_text(each) for each in plan.refused],
        "removed": [planned_text(each) for each in removals],
        "suggestions": [
            {"option": each.option, "message": each.message} for each in plan.suggestions
        ],
        "command": evolution.way_on(plan, *removals),
        "removal": evolution.way_on(plan, *removals, renames=False),
    }


def take(loaded: LoadedApp, config: Config, decision: Decision) -> None:
    """Take the steps that were agreed to. Raises `EvolutionError` or `ConfigError`."""
    from pylon.store.evolution.model import Hints
    from pylon.store.evolution.session import Evolution
    from pylon.store.evolution.wish import Wish

    wish = Wish(
        allow=decision["allow"],
        keep_removed=decision["allow"] != "destructive",
        hints=Hints(
            fields=tuple((entity, old, new) for entity, old, new in decision["fields"]),
            entities=tuple((old, new) for old, new in decision["entities"]),
        ),
        baseline="dev",
    )
    Evolution(database(Path(config.db_path)), loaded.manifest, wish).evolve()


# --- in the parent ---------------------------------------------------------------------------


class SchemaMark:
    """The schema of the database at `path` as it was last noted; None has none that stays."""

    def __init__(self, path: Path | None) -> None:
        self._database = None if path is None else database(path)
        self._files = [] if path is None else [path, path.with_name(f"{path.name}-wal")]
        self._mark: str | None = None
        self._seen: list[int] = []

    def note(self) -> None:
        """It is as it should be, or as it cannot be helped."""
        if self._database is not None:
            self._seen = self._touched()
            self._mark = self._database.schema_mark()

    def has_moved(self) -> bool:
        """Whether somebody else has changed it. For a look many times a second: the database is
        asked only where its files have been written to."""
        if self._database is None or (seen := self._touched()) == self._seen:
            return False
        self._seen = seen
        mark = self._database.schema_mark()
        return mark is not None and mark != self._mark

    def _touched(self) -> list[int]:
        found: list[int] = []
        for file in self._files:
            with contextlib.suppress(OSError):
                found.append(file.stat().st_mtime_ns)
        return found


class Asker:
    """Asks once about each thing; the same answer holds for the same plan after the next change."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._answers: dict[str, bool] = {}

    def decide(self, schema: Mapping[str, Any]) -> Decision | None:
        """What the server process shall take; None when only additive steps."""
        fields: list[list[str]] = []
        entities: list[list[str]] = []
        for suggestion in schema["suggestions"]:
            if self._ask(suggestion["message"]):
                word, _, value = suggestion["option"].partition(" ")
                old, _, new = value.rpartition(":")
                if word == "--rename":
                    fields.append([*old.split("."), new])
                else:
                    entities.append([old, new])
        renames = bool(fields or entities)
        steps = [*schema["blocked"], *schema["removed"]]
        allow = "careful" if renames else None
        if not renames and not schema["refused"]:
            listed = "\n".join(f"    {step}" for step in dict.fromkeys(steps))
            if self._ask(f"The database needs:\n{listed}\n  Take these steps now?"):
                allow = "destructive"
        if allow is None:
            self._tell(schema)
            return None
        return {"fields": fields, "entities": entities, "allow": allow}

    def _tell(self, schema: Mapping[str, Any]) -> None:
        """The command for later."""
        for suggestion in schema["suggestions"]:
            self._output.say(f"  {suggestion['message']}")
        if schema["suggestions"]:
            self._output.say(f"  If so: {schema['command']}")
        if not schema["blocked"]:
            steps = "; ".join(schema["removed"])
            self._output.say(f"  Not done: {steps}. To do that: {schema['removal']}")

    def _ask(self, question: str) -> bool:
        if self._output.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        if question not in self._answers:
            _forget_typed()
            self._answers[question] = click.confirm(f"  {question}", default=False)
        return self._answers[question]


def _forget_typed() -> None:
    """What was typed before a question is no answer to it."""
    try:
        import termios
    except ImportError:  # no POSIX terminal
        return
    with contextlib.suppress(OSError, termios.error):  # stdin is no terminal after all
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def unreachable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The report of an app whose database additive steps do not reach."""
    hint = f"Run `{schema['command']}`."
    if schema["refused"] and not schema["suggestions"]:
        hint = "Give new required fields a default, or change the rows; see docs/evolution.md."
    finding = {
        "severity": "error",
        "code": "SCHEMA_UNREACHABLE",
        "message": f"the database does not fit the app: {'; '.join(schema['blocked'])}",
        "hint": hint,
    }
    return {"state": "failed", "findings": [finding], "traceback": None}
