"""The command line as a whole: which subcommands there are, `--version`, and how it fails.

Subcommands are imported when they are called, so that none pays for another, and `--help` for none
of them. Called by `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from pylon import __version__
from pylon.cli.output import USAGE, Output
from pylon.errors import ConfigError

COMMANDS = {
    "dev": "Serve an app while you write it; restarts on every change.",
    "start": "Serve an app in production.",
    "init": "Write a new app from a template.",
    "manifest": "Print an app's manifest as JSON.",
    "export": "Write every row of a running server to a file.",
    "import": "Insert the rows of a file into a running server.",
    "policy": "Try policies, check them, and say which one decided.",
    "schema": "Look at a schema; bring a database to it.",
    "migrate": "Write and run SQL migrations.",
    "backup": "Copy an app's data, also while it is served.",
    "restore": "Put a backup in place of a database.",
    "version": "Print the version.",
}
"""Every subcommand and its line in `pylon --help`, also those that are about one feature; each is
`command` in the module `<name>_command` of this folder. Said here and not in the features' parts:
to ask those is to import the whole program."""


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = import_module(f"pylon.cli.{cmd_name}_command").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        close = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        known = f"Commands: {', '.join(COMMANDS)}."
        hint = f"Did you mean: {close[0]}?" if close else known
        raise click.UsageError(f"There is no command {name!r}. {hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, for every command: print JSON on stdout instead of text."""

    def switch(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            output = ctx.find_root().obj
            assert isinstance(output, Output)
            output.json = True

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=switch,
        help="Print JSON on stdout, for programs.",
    )(command)


@click.group(
    "pylon",
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `pylon init todo-app`, then `pylon dev todo-app`.",
)
@json_option
@click.option("--version", is_flag=True, help="Print the version and stop.")
@click.pass_context
def pylon_command(ctx: click.Context, version: bool) -> None:
    """Pylon: declare entities and policies in Python, get a realtime backend."""
    if version:
        show_version(ctx.obj)
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def show_version(output: Output) -> None:
    """Print the version, for people or for programs."""
    output.say(f"pylon {__version__}")
    output.record({"version": __version__})


def run(command: click.Command, args: list[str] | None = None) -> None:
    """Run the command and end the process; a usage error is exit code 64, and a refused database is
    one line."""
    output = Output(json="--json" in (sys.argv[1:] if args is None else args))
    try:
        result = command.main(args, prog_name="pylon", standalone_mode=False, obj=output)
    except click.UsageError as error:
        _show_usage_error(output, error)
        sys.exit(USAGE)
    except click.ClickException as error:
        output.warn(f"error: {error.format_message()}")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except ConfigError as error:
        output.report(error.code, error.message, error.hint)
        sys.exit(error.exit_code)
    sys.exit(result if isinstance(result, int) else 0)


def _show_usage_error(output: Output, error: click.UsageError) -> None:
    message = error.format_message()
    command = error.ctx.command_path if error.ctx is not None else "pylon"
    hint = f"Try `{command} --help`."
    if output.json:
        finding = {"severity": "error", "code": "USAGE", "message": message, "hint": hint}
        output.record([finding])
        return
    output.warn(f"error: {message}\n  hint: {hint}")
