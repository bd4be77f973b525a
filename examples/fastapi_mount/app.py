"""A FastAPI app that has a Pylon backend under `/live`.

Run it with any ASGI server:

    PYLON_DEV_MODE=1 uvicorn examples.fastapi_mount.app:api

FastAPI's own routes and documentation stay where they are; Pylon's routes, its WebSocket and its
event stream are below the prefix: `/live/api/entities/Note`, `/live/ws`, `/live/events`.
"""

from __future__ import annotations

from datetime import datetime

from fastapi import FastAPI

from pylon import App, Entity, Id, User, auth, data, field, now

pylon_app = App("notes")


@pylon_app.entity
class Note(Entity):
    """A note that only its owner sees."""

    text: str
    ownerId: Id[User] | None = field(default=auth.userId)
    createdAt: datetime = field(default=now)

    class policy:
        read = update = delete = auth.userId == data.ownerId
        insert = (auth.userId != None) & (auth.userId == data.ownerId)


# A mounted app hears nothing of the outer app's start and stop, so the outer one passes them on.
api = FastAPI(title="Notes", lifespan=pylon_app.lifespan)


@api.get("/hello")
async def hello() -> dict[str, str]:
    """A route of FastAPI's, beside the backend."""
    return {"hello": "from FastAPI"}


api.mount("/live", pylon_app)
