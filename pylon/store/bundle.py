"""Backup bundles: a folder with the database, the manifest, the uploaded files and their checksums.

    VERSION  SHA256SUMS  pylon.db  manifest.json  uploads/

Made and read here; how one takes the place of what is there is in `restoring.py`. The checksums are
in the form of `sha256sum`, so a bundle can be checked without Pylon.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from pylon import __version__
from pylon.store.database import BackupError, Database
from pylon.store.durable import sync_file, sync_folder

FORMAT = 1
DATABASE = "pylon.db"
MANIFEST = "manifest.json"
UPLOADS = "uploads"
CHECKSUMS = "SHA256SUMS"
VERSION = "VERSION"

_CHUNK_BYTES = 1_048_576


class Bundle(Struct, frozen=True, kw_only=True):
    """A bundle whose every file has been checked."""

    folder: Path
    database: Path
    has_manifest: bool = False
    uploads: tuple[str, ...] = ()
    is_single: bool = False


def make_bundle(
    target: Path, *, database: Database, manifest_json: bytes | None, uploads: Path
) -> Bundle:
    """Write a bundle into the folder `target`, which appears only when it is complete.

    The database is copied before the files, so that a file that a row names is in the bundle.
    `BackupError` `BACKUP_DIR_EXISTS`, `DatabaseFailed` or `OSError`.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError("BACKUP_DIR_EXISTS", f"{target} is not empty", "Choose another folder.")
    part = target.with_name(f".{target.name}.part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        database.backup(part / DATABASE)
        if manifest_json is not None:
            (part / MANIFEST).write_bytes(manifest_json)
        copied = tuple(_copy_files(uploads, part / UPLOADS))
        (part / VERSION).write_text(f"{FORMAT} pylon {__version__}\n")
        _write_checksums(part)
        _sync_files(part)
        if target.exists():
            target.rmdir()
        part.rename(target)
        sync_folder(target.absolute().parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Bundle(
        folder=target,
        database=target / DATABASE,
        has_manifest=manifest_json is not None,
        uploads=copied,
    )


def read_bundle(folder: Path) -> Bundle:
    """Check that `folder` is a whole, unchanged bundle with a database. A single database file, as
    Litestream restores it, is taken as it is."""
    if folder.is_file():
        return Bundle(folder=folder.parent, database=folder, is_single=True)
    if not folder.is_dir():
        raise BackupError("RESTORE_NOT_FOUND", f"{folder} is not there")
    if not (folder / DATABASE).is_file():
        raise BackupError("RESTORE_NO_DATABASE", f"{folder} has no {DATABASE}", "Is it a backup?")
    _check_version(folder)
    listed = _read_checksums(folder)
    for name, expected in listed.items():
        file = folder / name
        if not file.is_file() or file.is_symlink():
            raise BackupError("RESTORE_INCOMPLETE", f"{name} is missing from {folder}")
        if _checksum(file) != expected:
            raise BackupError(
                "RESTORE_DAMAGED", f"{file} is not what was backed up", "Use another backup."
            )
    if DATABASE not in listed:
        raise BackupError("RESTORE_INCOMPLETE", f"{CHECKSUMS} does not list {DATABASE}")
    prefix = f"{UPLOADS}/"
    return Bundle(
        folder=folder,
        database=folder / DATABASE,
        has_manifest=MANIFEST in listed,
        uploads=tuple(name[len(prefix) :] for name in listed if name.startswith(prefix)),
    )


def copy_uploads(bundle: Bundle, target: Path) -> None:
    """The bundle's files, only those that were checked, into the new folder `target`."""
    target.mkdir(parents=True)
    for name in bundle.uploads:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(bundle.folder / UPLOADS / name, place)
    _sync_files(target)


def _check_version(folder: Path) -> None:
    try:
        text = (folder / VERSION).read_text()
    except OSError as problem:
        raise BackupError("RESTORE_INCOMPLETE", f"{folder} has no {VERSION}") from problem
    number = text.partition(" ")[0]
    if number != str(FORMAT):
        raise BackupError(
            "RESTORE_VERSION_UNSUPPORTED",
            f"{folder} has the format {number[:20]!r}; this version reads {FORMAT}",
            "Use the version of Pylon that made it.",
        )


def _files(folder: Path) -> Iterator[Path]:
    """Every ordinary file below, in a stable order. Links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent) / name
            if file.is_file() and not file.is_symlink():
                yield file


def _copy_files(source: Path, target: Path) -> Iterator[str]:
    """Copy what is there; a file that goes away meanwhile was deleted by a user."""
    if not source.is_dir():
        return
    for file in _files(source):
        name = file.relative_to(source)
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(file, place)
        except FileNotFoundError:
            continue
        yield name.as_posix()


def _write_checksums(folder: Path) -> None:
    lines = [f"{_checksum(file)}  {file.relative_to(folder).as_posix()}" for file in _files(folder)]
    (folder / CHECKSUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_checksums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / CHECKSUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise BackupError("RESTORE_INCOMPLETE", f"{folder} has no {CHECKSUMS}") from problem
    listed: dict[str, str] = {}
    for line in lines:
        checksum, _, name = line.partition("  ")
        if not name or name.startswith("/") or ".." in Path(name).parts:
            raise BackupError("RESTORE_DAMAGED", f"{CHECKSUMS} has a line that is not ours")
        listed[name] = checksum
    return listed


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_files(folder: Path) -> None:
    for file in _files(folder):
        sync_file(file)
