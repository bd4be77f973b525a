"""A small app that is written again with other fields, and its database, for command tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from pylon.store.sqlite.functions import add_functions

FORM = """
from pylon import App, Entity
app = App("notes", "1.0.0")

@app.entity
class {entity}(Entity):
    {fields}

    class policy:
        read = insert = update = delete = True
"""


def write_app(folder: Path, *fields: str, entity: str = "Note") -> Path:
    """An app with one entity that everybody may read and write."""
    file = folder / "app.py"
    file.write_text(FORM.format(entity=entity, fields="\n    ".join(fields)))
    return file


def run_sql(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a statement, on a connection of its own."""
    connection = apsw.Connection(str(path))
    add_functions(connection)  # Triggers of search indexes call them.
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
