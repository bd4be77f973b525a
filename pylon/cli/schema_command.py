"""`pylon schema`: look at an app's schema and bring a database to it (spec 05 section 9.5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pylon.cli.command import json_option
from pylon.cli.options import ABOUT_APP, app_argument
from pylon.cli.output import USAGE, Output, current
from pylon.cli.schema_database import (
    app_folder,
    database,
    database_path,
    db_option,
    fail_evolution,
    load,
    plan_wire,
    progress_line,
    read_hints,
    rename_options,
    show_plan,
)
from pylon.moments import shown_column

if TYPE_CHECKING:
    from pylon.cli.loading import LoadedApp
    from pylon.schema.model import Manifest
    from pylon.store.database import Database
    from pylon.store.evolution.model import Outcome
    from pylon.store.evolution.session import Proposal
    from pylon.store.evolution.wish import Wish


@click.group(
    "schema",
    help="""Look at an app's schema, and bring a database to it.

    \b
    Examples:
      pylon schema push --dry-run
      pylon schema push --rename Todo.name:title
      pylon schema push --allow-destructive
    """,
)
@json_option
def command() -> None:
    """The subcommands below."""


@command.command("check", help=f"Check an app and print what is wrong with it.\n\n{ABOUT_APP}")
@app_argument
@json_option
def check(app: str) -> None:
    from pylon.schema.diagnostics import Diagnostic

    output = current()
    loaded = load(output, app, verb="CHECK")
    fine = Diagnostic(severity="info", code="SCHEMA_OK", message="The schema is valid.")
    output.diagnostics(loaded.warnings or [fine])


@command.command(
    "diff",
    help="""Print the differences between two apps.

    OLD and NEW are manifest .json files, app.py files or folders. Exit code 0 also when they
    differ.
    """,
)
@click.argument("old", required=False)
@click.argument("new", required=False)
@json_option
def diff(old: str | None, new: str | None) -> None:
    from pylon.cli.schema_difference import differences

    output = current()
    if old is None or new is None:
        hint = "For example: pylon schema diff old.manifest.json ."
        output.fail("DIFF_MISSING_ARGS", "which two apps?", hint, exit_code=USAGE)
    before = load(output, old, verb="DIFF").manifest
    after = load(output, new, verb="DIFF").manifest
    changes = differences(before, after)
    for change in changes:
        output.say(change.to_text())
    if not changes:
        output.say("No differences.")
    output.record(
        {
            "changes": [change.to_wire() for change in changes],
            "summary": {
                "total": len(changes),
                "added": sum(change.kind.endswith("_added") for change in changes),
                "removed": sum(change.kind.endswith("_removed") for change in changes),
            },
        }
    )


@command.command(
    "push",
    help=f"""Bring a database to the schema of an app.

    {ABOUT_APP} What is to be done is printed before it is done, all of it in one transaction. Steps
    that lose values need --allow-destructive and copy the database file first.

    \b
    Examples:
      pylon schema push --dry-run
      pylon schema push --rename Todo.name:title --rename-entity User:Person
      pylon schema push app.py --db /data/app.db --allow-destructive
    """,
)
@app_argument
@db_option
@rename_options
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.option(
    "--from", "from_app", metavar="OLD", help="Plan from this app instead of a database; no change."
)
@click.option("--allow-destructive", is_flag=True, help="Also remove and convert with loss.")
@click.option(
    "--keep-removed", is_flag=True, help="Leave removed fields and entities in the database."
)
@click.option("--postgres", metavar="URL", hidden=True)
@json_option
def push(
    app: str,
    db: str | None,
    rename: tuple[str, ...],
    rename_entity: tuple[str, ...],
    dry_run: bool,
    from_app: str | None,
    allow_destructive: bool,
    keep_removed: bool,
    postgres: str | None,
) -> None:
    output = current()
    if postgres is not None:
        output.fail("PUSH_NO_TARGET", "Postgres is not supported yet.", exit_code=USAGE)
    if from_app is not None and db is not None:
        hint = "Leave out --db or --from."
        output.fail("PUSH_AMBIGUOUS_MODE", "two things to compare with", hint, exit_code=USAGE)
    from pylon.store.evolution.wish import Wish

    loaded = load(output, app, verb="PUSH")
    wish = Wish(
        allow="destructive" if allow_destructive else "careful",
        keep_removed=keep_removed,
        hints=read_hints(rename, rename_entity),
        baseline="live_sqlite",
    )
    path = database_path(db, loaded.entry.folder)
    if from_app is not None:
        before = load(output, from_app, verb="PUSH").manifest
        _plan_from(output, database(path), before, loaded.manifest, wish)
    elif dry_run and not path.exists():
        _plan_from(output, database(path), None, loaded.manifest, wish)
    else:
        _push(output, loaded, wish, path, app=app, dry_run=dry_run)


def _push(
    output: Output, loaded: LoadedApp, wish: Wish, path: Path, *, app: str, dry_run: bool
) -> None:
    """Preview, say it, do it."""
    from pylon.store.evolution.model import EvolutionError
    from pylon.store.evolution.session import Evolution

    target = database(path)
    told = _told(target, loaded.manifest, wish.baseline, path=path, dry_run=dry_run)
    evolution = Evolution(target, loaded.manifest, wish, app=app, progress=progress_line(output))

    def shown(proposal: Proposal) -> bool:
        show_plan(output, proposal.shown)
        return True

    try:
        if dry_run:
            _tell_dry_run(output, evolution.propose(), told)
        outcome = evolution.run(agree=shown)
    except EvolutionError as error:
        fail_evolution(output, error, code="PUSH_BLOCKED", **told, applied=False)
    assert outcome is not None, "who is only shown the plan does not refuse it"
    _tell_outcome(output, outcome, told)


def _tell_dry_run(output: Output, proposal: Proposal, told: dict[str, Any]) -> NoReturn:
    show_plan(output, proposal.shown)
    _say_summary(output, proposal.shown.is_empty, "Nothing was changed (dry run).")
    output.record(
        {
            "code": "PUSH_BLOCKED" if proposal.blocked else "PUSH_DRY_RUN",
            **told,
            "applied": False,
            **plan_wire(proposal.shown),
            "diagnostics": [],
        }
    )
    raise click.exceptions.Exit(1 if proposal.blocked else 0)


def _tell_outcome(output: Output, outcome: Outcome, told: dict[str, Any]) -> None:
    if outcome.backup:
        output.say(f"  The database as it was: {outcome.backup}")
    _say_summary(output, outcome.history_id is None, "Applied.")
    output.record(
        {
            "code": "PUSH_APPLIED",
            **told,
            "applied": outcome.history_id is not None,
            "history_id": outcome.history_id,
            "backup": outcome.backup,
            **plan_wire(outcome.plan),
            "diagnostics": [],
        }
    )


def _say_summary(output: Output, is_empty: bool, otherwise: str) -> None:
    output.say("The database fits the app already." if is_empty else otherwise)


def _told(
    target: Database, manifest: Manifest, baseline: str, *, path: Path | None, dry_run: bool
) -> dict[str, Any]:
    told: dict[str, Any] = {"dry_run": dry_run, "adapter": target.adapter}
    if path is not None:
        told["database_path"] = str(path)
    return {**told, "baseline": baseline, "manifest_version": manifest.manifest_version}


def _plan_from(
    output: Output, target: Database, before: Manifest | None, manifest: Manifest, wish: Wish
) -> None:
    """The plan from another app, or from nothing."""
    from pylon.store.evolution.model import EvolutionError

    baseline = "empty" if before is None else "manifest"
    told = _told(target, manifest, baseline, path=None, dry_run=True)
    try:
        plan = target.plan_from(before, manifest, wish)
    except EvolutionError as error:
        fail_evolution(output, error, code="PUSH_PLAN_FAILED", **told, applied=False)
    show_plan(output, plan)
    _say_summary(output, plan.is_empty, "Nothing was changed (dry run).")
    output.record(
        {"code": "PUSH_DRY_RUN", **told, "applied": False, **plan_wire(plan), "diagnostics": []}
    )


@command.command(
    "inspect", help=f"Print the tables, columns and indexes that a database has.\n\n{ABOUT_APP}"
)
@app_argument
@db_option
@json_option
def inspect(app: str, db: str | None) -> None:
    output = current()
    live = database(_existing(output, app, db, code="INSPECT_NO_TARGET")).inspect()
    for table in live.tables.values():
        output.say(table.name)
        for column in table.shown_columns:
            output.say(f"  {column.name} {column.type}{' (key)' if column.is_key else ''}")
        for index in table.indexes.values():
            unique = "unique " if index.unique else ""
            where = f" where {index.where}" if index.where else ""
            fields = ", ".join(map(shown_column, index.fields))
            output.say(f"  {unique}index {index.name} ({fields}){where}")
    output.record({"tables": [table.to_wire() for table in live.tables.values()]})


@command.command(
    "history",
    help=f"Print what was done to the schema of a database, newest first.\n\n{ABOUT_APP}",
)
@app_argument
@db_option
@click.option("--limit", metavar="N", help="At most this many entries.")
@click.option("--id", "entry_id", metavar="ID", help="This entry, with its plan.")
@json_option
def history(app: str, db: str | None, limit: str | None, entry_id: str | None) -> None:
    output = current()
    if limit is not None and not (limit.isascii() and limit.isdigit() and int(limit) > 0):
        hint = "Give a number above 0."
        output.fail("HISTORY_INVALID_LIMIT", f"--limit {limit}", hint, exit_code=USAGE)
    path = _existing(output, app, db, code="HISTORY_NO_TARGET")
    entries = database(path).history(limit=None if limit is None else int(limit), entry_id=entry_id)
    if entry_id is not None and not entries:
        output.fail("HISTORY_ENTRY_NOT_FOUND", f"no entry {entry_id} in {path}")
    for entry in entries:
        wire = entry.to_wire()
        steps = "1 step" if entry.operation_count == 1 else f"{entry.operation_count} steps"
        output.say(f"{entry.id}  {entry.applied_at}  {entry.baseline}  {steps}")
        if entry_id is not None:
            for each in entry.migrations:
                output.say(f"  run migrations/{each['number']:04}_{each['name']}.sql")
            for operation in wire["plan"]["operations"]:
                output.say(f"  {_operation_text(operation)}")
    wires = [entry.to_wire() for entry in entries]
    output.record(wires[0] if entry_id is not None else wires)


def _operation_text(operation: dict[str, Any]) -> str:
    """One recorded operation: what it was, of what, and what it meant for the rows."""
    names = [operation.get(key) for key in ("entity", "field_name", "name", "new_name")]
    if isinstance(operation.get("field"), dict):
        names.append(operation["field"].get("name"))
    place = " ".join(str(name) for name in names if name)
    note = f" ({operation['note']})" if operation.get("note") else ""
    return f"{operation.get('op')} {place}{note}"


def _existing(output: Output, app: str, db: str | None, *, code: str) -> Path:
    """The database file; a usage error where there is none."""
    path = database_path(db, app_folder(output, app))
    if not path.is_file():
        hint = "Name it with --db PATH."
        output.fail(code, f"{path} is not there", hint, exit_code=USAGE)
    return path
