"""`pylon import`: the rows of a file into a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pylon import codec
from pylon.cli.command import json_option
from pylon.cli.output import Output, current
from pylon.cli.remote import pieces, progress, remote_options, send

ERRORS_SHOWN = 10


@click.command(
    "import",
    help="""Insert the rows of FILE, as `pylon export` writes it, into a running server.

    Rows keep their ids. A file ending in .json is one JSON object, any other one row a line
    (NDJSON). It can be repeated: rows that are there already are passed over. Exit code 1 when
    some row failed.

    \b
    Examples:
      pylon import rows.ndjson
      pylon import --mode upsert todos.json --url https://todo.example.com
    """,
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(["skip", "upsert", "insert"]),
    default="skip",
    show_default=True,
    help="What to do with rows that exist and differ: report them, overwrite them, or report all.",
)
@remote_options
@json_option
def command(file: Path, mode: str, url: str, token: str | None) -> None:
    output = current()
    form = "json" if file.suffix == ".json" else "ndjson"
    with (
        file.open("rb") as source,
        progress(output, "imported", file.stat().st_size) as bar,
    ):
        answer = send(
            output,
            "POST",
            f"{url.rstrip('/')}/api/import?mode={mode}&format={form}",
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
        if error["code"] != "INVALID_JSON":
            place += f" ({error['entity']})"
        output.warn(f"  {place}: {error['code']}: {error['message']}")
    more = report["failed"] - min(len(report["errors"]), ERRORS_SHOWN)
    if more > 0:
        output.warn(f"  and {more} more")
