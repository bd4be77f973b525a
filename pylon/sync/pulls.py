"""Who may continue from which cursor, and where a live stream starts.

Between the doors (`api/sync.py`, `api/live.py`) and the log's pages (`pull.py`): it knows what a
client was given before (`whereabouts.py`) and since when its cursors are good
(`reader_epochs.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pylon.changes.log import ChangeLog
from pylon.errors import PylonError
from pylon.identity import Identity, caller_key
from pylon.sync.positions import RECENT_SECONDS
from pylon.sync.pull import Puller, PullPage, resync_required
from pylon.sync.reader_epochs import ReaderEpochs
from pylon.sync.whereabouts import Known, Pulled, Whereabouts


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
        self, puller: Puller, whereabouts: Whereabouts, epochs: ReaderEpochs, log: ChangeLog
    ) -> None:
        self._puller = puller
        self._whereabouts = whereabouts
        self._epochs = epochs
        self._log = log

    @property
    def remembered(self) -> int:
        """Clients of which it is remembered where they are."""
        return self._whereabouts.remembered

    async def pull(self, identity: Identity, address: str, since: int) -> PullPage:
        """The next page of this client; 410 when its cursor cannot be continued."""
        caller = caller_key(identity) or _address_key(address)
        try:
            epoch = await self._epoch(identity, since)
            whole_from = await self._whereabouts.whole_from(caller, since) if since else 0
            page = await self._puller.page(identity, since, epoch=epoch, whole_from=whole_from)
        except PylonError as error:
            if error.status != 410:
                await self.refused(identity, address, since)
            raise
        await self._note(identity, address, since, page.last_seq, page.whole_from)
        return page

    async def refused(self, identity: Identity, address: str, since: int) -> None:
        """A pull was answered with an error: official clients connect all the same, and must hear
        everything from where they still are."""
        await self._note(identity, address, since, since, 0)

    async def _note(
        self, identity: Identity, address: str, since: int, until: int, whole_from: int
    ) -> None:
        named = identity.user_id is not None
        caller, public = caller_key(identity), _address_key(address)
        if caller is None:
            pulls = [Pulled(public, since, until, whole_from, named)]
        else:
            pulls = [
                Pulled(caller, since, until, whole_from, named=True),
                Pulled(public, since, until, 0, named),
            ]
        await self._whereabouts.pulled(pulls)

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
            return await self._public_start(_address_key(address), asked, is_page=is_page)
        if asked is not None:
            await self._check(identity, asked)
            return StreamStart(since=asked)
        caller = caller_key(identity)
        assert caller is not None
        if identity.is_admin:
            # Many clients with one name, and none whose rights change.
            known = await self._whereabouts.of(caller, takes=False)
            return StreamStart(since=await self._since_of(known))
        if not await self._epochs.has_pulled(identity):
            # No cursor that could lose anything; and a first pull with one is answered 410.
            known = await self._whereabouts.of(caller, takes=False)
            return StreamStart(since=await self._recent(known))
        position = (await self._take_start(caller)).position
        if position is None:
            raise resync_required(0)
        await self._check(identity, position)
        return StreamStart(since=position, may_be_ahead=True)

    async def _public_start(
        self, caller: bytes, asked: int | None, *, is_page: bool
    ) -> StreamStart:
        """A page's EventSource carries no token, so the stream may be that of a client which pulls
        with one; and it is the browser that names a position when it opens the stream again.
        Programs that open one by themselves hear what happens from now on."""
        if not is_page:
            if asked is None:
                asked = await self._recent(await self._whereabouts.of(caller, takes=False))
            return StreamStart(since=asked)
        if asked is not None:
            known = await self._whereabouts.of(caller, takes=False)
            return StreamStart(since=asked, shows_all=not known.is_named)
        known = await self._take_start(caller)
        return StreamStart(since=await self._since_of(known), shows_all=not known.is_named)

    async def _take_start(self, caller: bytes) -> Known:
        """Use up the pull that paid for this stream; 410 when a tab has to pull first."""
        known = await self._whereabouts.of(caller, takes=True)
        if known.is_behind:
            raise resync_required(0)
        return known

    async def _since_of(self, known: Known) -> int | None:
        return await self._recent(known) if known.position is None else known.position

    async def _check(self, identity: Identity, since: int) -> None:
        """Refuse to mix rows of one reader with events of another."""
        if not await self._epochs.has_pulled(identity):
            return
        epoch = await self._epochs.begun(identity)
        if epoch is None or 0 < since < epoch:
            raise resync_required(since + 1 if epoch is None else epoch)

    async def _recent(self, known: Known) -> int | None:
        """Right after a start nobody's position is known; then the last minute is replayed."""
        return await self._log.seq_before(RECENT_SECONDS) if known.is_young else None

    def lost(self, identity: Identity, address: str, start: StreamStart) -> None:
        """A stream has ended."""
        if start.since is not None:
            self._whereabouts.lost(caller_key(identity) or _address_key(address), start.since)

    async def too_far(self, identity: Identity, address: str, since: int) -> None:
        """A stream could not be replayed from there; the next one is not to try again."""
        await self._whereabouts.too_far(caller_key(identity) or _address_key(address), since)


def _address_key(address: str) -> bytes:
    return b"@" + address.encode("utf-8", "surrogatepass")
