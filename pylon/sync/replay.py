"""Replays: pages of the log written to a reader that missed them, at its start or after a gap.

Called by `hub.py`, which queues what happens meanwhile and lets the reader go live at the end.
"""

from __future__ import annotations

from pylon import limits
from pylon.errors import PylonError
from pylon.live.slow import is_full
from pylon.sync.pull import Puller
from pylon.sync.streams import Reader, Streams


class Replays:
    """Replays readers of `streams` by pages of `puller`."""

    def __init__(self, streams: Streams, puller: Puller) -> None:
        self._streams = streams
        self._puller = puller
        self._gaps = 0

    def note_gap(self) -> None:
        """From here on the log holds what will not be heard of otherwise."""
        self._gaps += 1

    async def replay(self, reader: Reader, since: int, *, may_be_ahead: bool) -> int:
        """Write what the reader missed after `since`; the position it has then.

        410 `TOO_FAR_BEHIND` when it is more than `limits.REPLAY_ROWS_MAX`, more than the reader
        takes, or more than its stream may show; 410 `RESYNC_REQUIRED` as in `Puller.page`. A replay
        from 0 tells what became of every row there is, but nothing of rows that were purged or went
        out of the reader's sight with an epoch: too little for one that `may_be_ahead`.
        """
        replayed = whole_from = 0
        while self._streams.is_open(reader):
            gaps = self._gaps
            page = await self._puller.page(reader.identity, since, whole_from=whole_from)
            if not reader.shows_all and (
                page.is_partial or await self._puller.has_own(since, page.last_seq)
            ):
                raise _too_far("The stream cannot show everything.")
            if may_be_ahead and page.whole_from:
                raise _too_far("Only a pull can tell what has gone.")
            if page.events:
                self._streams.write_events(reader, page.events)
            since, whole_from = page.last_seq, page.whole_from
            replayed += len(page.events)
            if not page.has_more and gaps == self._gaps:
                # A page that was read after a gap was told holds all of it.
                return since
            if replayed > limits.REPLAY_ROWS_MAX or is_full(reader.outlet):
                raise _too_far("The reader is too far behind.")
        return since


def _too_far(message: str) -> PylonError:
    return PylonError(410, "TOO_FAR_BEHIND", message)
