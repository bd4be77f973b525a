"""The lock that keeps a second server away from a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylon.errors import ConfigError
from pylon.store.sqlite.lock import DatabaseLock
from pylon.store.sqlite.store import open_store


def test_one_at_a_time_also_by_another_name(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.touch()
    (tmp_path / "link.db").symlink_to(path)
    first = DatabaseLock(path)
    for name in ("app.db", "link.db"):
        with pytest.raises(BlockingIOError):
            DatabaseLock(tmp_path / name)
    first.release()
    DatabaseLock(path).release()


async def test_a_store_holds_it_until_it_is_closed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "app.db")
    with pytest.raises(ConfigError, match="in use by another process"):
        open_store(tmp_path / "app.db")
    await store.close()
    again = open_store(tmp_path / "app.db")
    await again.close()


async def test_a_failed_opening_lets_go_of_it(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(b"not a database " * 1_000)
    with pytest.raises(ConfigError, match="damaged"):
        open_store(path)
    path.unlink()
    store = open_store(path)
    await store.close()
