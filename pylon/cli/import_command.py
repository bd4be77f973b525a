"""`pylon import`: the rows of a file into a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from pylon import codec
from pylon.cli.command import json_option
from pylon.cli.output import Output, current
from pylon.cli.remote import FORMATS, form_of, pieces, progress, remote_options, send

ERRORS_SHOWN = 10


@click.command(
    "import",
    help="""Insert the rows of FILE, as `pylon export` writes it, into a running server.

    A file ending in .json is one JSON object, in .csv rows of one entity, any other one row a line
    (NDJSON). Rows keep their ids. It can be repeated: rows that are there already, by their id or
    by --key, are not inserted again. Exit code 1 when some row failed.

    \b
    Examples:
      pylon import rows.ndjson
      pylon import people.csv --entity Person --key email
      pylon import --mode upsert todos.json --url https://todo.example.com
    """,
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(["skip", "upsert", "keep", "insert"]),
    help="What to do with rows that exist and differ: report them, overwrite them, leave them, or"
    " report all that exist.  [default: skip; upsert with --key]",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Instead of what the file's name says."
)
@click.option("--entity", metavar="NAME", help="Whose rows a CSV file has, or --key finds.")
@click.option(
    "--key",
    metavar="FIELDS",
    help="Unique fields with commas between: rows that have the same values exist.",
)
@remote_options
@json_option
def command(
    file: Path,
    mode: str | None,
    form: str | None,
    entity: str | None,
    key: str | None,
    url: str,
    token: str | None,
) -> None:
    output = current()
    form = form or form_of(file.name)
    if entity is None and (form == "csv" or key is not None):
        what = "A CSV file has rows of one entity" if form == "csv" else "--key is of one entity"
        output.fail("ENTITY_MISSING", f"{what}.", "Name it with --entity.")
    asked = {"format": form, "mode": mode, "entity": entity, "key": key}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    with (
        file.open("rb") as source,
        progress(output, "imported", file.stat().st_size) as bar,
    ):
        answer = send(
            output,
            "POST",
            f"{url.rstrip('/')}/api/import?{query}",
            token,
            headers={"content-type": "application/json"},
            body=pieces(source, bar.update),
        )
        report = codec.decode(answer.read())
    _show(output, report)
    if report["failed"]:
        raise click.exceptions.Exit(1)


def _show(output: Output, report: dict[str, Any]) -> None:
    output.record({"code": "IMPORT_OK" if not report["failed"] else "IMPORT_INCOMPLETE", **report})
    output.say(
        f"{report['imported']} inserted, {report['updated']} updated,"
        f" {report['skipped']} there already, {report['failed']} failed"
    )
    for error in report["errors"][:ERRORS_SHOWN]:
        place = f"row {error['row']}"
        if error["entity"] != "(unreadable)":
            place += f" ({error['entity']})"
        output.warn(f"  {place}: {error['code']}: {error['message']}")
    more = report["failed"] - min(len(report["errors"]), ERRORS_SHOWN)
    if more > 0:
        output.warn(f"  and {more} more")
