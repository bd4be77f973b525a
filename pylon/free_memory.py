"""Gives memory that was used and is free again back to the system.

What is freed in the midst of the heap stays with the process until the allocator is asked for it:
after a few large pushes or exports that is tens of MiB that nobody will use. Called now and then by
the part `loop`; knows nothing of who used it.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from functools import cache
from typing import Any


async def give_back_free_memory() -> None:
    """Give it back, on a thread: it takes milliseconds, longer where there is much."""
    if (trim := _trim()) is not None:
        await asyncio.get_running_loop().run_in_executor(None, trim, 0)


@cache
def _trim() -> Any:
    """glibc's `malloc_trim`; None where there is none: other allocators give back by themselves."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
