"""Prints a `LoadError`: the findings, then the user's part of the traceback. For all commands."""

from __future__ import annotations

from typing import NoReturn

import click

from pylon.cli.loading import LoadError
from pylon.cli.output import Output


def fail_to_load(output: Output, problem: LoadError) -> NoReturn:
    """Print everything that is wrong with the app and end the process."""
    show_load_error(output, problem)
    raise click.exceptions.Exit(problem.exit_code)


def show_load_error(output: Output, problem: LoadError) -> None:
    """Print everything that is wrong with the app."""
    if problem.traceback_text is not None:
        output.warn(problem.traceback_text)
    output.diagnostics(problem.findings)
