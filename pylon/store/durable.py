"""Replacing files safely: writes and renames that outlast a loss of power, and names under which
what was there is kept.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Make the content of a file or folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    sync_file(folder)


def kept_name(path: Path, stamp: str) -> Path:
    """A free name beside `path` for what a restore replaces."""
    number, name = 1, path.with_name(f"{path.name}.{stamp}.before-restore")
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.{stamp}-{number}.before-restore")
    return name
