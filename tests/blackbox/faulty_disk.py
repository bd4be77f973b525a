"""A server on a disk whose syncs can be made to fail, and whose power can be cut.

The disk is `faulty_disk.c`, preloaded into the server: what is written to a database is what other
programs see, and what a loss of power would leave is kept beside it. Needs Linux and a C compiler.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import BLACKBOX_APP
from tests.server import Server

SOURCE: Final = Path(__file__).with_name("faulty_disk.c")


class FaultyDisk:
    """A folder with a database, the library for its server, and what would outlast it."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            pytest.skip("needs Linux and a C compiler")
        library = folder / "faulty_disk.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self.kept, self.data = folder / "kept", folder / "data"
        self.kept.mkdir()
        self.data.mkdir()
        self.servers: list[Server] = []
        self.environment = {"LD_PRELOAD": str(library), "FAULTY_DISK": str(self.kept)}

    def server(self, **env: str) -> Server:
        made = Server(BLACKBOX_APP, self.data / "app.db", env={**self.environment, **env})
        self.servers.append(made)
        return made

    def end(self) -> None:
        """End what a test that failed has left running."""
        for server in self.servers:
            if server.child is not None:
                server.kill()

    def fail(self, end: str = "") -> None:
        """Fail syncs of files whose name ends so."""
        whole = self.kept / "fail.new"
        whole.write_text(end)
        whole.rename(self.kept / "fail")

    def mend(self) -> None:
        (self.kept / "fail").unlink()

    def cut_power(self, server: Server) -> None:
        """End the server, and leave what has been synced."""
        server.kill()
        for path in self.data.glob("*.db*"):
            if not path.name.endswith(".stderr"):
                path.unlink()
        for path in self.kept.glob("*.db*"):
            shutil.copy(path, self.data)
