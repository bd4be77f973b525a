"""The argument and the options that `dev` and `start` share, and the settings they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from pylon.cli.command import json_option
from pylon.config import DEFAULT_PORT


class ServeOptions(Struct, frozen=True, kw_only=True):
    """What was given on the command line; None where nothing was."""

    app: str
    port: int | None
    host: str | None
    db: str | None
    in_memory: bool

    def overrides(self) -> dict[str, Any]:
        """The fields of `Config` that win over the environment."""
        return {
            "port": self.port,
            "host": self.host,
            "db_path": None if self.db is None else str(Path(self.db).absolute()),
            "in_memory": True if self.in_memory else None,
        }


def app_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """`[APP]`, the current folder by default."""
    return click.argument("app", default=".", metavar="[APP]")(command)


def serve_options(*, host: str, db: str) -> Callable[..., Any]:
    """Hand the command one `ServeOptions`. `host` and `db` say where their defaults come from."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        def handed(**given: Any) -> Any:
            return command(ServeOptions(**given))

        handed.__doc__ = command.__doc__
        decorators = (
            app_argument,
            click.option(
                "--port",
                type=click.IntRange(0, 65_535),
                help=f"Main port; WebSocket is one above it, SSE two. 0 takes a free one. "
                f"[default: {DEFAULT_PORT}; env PYLON_PORT]",
            ),
            click.option("--host", help=f"Address to bind. [{host}; env PYLON_HOST]"),
            click.option("--db", metavar="PATH", help=f"The SQLite database file. [{db}]"),
            click.option(
                "--in-memory",
                is_flag=True,
                help="Keep everything in memory; a stop loses it. [env PYLON_IN_MEMORY]",
            ),
            json_option,
        )
        wrapped: Callable[..., Any] = handed
        for decorate in reversed(decorators):
            wrapped = decorate(wrapped)
        return wrapped

    return decorated


ABOUT_APP = "APP is a folder, an app.py or a manifest .json file (default: the current folder)."
"""The sentence in every `--help`."""
