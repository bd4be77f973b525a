"""Puts a bundle in the place of a database and its uploaded files.

What becomes of the database is in its room (`Database.restore`); the files are exchanged right
after it, so that a failure before leaves both as they were. Called by `pylon restore`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pylon.store.bundle import Bundle, copy_uploads
from pylon.store.database import Database
from pylon.store.durable import kept_name, sync_folder


def restore(bundle: Bundle, database: Database, uploads: Path, *, stamp: str) -> list[Path]:
    """Exchange the database and the folder `uploads`; what was there before, under its new names,
    which have `stamp` in them. Failures as in `Database.restore`."""
    staged = uploads.with_name(f".{uploads.name}.restoring")
    kept: list[Path] = []
    with database.restore(bundle.database) as replacement:
        shutil.rmtree(staged, ignore_errors=True)
        try:
            if bundle.uploads:
                copy_uploads(bundle, staged)
            old = replacement.exchange(stamp)
            if old is not None:
                kept.append(old)
            if uploads.exists() and not bundle.is_single:
                kept.append(kept_name(uploads, stamp))
                uploads.rename(kept[-1])
            if staged.exists():
                staged.rename(uploads)
            if uploads.parent.is_dir():
                sync_folder(uploads.absolute().parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return kept
