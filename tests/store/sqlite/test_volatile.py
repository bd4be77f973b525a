"""Folders of volatile databases: removed at close, and by the next process after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pylon.store.sqlite.store import open_store

KILLED = """
import os, signal
from pylon.store.sqlite.store import open_store
store = open_store(None)
print(store.path.parent, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_folder_left_by_a_killed_process_is_removed_by_the_next() -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False
    )
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    mine = open_store(None)
    assert not left.exists()
    other = open_store(None)
    assert mine.path.exists(), "a folder in use is left alone"
    for store in (mine, other):
        await store.close()
        assert not os.path.exists(store.path.parent)
