"""`pylon restore`: puts a backup in the place of a database that nobody serves (spec 05 9.7)."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import click

from pylon.cli.backup_command import FILES_HELP, uploads_path
from pylon.cli.command import json_option
from pylon.cli.output import USAGE, current
from pylon.cli.schema_database import database, database_path, db_option


@click.command(
    "restore",
    help="""Put the backup in the folder DIR in the place of the database and the uploaded files.
    A database file instead of a folder, as Litestream restores it, leaves the uploaded files.

    The server must be stopped. The backup is checked and its database opened and proved before
    anything is exchanged, and what was there is kept beside it.

    \b
    Examples:
      pylon restore backups/monday
      pylon restore /mnt/backups/today --db /data/app.db --yes
    """,
)
@click.argument("source", metavar="DIR", required=False, type=click.Path(path_type=Path))
@click.option("--app", default=".", metavar="APP", help="The app. [default: the current folder]")
@db_option
@click.option("--files", metavar="DIR", help=FILES_HELP)
@click.option(
    "--manifest", metavar="PATH", type=click.Path(path_type=Path), help="Also write the manifest."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def command(
    source: Path | None,
    app: str,
    db: str | None,
    files: str | None,
    manifest: Path | None,
    yes: bool,
) -> None:
    from pylon.store.bundle import MANIFEST, read_bundle
    from pylon.store.database import BackupError, DatabaseFailed
    from pylon.store.restoring import restore

    output = current()
    if source is None:
        hint = "For example: pylon restore backups/monday"
        output.fail("RESTORE_NO_DIR", "which backup?", hint, exit_code=USAGE)
    folder = Path(app) if Path(app).is_dir() else Path(app).parent
    path = database_path(db, folder)
    uploads = uploads_path(files, path)
    try:
        bundle = read_bundle(source)
        if not (yes or output.json) and not output.confirm(
            f"Replace {path} and {uploads} by {source}?"
        ):
            output.say("Nothing was changed.")
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        kept = restore(bundle, database(path), uploads, stamp=stamp)
        if manifest is not None and bundle.has_manifest:
            shutil.copyfile(source / MANIFEST, manifest)
    except BackupError as error:
        output.fail(error.code, error.message, error.hint)
    except (OSError, DatabaseFailed) as error:
        output.fail("RESTORE_FAILED", f"cannot restore {path}: {error}")
    output.say(f"{path} is the one of {source}, with {len(bundle.uploads)} uploaded files.")
    for each in kept:
        output.say(f"  What was there: {each}")
    output.record(
        {
            "ok": True,
            "source": str(source),
            "db": True,
            "manifest": manifest is not None and bundle.has_manifest,
            "restored_files": len(bundle.uploads),
            "kept": [str(each) for each in kept],
        }
    )
