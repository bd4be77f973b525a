"""A todo list that every window of its owner follows live.

Run `pylon dev` in this folder and open the printed address in two windows.
"""

from __future__ import annotations

from datetime import datetime

from pylon import App, Entity, Id, User, auth, data, field, index, now

app = App("todo-app")


@app.entity
class Todo(Entity):
    """One line of somebody's list. Every row also has an `id`, which the server makes."""

    title: str
    done: bool = False

    # Filled in by the server: whoever adds the row owns it, and when that was.
    ownerId: Id[User] | None = field(default=auth.userId)
    createdAt: datetime = field(default=now)

    # Who may do what. The same rules decide lists, single rows, the sync feed and live events, so
    # nobody ever receives a row that is not theirs.
    class policy:
        read = update = delete = auth.userId == data.ownerId
        insert = (auth.userId != None) & (auth.userId == data.ownerId)

    # So that a list of one's own rows costs the same among a million others.
    class indexes:
        by_owner = index("ownerId")
