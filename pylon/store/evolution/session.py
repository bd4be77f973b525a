"""One evolution of a database as people go through it: propose, show, agree, evolve.

`schema push`, `migrate apply` and `dev` are spellings of it: they differ in what they wish for and
in how they show a proposal. Knows no database but the Protocol; says on failure what to type next.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pylon.schema.model import Manifest
from pylon.store.database import Database
from pylon.store.evolution.migration_files import pending, read_migrations
from pylon.store.evolution.model import (
    EvolutionError,
    Outcome,
    Plan,
    Planned,
    Progress,
    no_progress,
)
from pylon.store.evolution.wish import Wish, as_wished, blockers
from pylon.store.evolution.words import push_command


class Proposal(Struct, frozen=True, kw_only=True):
    """What a database would need. `plan` has every step, `shown` what would be carried out as it
    was wished for, `blocked` the steps that are not allowed or cannot be done."""

    plan: Plan
    shown: Plan
    blocked: tuple[Planned, ...]


class Evolution:
    """Brings one database to one manifest. `app` is what the user calls the app, `command` the
    subcommand that would take what is blocked: both for hints."""

    def __init__(
        self,
        database: Database,
        manifest: Manifest,
        wish: Wish,
        *,
        app: str | None = None,
        command: str = "schema push",
        progress: Progress = no_progress,
    ) -> None:
        self._database = database
        self._manifest = manifest
        self._wish = wish
        self._app = app
        self._command = command
        self._progress = progress

    def add_migrations(self, folder: Path) -> None:
        """Also run what is in `folder` and has not run; `EvolutionError` where that is unclear."""
        waiting = pending(read_migrations(folder), self._database.ran_migrations())
        self._wish = replace(self._wish, migrations=waiting)

    def propose(self) -> Proposal:
        """What would be done; nothing is changed."""
        plan = self._database.preview(self._manifest, self._wish, progress=self._progress)
        return Proposal(
            plan=plan, shown=as_wished(plan, self._wish), blocked=blockers(plan, self._wish)
        )

    def run(self, agree: Callable[[Proposal], bool]) -> Outcome | None:
        """Propose, and evolve; None where `agree` says no.

        It is asked where something is to be done and nothing is in the way.
        """
        proposal = self.propose()
        if not (proposal.plan.is_empty or proposal.blocked or agree(proposal)):
            return None
        return self.evolve()

    def evolve(self) -> Outcome:
        """Do it. `EvolutionError` with the plan as it was wished for, and with how to go on."""
        try:
            return self._database.evolve(self._manifest, self._wish, progress=self._progress)
        except EvolutionError as error:
            if error.plan is None:
                raise
            if error.code == "SCHEMA_BLOCKED":
                keeping = " --keep-removed" if self._wish.keep_removed else ""
                error.hint = f"Run `{self.way_on(error.plan)}{keeping}`."
            error.plan = as_wished(error.plan, self._wish)
            raise

    def way_on(self, plan: Plan, *more: Planned, renames: bool = True) -> str:
        """The command that takes what this wish does not allow of a plan, and `more`; with
        `renames` False also what looks like a rename, as a removal."""
        return push_command(
            plan,
            [*blockers(plan, self._wish), *more],
            database=self._database.name,
            app=self._app,
            given=self._wish.hints,
            command=self._command,
            renames=renames,
        )
