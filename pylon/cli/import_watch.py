"""Tells where an app's file stands while its import takes long: a loop that never ends looks like
a start that hangs. It goes on waiting; a slow import is no mistake. Called by `loading`.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pylon import limits
from pylon.cli.output import tell


@contextmanager
def watched(file: Path, *, is_users: Callable[[str], bool]) -> Iterator[None]:
    """Watch what the block, which imports `file`, does in this thread. `is_users` says whether a
    source file is one of the user's: a library that waits is told of with the line that called
    it."""
    done = threading.Event()
    watching = threading.Thread(
        target=_watch, args=(done, file, threading.get_ident(), is_users), daemon=True
    )
    watching.start()
    try:
        yield
    finally:
        done.set()


def _watch(done: threading.Event, file: Path, thread: int, is_users: Callable[[str], bool]) -> None:
    seconds = limits.APP_IMPORT_TOLD_SECONDS
    waited = 0.0
    while not done.wait(seconds - waited):
        waited = seconds
        place = _place(sys._current_frames().get(thread), is_users)
        tell(f"{file.name} is still being imported after {seconds:g} seconds{place}")
        seconds *= 4


def _place(innermost: FrameType | None, is_users: Callable[[str], bool]) -> str:
    """The last line of the user's files that the thread runs, and what it called there."""
    frame = innermost
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None or innermost is None:
        return ""
    code = frame.f_code
    inside = "" if code.co_name == "<module>" else f", in {code.co_name}()"
    line = linecache.getline(code.co_filename, frame.f_lineno).strip()
    shown = f": `{line[:100]}`" if line else ""
    deeper = innermost.f_code
    called = (
        "" if deeper is code else f" (in {deeper.co_name}() of {Path(deeper.co_filename).name})"
    )
    return f"; it stands at {code.co_filename}:{frame.f_lineno}{inside}{shown}{called}"
