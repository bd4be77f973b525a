"""An app that ends its process as soon as a commit is told, if a file asks for it."""

import os
import signal
from pathlib import Path

from pylon import App, Entity
from pylon.hooks import Commit

app = App("once")


@app.entity
class Note(Entity):
    title: str

    class policy:
        allow = True


@app.hooks.committed("Note")
async def end(_: Commit) -> None:
    asked = Path(os.environ["ONCE_END"])
    if asked.exists():
        asked.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
