"""`pylon export`: every row of a running server into a file."""

from __future__ import annotations

import sys
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import click

from pylon.cli.command import json_option
from pylon.cli.output import current
from pylon.cli.remote import (
    FORMATS,
    PIECE_BYTES,
    form_of,
    progress,
    remote_options,
    send,
)


@click.command(
    "export",
    help="""Write every row of a running server to FILE, or to stdout.

    A file ending in .json gets one JSON object, in .csv the rows of --entity, any other one row a
    line (NDJSON). The rows are those of one moment, private fields included. The file appears when
    it is whole.

    \b
    Examples:
      pylon export rows.ndjson
      pylon export --entity Person people.csv
      pylon export --entity Todo --url https://todo.example.com todos.json
    """,
)
@click.argument("file", default="-", metavar="[FILE]")
@click.option("--entity", metavar="NAME", help="Only this entity.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Instead of what the file's name says."
)
@click.option(
    "--spreadsheet",
    is_flag=True,
    help="CSV to be looked at: texts that would be run as formulas get an apostrophe in front.",
)
@remote_options
@json_option
def command(
    file: str,
    entity: str | None,
    form: str | None,
    spreadsheet: bool,
    url: str,
    token: str | None,
) -> None:
    output = current()
    form = form or form_of(file)
    if form == "csv" and entity is None:
        hint = "Name it with --entity."
        output.fail("ENTITY_MISSING", "A CSV file has rows of one entity.", hint)
    query = f"format={form}{'&spreadsheet=true' if spreadsheet else ''}"
    path = "/api/export" if entity is None else f"/api/export/{quote(entity, safe='')}"
    answer = send(output, "GET", f"{url.rstrip('/')}{path}?{query}", token, headers={})
    partial = Path(f"{file}.part")
    size = 0

    def copy(target: BinaryIO) -> None:
        nonlocal size
        with progress(output, "exported", None) as bar:
            while piece := answer.read(PIECE_BYTES):
                target.write(piece)
                size += len(piece)
                bar.update(len(piece))

    if not partial.parent.is_dir():
        output.fail("EXPORT_FAILED", f"the folder {partial.parent} is not there", "Make it first.")
    try:
        if file == "-":
            copy(sys.stdout.buffer)
            sys.stdout.flush()
            return
        partial.touch(mode=0o600)  # private fields are in it
        with partial.open("wb") as target:
            copy(target)
        partial.replace(file)
    except (OSError, HTTPException) as error:
        partial.unlink(missing_ok=True)
        output.fail("EXPORT_FAILED", f"the export broke off: {error}")
    output.say(f"{file}: {size} bytes")
    output.record({"code": "EXPORT_OK", "file": file, "bytes": size})
