"""What `schema` and `migrate` share: the app, its database file, and how a plan is shown.

The database is the one that `dev` or `start` would use: `--db`, else `PYLON_DB_PATH`, else
`.pylon/dev.db` beside the app.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pylon.cli.output import USAGE, Output
from pylon.config import process_environment

if TYPE_CHECKING:
    from pylon.cli.loading import LoadedApp
    from pylon.store.database import Database
    from pylon.store.evolution.model import EvolutionError, Hints, Plan

DB_HELP = "The SQLite database file. [env PYLON_DB_PATH; default: .pylon/dev.db beside the app]"


def db_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--db PATH`; `--sqlite PATH` is the reference's name for it."""
    return click.option("--db", "--sqlite", "db", metavar="PATH", help=DB_HELP)(command)


def rename_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The hints: what looks like one field gone and one new may be a rename."""
    for decorate in (
        click.option(
            "--rename-entity",
            "--rename-table",
            "rename_entity",
            multiple=True,
            metavar="OLD:NEW",
            help="An entity has a new name.",
        ),
        click.option(
            "--rename",
            "--rename-column",
            "rename",
            multiple=True,
            metavar="ENTITY.OLD:NEW",
            help="A field has a new name.",
        ),
    ):
        command = decorate(command)
    return command


def read_hints(rename: tuple[str, ...], rename_entity: tuple[str, ...]) -> Hints:
    """The options as values; a usage error where they are not well-formed."""
    from pylon.store.evolution.model import Hints

    fields: list[tuple[str, str, str]] = []
    for text in rename:
        place, _, new = text.partition(":")
        entity, _, old = place.partition(".")
        if not (entity and old and new):
            raise click.UsageError(f"--rename {text}: write Entity.old:new.")
        fields.append((entity, old, new))
    entities: list[tuple[str, str]] = []
    for text in rename_entity:
        before, _, after = text.partition(":")
        if not (before and after):
            raise click.UsageError(f"--rename-entity {text}: write Old:New.")
        entities.append((before, after))
    return Hints(fields=tuple(fields), entities=tuple(entities))


def load(output: Output, app: str, *, verb: str) -> LoadedApp:
    """The app, or its mistakes printed and the end of the process."""
    from pylon.cli.failure import fail_to_load
    from pylon.cli.loading import LoadError, find_entry, load_app

    try:
        return load_app(find_entry(app, verb=verb))
    except LoadError as problem:
        fail_to_load(output, problem)


def app_folder(output: Output, app: str) -> Path:
    """The folder of an app that need not load, or even be there any more."""
    path = Path(app)
    if not path.exists():
        output.fail("APP_NOT_FOUND", f"{app} is not there", "APP is a folder or a file in it.")
    return path if path.is_dir() else path.parent


def database_path(db: str | None, folder: Path) -> Path:
    """The file that is meant."""
    given = db or process_environment().get("PYLON_DB_PATH")
    return Path(given) if given else folder / ".pylon" / "dev.db"


def database(path: Path) -> Database:
    """The database there, with the server's own tables. A `ConfigError` of it ends the process as
    one line (`command.run`)."""
    from pylon.store.opening import open_database
    from pylon.wiring import PARTS, table_steps

    return open_database(path, tables=table_steps(PARTS))


def progress_line(output: Output) -> Callable[[str, int, int], None]:
    """Progress on a terminal: one line that is written over."""
    if output.json or not sys.stderr.isatty():
        return lambda what, done, total: None

    def show(what: str, done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        click.echo(f"\r  {what}: {done} of {total}{end}", err=True, nl=False)

    return show


def show_plan(output: Output, plan: Plan) -> None:
    """Every step, for people."""
    from pylon.store.evolution.words import planned_text

    for label in plan.migrations:
        output.say(f"  run migrations/{label}.sql")
    for planned in plan.steps:
        output.say(f"  {planned_text(planned)}")
    for suggestion in plan.suggestions:
        output.say(f"  ? {suggestion.message} Then: {suggestion.option}")
    for notice in plan.notices:
        output.say(f"  ! {notice}")


def plan_wire(plan: Plan) -> dict[str, Any]:
    """The plan and its analysis (spec 05 section 8.1)."""
    operations = [each.to_wire() for each in plan.steps]
    return {
        "plan": {
            "migrations": list(plan.migrations),
            "operations": operations or ([] if plan.migrations else [{"op": "noop"}]),
        },
        "analysis": {
            "destructive": bool(plan.at("destructive")),
            "has_unsupported": bool(plan.refused),
            "warnings": _warnings(plan),
        },
    }


def _warnings(plan: Plan) -> list[dict[str, str]]:
    from pylon.store.evolution.model import step_wire
    from pylon.store.evolution.words import planned_text

    found: list[dict[str, str]] = []
    for planned in plan.steps:
        code = "REFUSED_" if planned.refused is not None else ""
        if not code and planned.level == "destructive":
            code = "DESTRUCTIVE_"
        if code:
            op = str(step_wire(planned.step)["op"]).upper()
            found.append({"code": f"{code}{op}", "message": planned_text(planned)})
    found += [
        {"code": "RENAME_LIKELY", "message": f"{each.message} Then: {each.option}"}
        for each in plan.suggestions
    ]
    found += [{"code": "INDEX_AS_WRITTEN", "message": each} for each in plan.notices]
    return found


def fail_evolution(
    output: Output, error: EvolutionError, *, code: str | None = None, **told: Any
) -> NoReturn:
    """Print why nothing was changed, with the plan, and end the process."""
    from pylon.store.evolution.model import Plan
    from pylon.store.evolution.words import planned_text

    plan = error.plan or Plan()
    if output.json and error.plan is not None:
        finding = {"severity": "error", "code": error.code, "message": error.message}
        if error.hint:
            finding["hint"] = error.hint
        output.record(
            {"code": code or error.code, **told, **plan_wire(plan), "diagnostics": [finding]}
        )
        raise click.exceptions.Exit(1)
    show_plan(output, plan)
    reasons = [planned_text(each) for each in plan.refused]
    message = error.message + (f" {'; '.join(reasons)}." if reasons else "")
    output.fail(error.code, message, error.hint, exit_code=_exit_code(error.code))


def _exit_code(code: str) -> int:
    return USAGE if code == "RENAME_INVALID" else 1
