"""`pylon restore`: puts a backup in the place of a database that nobody serves (spec 05 9.7).

    check the bundle -> copy it beside -> prove the copy -> lock out everybody -> exchange

Until the last step nothing that exists is touched; what was there is kept beside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pylon.cli.backup_command import FILES_HELP, uploads_path
from pylon.cli.command import json_option
from pylon.cli.output import USAGE, current
from pylon.cli.schema_database import database_path, db_option

if TYPE_CHECKING:
    from pylon.cli.bundle import Bundle

SEQ_GAP = 1_000_000
"""Positions of the change log that are passed over, for those given out after the backup was made:
readers who know them must not take later changes for what they have."""


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
    import apsw

    from pylon.cli.bundle import MANIFEST, BundleError, read_bundle

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
        kept = _restore(bundle, path, uploads)
        if manifest is not None and bundle.has_manifest:
            shutil.copyfile(source / MANIFEST, manifest)
    except BundleError as error:
        output.fail(error.code, error.message, error.hint)
    except (OSError, apsw.Error) as error:
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


def _restore(bundle: Bundle, path: Path, uploads: Path) -> list[Path]:
    """Exchange database and files; what was there before, under its new names."""
    from pylon.cli.bundle import copy_uploads
    from pylon.store.sqlite.file_copy import sync_folder

    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    staged = path.with_name(f".{path.name}.restoring")
    staged_uploads = uploads.with_name(f".{uploads.name}.restoring")
    kept: list[Path] = []
    with _alone(path):
        shutil.rmtree(staged_uploads, ignore_errors=True)
        try:
            shutil.copyfile(bundle.database, staged)
            _prove(staged, path)
            if bundle.uploads:
                copy_uploads(bundle, staged_uploads)
            _fold_log(path)
            if path.exists():
                kept.append(_free_name(path, stamp))
                os.link(path, kept[-1])
            staged.replace(path)
            if uploads.exists() and not bundle.is_single:
                kept.append(_free_name(uploads, stamp))
                uploads.rename(kept[-1])
            if staged_uploads.exists():
                staged_uploads.rename(uploads)
            sync_folder(path.absolute().parent)
        finally:
            staged.unlink(missing_ok=True)
            shutil.rmtree(staged_uploads, ignore_errors=True)
    return kept


def _free_name(path: Path, stamp: str) -> Path:
    number, name = 1, path.with_name(f"{path.name}.{stamp}.before-restore")
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.{stamp}-{number}.before-restore")
    return name


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody serves the database, and nobody begins to."""
    from pylon.cli.bundle import BundleError
    from pylon.store.sqlite.file_copy import is_in_use
    from pylon.store.sqlite.lock import DatabaseLock

    in_use = BundleError(
        "RESTORE_IN_USE", f"{path} is in use by a server or another process", "Stop it first."
    )
    try:
        lock = DatabaseLock(path)
    except BlockingIOError:
        raise in_use from None
    try:
        if is_in_use(path):
            raise in_use
        yield
    finally:
        lock.release()


def _prove(staged: Path, replaced: Path) -> None:
    """Open the copy, check it, and make every reader's cursor start anew."""
    import apsw

    from pylon.cli.bundle import BundleError
    from pylon.store.sqlite.evolution.follow import restart_cursors
    from pylon.store.sqlite.file_copy import check_database, sync_file

    problems = check_database(staged)
    if problems:
        raise BundleError("RESTORE_DAMAGED", f"the database is damaged: {problems[0]}")
    seq = _seq(staged)
    if seq is None:
        raise BundleError("RESTORE_NO_DATABASE", "the bundle's database is not one of Pylon")
    connection = apsw.Connection(str(staged), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with connection:
            above = max(seq + SEQ_GAP, (_seq(replaced) or 0) + 1)
            connection.execute("UPDATE _pylon_meta SET value = ? WHERE key = 'seq'", (above,))
            restart_cursors(connection, "of a restore")
    finally:
        connection.close()
    sync_file(staged)


def _seq(path: Path) -> int | None:
    """The newest position of a database's change log; None where it is none of ours."""
    import apsw

    if not path.is_file():
        return None
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            found = connection.execute("SELECT value FROM _pylon_meta WHERE key = 'seq'").fetchall()
        finally:
            connection.close()
    except apsw.Error:
        return None  # The one that is replaced may be damaged; that is why it is replaced.
    value = found[0][0] if found else None
    return value if isinstance(value, int) else None


def _fold_log(path: Path) -> None:
    """Bring the old database's log into its file, or it would be taken for the new one's."""
    import apsw

    if not path.exists():
        return
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            connection.close()
    except (apsw.NotADBError, apsw.CorruptError, apsw.IOError):
        pass
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
