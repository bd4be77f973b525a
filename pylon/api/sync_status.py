"""The figures of sync, for operators: `GET /api/sync/status`, and the same as metrics.

Reads what others count; counts nothing itself.
"""

from __future__ import annotations

from pylon.api.places import Places
from pylon.changes.log import ChangeLog
from pylon.codec import encode
from pylon.http.describe import COUNT, TEXT, Docs, json, nullable, object_of
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.identity import require_admin
from pylon.metrics import Metrics
from pylon.store.base import Store
from pylon.sync.documents import DocumentHub
from pylon.sync.hub import Hub
from pylon.sync.presence import Presence
from pylon.sync.pulls import Pulls

MILLISECONDS = nullable({"type": "number", "minimum": 0})
NUMBERS = {"type": "object", "additionalProperties": COUNT}

STATUS = Docs(
    operation_id="syncStatus",
    tag="sync",
    answers=json(
        object_of(
            {"presence": object_of(members=COUNT, channels=COUNT, relayed=COUNT, dropped=COUNT)},
            log=object_of(head_seq=COUNT, oldest_seq=COUNT),
            streams=object_of(
                open=COUNT,
                by_door=NUMBERS,
                addresses=COUNT,
                refused=COUNT,
                audiences=COUNT,
                joining=COUNT,
                backlog_bytes=COUNT,
            ),
            deliveries=object_of(
                events=COUNT,
                fan_outs=COUNT,
                lag_p50_ms=MILLISECONDS,
                lag_p99_ms=MILLISECONDS,
            ),
            closes={"type": "object", "additionalProperties": COUNT, "propertyNames": TEXT},
            documents=object_of(followed=COUNT, frames=COUNT),
            clients_remembered=COUNT,
        )
    ),
    description="Streams, deliveries and the log at this moment.",
    errors=("403 FORBIDDEN",),
)


class SyncStatus:
    """What operators ask about sync; `presence` is None where it is switched off."""

    def __init__(
        self,
        *,
        hub: Hub,
        places: Places,
        pulls: Pulls,
        store: Store,
        log: ChangeLog,
        documents: DocumentHub,
        presence: Presence | None,
    ) -> None:
        self._hub = hub
        self._places = places
        self._pulls = pulls
        self._store = store
        self._log = log
        self._documents = documents
        self._presence = presence

    def register(self, router: Router) -> None:
        """Add the route."""
        router.add("GET", "/api/sync/status", self.status, summary="Figures of sync", docs=STATUS)

    async def status(self, request: Request) -> Response:
        """For administrators. `lag` is from a commit to the last write of its fan-out, told as the
        upper edge of the histogram's bucket."""
        require_admin(request.identity)
        hub, places = self._hub, self._places
        answer: dict[str, object] = {
            "log": {"head_seq": self._store.seq, "oldest_seq": self._log.oldest_seq},
            "streams": {
                "open": hub.readers,
                "by_door": places.by_door,
                "addresses": places.addresses,
                "refused": places.refused,
                "audiences": hub.groups,
                "joining": hub.joining,
                "backlog_bytes": hub.backlog_bytes,
            },
            "deliveries": {
                "events": hub.deliveries,
                "fan_outs": hub.lag.count,
                "lag_p50_ms": _milliseconds(hub.lag.quantile(0.5)),
                "lag_p99_ms": _milliseconds(hub.lag.quantile(0.99)),
            },
            "closes": hub.closes,
            "documents": {"followed": len(self._documents), "frames": self._documents.frames},
            "clients_remembered": self._pulls.remembered,
        }
        if self._presence is not None:
            answer["presence"] = {
                "members": self._presence.state.members,
                "channels": self._presence.state.channels,
                "relayed": self._presence.relayed,
                "dropped": self._presence.state.dropped + self._presence.skipped,
            }
        return raw_json(encode(answer))

    def register_metrics(self, metrics: Metrics) -> None:
        """Add the series; `docs/operating-sync.md` lists them."""
        hub, places, documents = self._hub, self._places, self._documents
        for name, text, read in (
            ("pylon_live_readers", "Open live streams.", lambda: hub.readers),
            ("pylon_live_audiences", "Distinct audiences among them.", lambda: hub.groups),
            ("pylon_live_joining", "Streams being replayed.", lambda: hub.joining),
            ("pylon_live_backlog_bytes", "Bytes not taken yet.", lambda: hub.backlog_bytes),
            ("pylon_documents_followed", "Rows followed as documents.", lambda: len(documents)),
            ("pylon_change_seq", "Position of the newest change.", lambda: self._store.seq),
            ("pylon_change_oldest_seq", "Oldest good cursor.", lambda: self._log.oldest_seq),
        ):
            metrics.register_gauge(name, text, read)
        for name, text, read in (
            ("pylon_live_deliveries_total", "Events sent to readers.", lambda: hub.deliveries),
            (
                "pylon_live_turns_waited_total",
                "Turns that waited for exists().",
                lambda: hub.turns_waited,
            ),
            (
                "pylon_live_refused_total",
                "Streams refused for want of room.",
                lambda: places.refused,
            ),
            ("pylon_document_frames_total", "Frames sent to followers.", lambda: documents.frames),
        ):
            metrics.register_counter(name, text, read)
        metrics.register_by_label(
            "pylon_live_connections", "Open streams by door.", "door", lambda: places.by_door
        )
        metrics.register_by_label(
            "pylon_live_closes_total",
            "Streams that have ended, by reason.",
            "reason",
            lambda: hub.closes,
            is_counter=True,
        )
        metrics.register_histogram(
            "pylon_live_lag_seconds", "From commit to the last write of its fan-out.", hub.lag
        )
        presence = self._presence
        if presence is not None:
            state = presence.state
            metrics.register_gauge(
                "pylon_presence_members", "Sockets that hear presence.", lambda: state.members
            )
            metrics.register_counter(
                "pylon_presence_relayed_total", "Messages relayed.", lambda: presence.relayed
            )
            metrics.register_counter(
                "pylon_presence_dropped_total",
                "Messages that bounds have swallowed.",
                lambda: state.dropped + presence.skipped,
            )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1_000
