"""Who may continue from which cursor, and where a live stream starts.

Between the doors (`api/sync.py`, `api/live.py`) and the log's pages (`pull.py`): it knows what a
client was given before (`positions.py`) and since when its cursors are good (`reader_epochs.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pylon.changes.log import ChangeLog
from pylon.clock import Clock
from pylon.errors import PylonError
from pylon.identity import Identity, caller_key
from pylon.sync.positions import RECENT_SECONDS, Positions
from pylon.sync.pull import Puller, PullPage, resync_required
from pylon.sync.reader_epochs import ReaderEpochs


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStart:
    """Where a stream starts (None: now). `shows_all` False: the client behind it may see more than
    the stream may show, so whatever it is not shown must make it pull (spec 03 section 6).
    `may_be_ahead`: the client may be above `since`, and hold what a replay from 0 says nothing of.
    """

    since: int | None
    shows_all: bool = True
    may_be_ahead: bool = False


class Pulls:
    """Pulls and stream starts of every client."""

    def __init__(
        self,
        puller: Puller,
        positions: Positions,
        epochs: ReaderEpochs,
        log: ChangeLog,
        clock: Clock,
    ) -> None:
        self._puller = puller
        self._positions = positions
        self._epochs = epochs
        self._log = log
        self._clock = clock
        self._started = clock.monotonic()

    @property
    def remembered(self) -> int:
        """Clients of which it is remembered where they are."""
        return len(self._positions)

    async def pull(self, identity: Identity, address: str, since: int) -> PullPage:
        """The next page of this client; 410 when its cursor cannot be continued."""
        caller = caller_key(identity) or _address_key(address)
        try:
            epoch = await self._epoch(identity, since)
            whole_from = self._positions.whole_from(caller, since)
            page = await self._puller.page(identity, since, epoch=epoch, whole_from=whole_from)
        except PylonError as error:
            if error.status != 410:
                self.refused(identity, address, since)
            raise
        self._note(identity, address, since, page.last_seq, page.whole_from)
        return page

    def refused(self, identity: Identity, address: str, since: int) -> None:
        """A pull was answered with an error: official clients connect all the same, and must hear
        everything from where they still are."""
        self._note(identity, address, since, since, 0)

    def _note(
        self, identity: Identity, address: str, since: int, until: int, whole_from: int
    ) -> None:
        named = identity.user_id is not None
        caller, public = caller_key(identity), _address_key(address)
        if caller is not None:
            self._positions.pulled(caller, since=since, until=until, whole_from=whole_from)
            whole_from = 0
        self._positions.pulled(public, since=since, until=until, whole_from=whole_from, named=named)

    async def _epoch(self, identity: Identity, since: int) -> int:
        epoch = await self._epochs.begun(identity)
        if epoch is None:
            epoch = await self._epochs.begin(identity)
            if since > 0:
                # Its rows are those of somebody else: of an earlier session, or another tenant.
                raise resync_required(max(epoch, since + 1))
        else:
            await self._epochs.touch(identity)
        return epoch

    # --- streams -----------------------------------------------------------------------------

    async def start(
        self, identity: Identity, address: str, asked: int | None, *, is_page: bool = False
    ) -> StreamStart:
        """Where a stream starts: where the client says, else where its pulls have got to.

        `is_page` says that a browser's page opens it. 410 when only a pull can tell; the stream is
        then to be closed, and the client pulls.
        """
        if identity.user_id is None:
            return await self._public_start(_address_key(address) if is_page else None, asked)
        if asked is not None:
            await self._check(identity, asked)
            return StreamStart(since=asked)
        caller = caller_key(identity)
        assert caller is not None
        if identity.is_admin:
            # Many clients with one name, and none whose rights change.
            known = self._positions.start_of(caller)
            return StreamStart(since=await self._recent() if known is None else known)
        if not await self._epochs.has_pulled(identity):
            # No cursor that could lose anything; and a first pull with one is answered 410.
            return StreamStart(since=await self._recent())
        known = self._take_start(caller)
        if known is None:
            raise resync_required(0)
        await self._check(identity, known)
        return StreamStart(since=known, may_be_ahead=True)

    async def _public_start(self, page: bytes | None, asked: int | None) -> StreamStart:
        """A page's EventSource carries no token, so the stream may be that of a client which pulls
        with one; and it is the browser that names a position when it opens the stream again.
        Programs that open one by themselves hear what happens from now on."""
        if page is None:
            return StreamStart(since=await self._recent() if asked is None else asked)
        shows_all = not self._positions.is_named(page)
        known = self._take_start(page) if asked is None else asked
        return StreamStart(
            since=await self._recent() if known is None else known, shows_all=shows_all
        )

    def _take_start(self, caller: bytes) -> int | None:
        """Use up the pull that paid for this stream; 410 when a tab has to pull first."""
        known = self._positions.take_start(caller)
        if self._positions.is_behind(caller):
            raise resync_required(0)
        return known

    async def _check(self, identity: Identity, since: int) -> None:
        """Refuse to mix rows of one reader with events of another."""
        if not await self._epochs.has_pulled(identity):
            return
        epoch = await self._epochs.begun(identity)
        if epoch is None or 0 < since < epoch:
            raise resync_required(since + 1 if epoch is None else epoch)

    async def _recent(self) -> int | None:
        """Right after a start nobody's position is known; then the last minute is replayed."""
        if self._clock.monotonic() - self._started < RECENT_SECONDS:
            return await self._log.seq_before(RECENT_SECONDS)
        return None

    def lost(self, identity: Identity, address: str, start: StreamStart) -> None:
        """A stream has ended."""
        if start.since is not None:
            self._positions.lost(caller_key(identity) or _address_key(address), start.since)

    def too_far(self, identity: Identity, address: str, since: int) -> None:
        """A stream could not be replayed from there; the next one is not to try again."""
        self._positions.forget(caller_key(identity) or _address_key(address), since)


def _address_key(address: str) -> bytes:
    return b"@" + address.encode("utf-8", "surrogatepass")
