"""`pylon version`: the same as `pylon --version`."""

from __future__ import annotations

import click

from pylon.cli.command import json_option, show_version
from pylon.cli.output import current


@click.command("version")
@json_option
def command() -> None:
    """Print the version."""
    show_version(current())
