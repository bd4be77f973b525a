"""`pylon manifest`: the app's manifest as JSON, for other tools and to look at."""

from __future__ import annotations

import sys

import click

from pylon.cli.command import json_option
from pylon.cli.failure import fail_to_load
from pylon.cli.loading import LoadError, find_entry, load_app
from pylon.cli.options import ABOUT_APP, app_argument
from pylon.cli.output import current


@click.command(
    "manifest",
    help=f"""Print an app's manifest as JSON.

    {ABOUT_APP} Mistakes in the app are printed instead, with exit code 1.

    \b
    Examples:
      pylon manifest
      pylon manifest examples/todo > pylon.manifest.json
    """,
)
@app_argument
@json_option
def command(app: str) -> None:
    output = current()
    try:
        loaded = load_app(find_entry(app, verb="MANIFEST"))
    except LoadError as problem:
        fail_to_load(output, problem)
    from pylon import codec

    wire = loaded.manifest.to_wire()
    if output.json:
        output.record(wire)
    else:
        sys.stdout.write(codec.encode_pretty(wire))
