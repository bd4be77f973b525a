"""`pylon migrate`: hand-written SQL and renames, over the engine of `schema push` (spec 05 9.2)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from pylon.store.evolution.ledger import RanMigration
    from pylon.store.evolution.model import Outcome, SqlMigration
    from pylon.store.evolution.session import Proposal

_NAME = re.compile(r"[A-Za-z0-9_]+")


@click.group(
    "migrate",
    help="""Write SQL migrations, and run them together with what the schema needs.

    Migrations are files migrations/NNNN_name.sql beside the app. `apply` runs each once, in order,
    and then fits the tables to the app, all in one transaction.

    \b
    Examples:
      pylon migrate create split_names
      pylon migrate plan
      pylon migrate apply --yes
    """,
)
@json_option
def command() -> None:
    """The subcommands below."""


def folder_option(function: Any) -> Any:
    """`--dir`, the folder of the migrations."""
    return click.option(
        "--dir",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        help="The folder of the migrations. [default: migrations/ beside the app, or here]",
    )(function)


@command.command("create", help="Write an empty migration with the next number.")
@click.argument("name", required=False)
@folder_option
@json_option
def create(name: str | None, folder: Path | None) -> None:
    from pylon.store.evolution.migration_files import FOLDER, TEMPLATE, next_file
    from pylon.store.evolution.model import EvolutionError

    output = current()
    folder = folder or Path(FOLDER)
    if not name or _NAME.fullmatch(name) is None:
        hint = "Use letters, digits and _, for example: pylon migrate create split_names"
        wrong = f"{name!r} is no name" if name else "which name?"
        output.fail("MIGRATE_INVALID_NAME", wrong, hint, exit_code=USAGE)
    try:
        path = next_file(folder, name)
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except EvolutionError as error:
        fail_evolution(output, error)
    except OSError as error:
        output.fail("MIGRATE_WRITE_FAILED", f"cannot write into {folder}: {error.strerror}")
    number = int(path.name.partition("_")[0])
    output.say(f"{path}: write the SQL below `-- UP`, then run `pylon migrate apply`.")
    output.record({"created": path.name, "path": str(path), "number": number})


@command.command("list", help=f"Print every migration and whether it has run.\n\n{ABOUT_APP}")
@app_argument
@db_option
@folder_option
@json_option
def list_(app: str, db: str | None, folder: Path | None) -> None:
    output = current()
    states = _states(output, app, db, folder)
    for state in states:
        output.say(
            f"{state['filename']}  {state['status']}  {state.get('applied_at', '')}".rstrip()
        )
    if not states:
        output.say("There are no migrations.")
    output.record({"migrations": states})


@command.command(
    "status", help=f"Print how many migrations have run and how many have not.\n\n{ABOUT_APP}"
)
@app_argument
@db_option
@folder_option
@json_option
def status(app: str, db: str | None, folder: Path | None) -> None:
    output = current()
    states = _states(output, app, db, folder)
    applied = sum(state["status"] != "pending" for state in states)
    output.say(f"{applied} of {len(states)} migrations have run.")
    output.record({"total": len(states), "applied": applied, "pending": len(states) - applied})


def _states(output: Output, app: str, db: str | None, folder: Path | None) -> list[dict[str, Any]]:
    from pylon.store.evolution.migration_files import FOLDER, read_migrations
    from pylon.store.evolution.model import EvolutionError

    beside = app_folder(output, app)
    try:
        migrations = read_migrations(_existing(folder) or beside / FOLDER)
    except EvolutionError as error:
        fail_evolution(output, error)
    ran = database(database_path(db, beside)).ran_migrations()
    states = [_state(each, ran.get(each.number)) for each in migrations]
    files = {each.number for each in migrations}
    states += [_gone(ran[number]) for number in ran.keys() - files]
    return sorted(states, key=lambda state: state["number"])


def _existing(folder: Path | None) -> Path | None:
    """The folder that was named; one that is not there was hardly meant."""
    if folder is not None and not folder.is_dir():
        raise click.UsageError(f"--dir {folder}: there is no such folder.")
    return folder


def _gone(ran: RanMigration) -> dict[str, Any]:
    """A migration that has run and whose file is there no more."""
    return {
        "number": ran.number,
        "name": ran.name,
        "filename": f"{ran.number:04}_{ran.name}.sql",
        "status": "missing",
        "applied_at": ran.applied_at,
    }


def _state(migration: SqlMigration, ran: RanMigration | None) -> dict[str, Any]:
    state: dict[str, Any] = {
        "number": migration.number,
        "name": migration.name,
        "filename": f"{migration.label}.sql",
        "status": "pending",
    }
    if ran is not None:
        changed = ran.checksum != migration.checksum
        state |= {"status": "changed" if changed else "applied", "applied_at": ran.applied_at}
    return state


@command.command("plan", help=f"Print what `apply` would do; nothing is changed.\n\n{ABOUT_APP}")
@app_argument
@db_option
@folder_option
@rename_options
@json_option
def plan(
    app: str,
    db: str | None,
    folder: Path | None,
    rename: tuple[str, ...],
    rename_entity: tuple[str, ...],
) -> None:
    _run(app, db, folder, rename, rename_entity, dry_run=True)


@command.command(
    "apply",
    short_help="Run what has not run, then fit the tables.",
    help=f"""Run the migrations that have not run, then fit the tables to the app.

    {ABOUT_APP} The database file is copied first when a migration runs or something is removed.
    """,
)
@app_argument
@db_option
@folder_option
@rename_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--allow-destructive", is_flag=True, help="Also remove and convert with loss.")
@json_option
def apply(
    app: str,
    db: str | None,
    folder: Path | None,
    rename: tuple[str, ...],
    rename_entity: tuple[str, ...],
    yes: bool,
    allow_destructive: bool,
) -> None:
    _run(
        app,
        db,
        folder,
        rename,
        rename_entity,
        dry_run=False,
        allow_destructive=allow_destructive,
        yes=yes,
    )


def _run(
    app: str,
    db: str | None,
    folder: Path | None,
    rename: tuple[str, ...],
    rename_entity: tuple[str, ...],
    *,
    dry_run: bool,
    allow_destructive: bool = False,
    yes: bool = False,
) -> None:
    from pylon.store.evolution.migration_files import FOLDER
    from pylon.store.evolution.model import EvolutionError
    from pylon.store.evolution.session import Evolution
    from pylon.store.evolution.wish import Wish

    output = current()
    loaded = load(output, app, verb="MIGRATE")
    evolution = Evolution(
        database(database_path(db, loaded.entry.folder)),
        loaded.manifest,
        Wish(
            allow="destructive" if allow_destructive else "careful",
            hints=read_hints(rename, rename_entity),
            baseline="migrate",
        ),
        app=app,
        command="migrate apply",
        progress=progress_line(output),
    )

    def agree(proposal: Proposal) -> bool:
        show_plan(output, proposal.shown)
        return yes or output.json or output.confirm("Apply?")

    try:
        evolution.add_migrations(_existing(folder) or loaded.entry.folder / FOLDER)
        if dry_run:
            _tell_plan(output, evolution.propose())
            return
        outcome = evolution.run(agree)
    except EvolutionError as error:
        fail_evolution(output, error, applied=0)
    if outcome is None:
        output.say("Nothing was changed.")
    else:
        _tell_outcome(output, outcome)


def _tell_plan(output: Output, proposal: Proposal) -> None:
    planned = proposal.plan
    show_plan(output, planned)
    output.say("Up to date." if planned.is_empty else "Nothing was changed (plan).")
    wire = plan_wire(planned)
    output.record(
        {
            "steps": wire["plan"]["operations"] if planned.steps else [],
            "has_destructive": wire["analysis"]["destructive"],
            "blocked": bool(proposal.blocked),
            **wire,
        }
    )


def _tell_outcome(output: Output, outcome: Outcome) -> None:
    if outcome.history_id is None:
        output.say("Up to date.")
        output.record({"applied": 0, "up_to_date": True})
        return
    if outcome.backup:
        output.say(f"  The database as it was: {outcome.backup}")
    output.say("Applied.")
    wire = plan_wire(outcome.plan)
    output.record(
        {
            "applied": len(outcome.plan.steps) + len(outcome.plan.migrations),
            "steps": wire["plan"]["operations"] if outcome.plan.steps else [],
            "history_id": outcome.history_id,
            "backup": outcome.backup,
            **wire,
        }
    )
