"""A SQLite that can corrupt a database is refused before anything is touched."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from pylon.errors import ConfigError
from pylon.store.sqlite.store import connect_for_commands, open_store
from pylon.store.sqlite.version import refuse_old_version


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.9.99"])
def test_an_old_one_is_refused(version: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_old_version(version)
    assert caught.value.code == "SQLITE_TOO_OLD"
    assert version in caught.value.message
    assert "pip install" in str(caught.value.hint)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "4.0.0"])
def test_a_newer_one_is_taken(version: str) -> None:
    refuse_old_version(version)


def test_the_loaded_one_is_asked_before_a_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    path = tmp_path / "deep" / "app.db"
    for use in (lambda: open_store(path), lambda: connect_for_commands(path, tables={})):
        with pytest.raises(ConfigError):
            use()
    assert not path.parent.exists()
