"""`pylon start`: serves an app by production rules, in one process, until it is told to stop."""

from __future__ import annotations

import logging
import os

import click

from pylon.cli.options import ABOUT_APP, ServeOptions, serve_options
from pylon.cli.output import current, perhaps_unheard
from pylon.config import DEFAULT_DB_PATH, Config
from pylon.errors import ConfigError
from pylon.unsafe import risks

log = logging.getLogger("pylon")


@click.command(
    "start",
    help=f"""Serve an app in production.

    {ABOUT_APP} Settings come from the environment (no .env file is read) and are checked first:
    PYLON_CORS_ORIGIN and a database are required. SIGTERM, SIGINT or SIGHUP finishes what is in
    flight and stops with exit code 0.

    \b
    Examples:
      PYLON_CORS_ORIGIN=https://todo.example.com pylon start --db /data/todo.db
      pylon start app.py --port 8080 --db /data/app.db
    """,
)
@serve_options(host="default: 0.0.0.0", db="required in production, or env PYLON_DB_PATH")
def command(options: ServeOptions) -> None:
    from pylon.cli.failure import fail_to_load
    from pylon.cli.loading import LoadError, find_entry, load_app
    from pylon.cli.serving import (
        addresses,
        headline,
        make_database_folder,
        serve_app,
        summary,
    )
    from pylon.http.doors import Ports, bind_doors

    output = current()
    try:
        config = Config.from_env(**options.overrides())
        _refuse_settings(config)
        loaded = load_app(find_entry(options.app, verb="START"))
        make_database_folder(config)
        doors = bind_doors(config.host, config.port, single_port=config.single_port)
    except LoadError as problem:
        fail_to_load(output, problem)
    except ConfigError as error:
        output.fail_config(error)
    except OSError as error:
        output.fail("DB_FOLDER_FAILED", f"cannot make the folder of the database: {error}")

    def started(ports: Ports) -> None:
        told_risks = risks(config)
        for risk in told_risks:
            log.warning("%s", risk)
        if told_risks:
            output.warn(_banner(told_risks))
        told = summary(loaded)
        where = addresses(config, ports)
        with perhaps_unheard():
            output.say(f"{headline(told)} on {where['page']}")
            output.say(f"  Database   {_database(options, config)}")
            output.record(
                {
                    "code": "START_OK",
                    "name": told["name"],
                    "version": told["version"],
                    "entry": told["entry"],
                    "port": ports.main,
                    "db_path": None if config.in_memory else os.path.abspath(config.db_path),
                    "urls": where,
                }
            )

    raise click.exceptions.Exit(serve_app(loaded, config, doors, on_started=started))


def _refuse_settings(config: Config) -> None:
    """`ConfigError` for unsafe settings and for a database that nobody has named, all in one, so
    that one start tells everything there is to mend."""
    unsafe: ConfigError | None = None
    try:
        config.validate()
    except ConfigError as error:
        unsafe = error
    if _is_of_dev(config):
        what = f"no database is named but {DEFAULT_DB_PATH}, where dev keeps its data"
        mend = (
            "Name one with --db PATH or PYLON_DB_PATH; to go on with what dev has written:"
            f" --db {DEFAULT_DB_PATH}."
        )
        if unsafe is None:
            raise ConfigError("DB_NOT_NAMED", what, mend)
        raise ConfigError(unsafe.code, f"{unsafe.message}; {what}", f"{unsafe.hint} {mend}")
    if unsafe is not None:
        raise unsafe


def _is_of_dev(config: Config) -> bool:
    """Whether the database is the one that stands for no answer: what is tried out in dev, and
    perhaps deleted there, is not what a service is to live on."""
    is_unnamed = config.db_path == DEFAULT_DB_PATH
    return is_unnamed and not (config.dev_mode or config.in_memory)


def _database(options: ServeOptions, config: Config) -> str:
    """Which file was taken, and who named it."""
    if config.in_memory:
        return "in memory"
    path = os.path.abspath(config.db_path)
    if options.db is not None:
        return path
    return f"{path} ({'the default' if config.db_path == DEFAULT_DB_PATH else 'PYLON_DB_PATH'})"


def _banner(risks: list[str]) -> str:
    """Risks so that nobody who starts the server by hand overlooks them."""
    line = "!" * 78
    return "\n".join((line, *(f"!! {risk}" for risk in risks), line))
