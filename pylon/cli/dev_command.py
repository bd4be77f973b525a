"""`pylon dev`: serves an app while it is written. What happens in it is in `dev_server`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pylon.cli.options import ABOUT_APP, ServeOptions, serve_options
from pylon.cli.output import Output, bold, current
from pylon.config import Config, env_file_values, process_environment
from pylon.errors import ConfigError
from pylon.limits import RATE_LIMIT_MAX_DEV

if TYPE_CHECKING:
    from pylon.cli.dev_server import Report, Told
    from pylon.http.doors import Ports


@click.command(
    "dev",
    help=f"""Serve an app while you write it.

    {ABOUT_APP} Reads .env.local and .env from the nearest folder at or above the app; the
    process environment wins. Dev mode is on, the data is in .pylon/dev.db beside the app, and
    only this machine is served. A saved change restarts the server, and a broken one is shown while
    the version before goes on serving.

    \b
    Examples:
      pylon dev
      pylon dev examples/todo --port 8080
      pylon dev pylon.manifest.json --in-memory
    """,
)
@serve_options(host="default: 127.0.0.1", db="default: .pylon/dev.db beside the app")
def command(options: ServeOptions) -> None:
    from pylon.cli.failure import fail_to_load
    from pylon.cli.loading import LoadError, find_entry
    from pylon.cli.serving import make_database_folder
    from pylon.http.doors import bind_doors

    output = current()
    try:
        entry = find_entry(options.app, verb="DEV")
        overrides = _overrides(options, entry.folder)
        config = Config.from_env(_environment(entry.folder), **overrides).validate()
        make_database_folder(config)
        doors = bind_doors(config.host, config.port, single_port=config.single_port)
    except LoadError as problem:
        fail_to_load(output, problem)
    except ConfigError as error:
        output.fail_config(error)
    except OSError as error:
        output.fail("DB_FOLDER_FAILED", f"cannot make the folder of the database: {error}")
    from pylon.cli.dev_schema import SchemaMark
    from pylon.cli.dev_server import DevServer

    if config.dev_allow_remote:
        output.warn(
            "PYLON_DEV_ALLOW_REMOTE=1: everybody who can reach this server may do what policies"
            " leave open, and entities without a policy are open to all."
        )
    overrides["port"] = doors.ports.main
    server = DevServer(
        entry,
        doors,
        overrides=overrides,
        environment=lambda: _environment(entry.folder),
        told=_told(output, config, doors.ports, entry.folder),
        schema_mark=SchemaMark(None if config.in_memory else Path(config.db_path)),
        stdout_to_stderr=output.json,
    )
    try:
        server.run()
    finally:
        doors.close()
    output.say("stopped")


def _overrides(options: ServeOptions, folder: Path) -> dict[str, Any]:
    """The command line's settings; the data of `dev` is beside the app whatever the environment
    says (spec 05 section 9.3)."""
    overrides = {**options.overrides()}
    if overrides["db_path"] is None:
        overrides["db_path"] = str(folder / ".pylon" / "dev.db")
    return {name: value for name, value in overrides.items() if value is not None}


def _environment(folder: Path) -> dict[str, str]:
    """The process environment over the env files over the defaults of `dev`."""
    defaults = {
        "PYLON_DEV_MODE": "1",
        "PYLON_RATE_LIMIT_MAX": str(RATE_LIMIT_MAX_DEV),
        "PYLON_FN_RATE_LIMIT_MAX": str(RATE_LIMIT_MAX_DEV),
        "PYLON_FILES_DIR": str(folder / ".pylon" / "uploads"),
    }
    return process_environment({**defaults, **env_file_values(folder)})


def _told(output: Output, config: Config, ports: Ports, folder: Path) -> Told:
    """What is printed when the server serves, is broken, or has ended by itself."""
    from pylon.cli.dev_schema import Asker
    from pylon.cli.dev_server import Told
    from pylon.cli.serving import addresses, database_name, headline

    where = addresses(config, ports)

    def serving(build: int, report: Report) -> None:
        output.say(f"[{build}] OK: {headline(report)}")
        if build == 1 or not serving_once:
            serving_once.append(True)
            output.say(_banner(where, database_name(config), folder))
        told = {name: value for name, value in report.items() if name not in ("state", "schema")}
        output.record(
            {"code": "DEV_OK", "rebuild": build, **told, "diagnostics": [], "urls": where}
        )

    def broken(build: int, report: Report, still_serving: bool) -> None:
        from pylon.schema.diagnostics import Diagnostic, Span

        first = report["findings"][0]
        output.record(
            {
                "code": "DEV_ERROR",
                "rebuild": build,
                "error": first["message"],
                "diagnostics": report["findings"],
            }
        )
        if output.json:
            return
        if report["traceback"]:
            output.warn(report["traceback"])
        for finding in report["findings"]:
            span = Span(**finding["span"]) if "span" in finding else None
            output.diagnostics([Diagnostic(**{**finding, "span": span})])
        state = "The version before goes on serving. " if still_serving else ""
        output.warn(f"[{build}] FAILED. {state}Waiting for the next change.")

    def ended(exit_code: int) -> None:
        output.record({"code": "DEV_ENDED", "exit_code": exit_code})
        output.warn(f"The server ended with exit code {exit_code}. Waiting for the next change.")

    serving_once: list[bool] = []
    asker = Asker(output)
    return Told(serving=serving, broken=broken, ended=ended, schema=asker.decide)


def _banner(where: dict[str, str], database: str, folder: Path) -> str:
    """Where everything is, for people."""

    def also(door: str) -> str:
        return f"   (and {where[door]})" if door in where else ""

    return "\n".join(
        (
            "",
            f"  Page       {bold(where['page'])}",
            f"  API        {where['api']}",
            f"  WebSocket  {where['websocket']}{also('websocket_door')}",
            f"  SSE        {where['sse']}{also('sse_door')}",
            f"  Database   {database}",
            "",
            f"  Watching {folder} for changes. Ctrl-C stops.",
            "",
        )
    )
