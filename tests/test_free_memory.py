"""What is free goes back to the system, also from the midst of the heap."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from pylon.free_memory import give_back_free_memory

CHUNK_BYTES = 60_000
"""Below the size from which the allocator asks the system for each alone."""

CHUNKS = 1_000


def anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell")


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="glibc only",
)
async def test_memory_in_the_midst_of_the_heap_is_given_back() -> None:
    chunks = [bytes([number % 256]) * CHUNK_BYTES for number in range(CHUNKS)]
    # One in ten stays, so that the end of the heap is in use and no stretch goes back by itself.
    kept = chunks[::10]
    chunks.clear()
    before = anonymous_bytes()
    await give_back_free_memory()
    assert before - anonymous_bytes() > CHUNKS * CHUNK_BYTES // 2
    assert len(kept) == CHUNKS // 10
