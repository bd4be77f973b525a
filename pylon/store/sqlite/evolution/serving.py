"""Brings a database to an app before it is served, as far as nothing can be lost by it.

Additive steps are taken. What left the app stays in the database. Everything else is refused with
the list of steps and the command that takes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import apsw

from pylon.errors import ConfigError
from pylon.schema.model import Manifest
from pylon.store.evolution.model import EvolutionError, Plan
from pylon.store.evolution.wish import Wish, blockers
from pylon.store.evolution.words import planned_text, push_command
from pylon.store.sqlite.evolution.engine import SearchIndexes, evolve
from pylon.store.sqlite.evolution.history import read_fingerprint
from pylon.store.sqlite.evolution.watch import SchemaWatch

log = logging.getLogger("pylon.schema")

PROGRESS_LOG_ROWS = 100_000
"""Rows between two log lines about a long step."""


class FitSchema:
    """Called by `open_store` with the write connection; then `watch` knows the schema.

    `confirm_renames` (production): what looks like a rename is not served before somebody has said
    whether it is one. `path` is None for a volatile database.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        path: Path | None,
        now: Callable[[], float],
        baseline: str,
        confirm_renames: bool,
        search: SearchIndexes | None = None,
    ) -> None:
        self._manifest = manifest
        self._path = path
        self._now = now
        self._search = search
        self._wish = Wish(keep_removed=True, confirm_renames=confirm_renames, baseline=baseline)
        self.watch = SchemaWatch(None)

    def __call__(self, connection: apsw.Connection) -> None:
        """Fit the database; `ConfigError` `SCHEMA_UNREACHABLE` when that would take more."""
        try:
            outcome = evolve(
                connection,
                self._manifest,
                self._wish,
                now=self._now(),
                search=self._search,
                progress=log_progress,
            )
        except EvolutionError as error:
            raise self._unreachable(error) from error
        for planned in outcome.plan.steps:
            log.info("schema: %s", planned_text(planned))
        for notice in outcome.plan.notices:
            log.warning("schema: %s; see docs/evolution.md", notice)
        self.watch = SchemaWatch(read_fingerprint(connection))

    def _unreachable(self, error: EvolutionError) -> ConfigError:
        plan = error.plan or Plan()
        blocked = blockers(plan, self._wish)
        reasons = [planned_text(each) for each in blocked]
        reasons += [each.message for each in plan.suggestions]
        listed = "; ".join(reasons) or error.message.rstrip(".")
        return ConfigError(
            "SCHEMA_UNREACHABLE",
            f"The database does not fit the app: {listed.rstrip('.')}.",
            f"See what it would do with `{self._command(plan)} --dry-run`, then run it without."
            if not plan.refused or plan.suggestions
            else "Change the rows or the app; see docs/evolution.md.",
        )

    def _command(self, plan: Plan) -> str:
        database = None if self._path is None else str(self._path)
        return push_command(plan, blockers(plan, self._wish), database=database)


def log_progress(what: str, done: int, total: int) -> None:
    """Tell of long steps in the log."""
    if total >= PROGRESS_LOG_ROWS and (done % PROGRESS_LOG_ROWS == 0 or done == total):
        log.info("schema: %s: %d of %d rows", what, done, total)
