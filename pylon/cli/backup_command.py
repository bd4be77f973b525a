"""`pylon backup`: a consistent bundle of an app's data, also while it is served (spec 05 9.7)."""

from __future__ import annotations

from pathlib import Path

import click

from pylon.cli.command import json_option
from pylon.cli.output import USAGE, Output, current
from pylon.cli.schema_database import database, database_path, db_option
from pylon.config import process_environment

FILES_HELP = "The folder of uploaded files. [env PYLON_FILES_DIR; default: uploads/ beside the db]"


def uploads_path(files: str | None, database: Path) -> Path:
    """The folder of uploaded files that belongs to a database."""
    given = files or process_environment().get("PYLON_FILES_DIR")
    return Path(given) if given else database.parent / "uploads"


@click.command(
    "backup",
    help="""Copy the database, the uploaded files and the manifest into the new folder DIR.

    It may be run while the app is served: the copy is the database as it was at one moment. DIR
    has the checksum of every file; `pylon restore DIR` checks them.

    \b
    Examples:
      pylon backup backups/monday
      pylon backup /mnt/backups/today --db /data/app.db --files /data/uploads
    """,
)
@click.argument("target", metavar="DIR", required=False, type=click.Path(path_type=Path))
@click.option("--app", default=".", metavar="APP", help="The app. [default: the current folder]")
@db_option
@click.option("--files", metavar="DIR", help=FILES_HELP)
@json_option
def command(target: Path | None, app: str, db: str | None, files: str | None) -> None:
    from pylon.store.bundle import make_bundle
    from pylon.store.database import BackupError, DatabaseFailed

    output = current()
    if target is None:
        hint = "For example: pylon backup backups/monday"
        output.fail("BACKUP_NO_DIR", "into which folder?", hint, exit_code=USAGE)
    folder = Path(app) if Path(app).is_dir() else Path(app).parent
    path = database_path(db, folder)
    if not path.is_file():
        output.fail("BACKUP_NO_DATABASE", f"{path} is not there", "Name it with --db PATH.")
    try:
        bundle = make_bundle(
            target,
            database=database(path),
            manifest_json=_manifest(output, app, path),
            uploads=uploads_path(files, path),
        )
    except BackupError as error:
        output.fail(error.code, error.message, error.hint)
    except (OSError, DatabaseFailed) as error:
        output.fail("BACKUP_FAILED", f"cannot write {target}: {error}")
    output.say(f"{bundle.folder}: the database and {len(bundle.uploads)} uploaded files.")
    output.record(
        {
            "ok": True,
            "target": str(bundle.folder),
            "db": True,
            "manifest": bundle.has_manifest,
            "uploaded_files": len(bundle.uploads),
        }
    )


def _manifest(output: Output, app: str, path: Path) -> bytes | None:
    """The app's manifest; where it cannot be loaded, the one that the database was fitted to."""
    from pylon import codec
    from pylon.cli.loading import LoadError, find_entry, load_app

    try:
        manifest = load_app(find_entry(app, verb="BACKUP")).manifest
        return codec.encode_pretty(manifest.to_wire()).encode()
    except LoadError:
        output.warn("The app cannot be loaded; its manifest is taken from the database.")
    newest = database(path).history(limit=1)
    return newest[0].manifest_json.encode() if newest else None
