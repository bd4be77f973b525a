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
def watched(file: Path, *, is_ours: Callable[[str], bool]) -> Iterator[None]:
    """Watch what the block, which imports `file`, does in this thread. `is_ours` says whether a
    source file is one of the server's, in which nobody looks for the mistake."""
    done = threading.Event()
    watching = threading.Thread(
        target=_watch, args=(done, file, threading.get_ident(), is_ours), daemon=True
    )
    watching.start()
    try:
        yield
    finally:
        done.set()


def _watch(done: threading.Event, file: Path, thread: int, is_ours: Callable[[str], bool]) -> None:
    seconds = limits.APP_IMPORT_TOLD_SECONDS
    waited = 0.0
    while not done.wait(seconds - waited):
        waited = seconds
        place = _place(sys._current_frames().get(thread), is_ours)
        tell(f"{file.name} is still being imported after {seconds:g} seconds{place}")
        seconds *= 4


def _place(frame: FrameType | None, is_ours: Callable[[str], bool]) -> str:
    """Where the thread stands in the user's files."""
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return ""
    code = frame.f_code
    inside = "" if code.co_name == "<module>" else f", in {code.co_name}()"
    line = linecache.getline(code.co_filename, frame.f_lineno).strip()
    shown = f": `{line[:100]}`" if line else ""
    return f"; it stands at {code.co_filename}:{frame.f_lineno}{inside}{shown}"
