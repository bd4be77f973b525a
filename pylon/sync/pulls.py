"""Who may continue from which cursor, and where a live stream starts.

Between the doors (`api/sync.py`, `api/live.py`) and the log's pages (`pull.py`): it knows what a
client was given before (`whereabouts.py`) and since when its cursors are good
(`reader_epochs.py`).
"""

from __future__ import annotations

from msgspec import Struct

from pylon.changes.log import ChangeLog
from pylon.errors import PylonError
from pylon.identity import Identity, caller_key
from pylon.sync.positions import RECENT_SECONDS, StreamKind, caller_at
from pylon.sync.pull import Puller, PullPage, resync_required
from pylon.sync.reader_epochs import ReaderEpochs
from pylon.sync.whereabouts import Known, Presented, Pulled, Whereabouts


class StreamStart(Struct, frozen=True, kw_only=True):
    """Where a stream starts (None: now). `shows_all` False: the client behind it may see more than
    the stream may show, so whatever it is not shown must make it pull (spec 03 section 6).
    `may_be_ahead`: the client may be above `since`, and hold what a replay from 0 says nothing of.

    `is_chosen`: by the server, not by the client. `caller` is whose stream it is, `kind` what its
    positions are worth, `browser` where it is found once another session begins there.
    """

    since: int | None
    shows_all: bool = True
    may_be_ahead: bool = False
    is_chosen: bool = True
    caller: bytes = b""
    kind: StreamKind = "own"
    browser: bytes = b""

    @property
    def address(self) -> bytes | None:
        """Where the stream is to be found once somebody by name pulls there (`Hub.join`)."""
        return self.caller if self.kind == "passing" else None


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

    async def pull(
        self, identity: Identity, address: str, since: int, *, browser: bytes = b""
    ) -> PullPage:
        """The next page of this client; 410 when its cursor cannot be continued. `browser` as
        `browsers.browser_key` makes it."""
        public = caller_at(address)
        caller = caller_key(identity) or public
        try:
            epoch = await self._epoch(identity, since)
            known = await self._whereabouts.presented(
                caller, public, since, b"" if identity.is_admin else browser
            )
            _refuse_foreign(identity, since, known)
            page = await self._puller.page(
                identity, since, epoch=epoch, whole_from=known.whole_from
            )
        except PylonError as error:
            if error.status != 410:
                await self.refused(identity, address, since)
            raise
        await self._note(identity, address, since, page)
        return page

    async def refused(self, identity: Identity, address: str, since: int) -> None:
        """A pull was answered with an error: official clients connect all the same, and must hear
        everything from where they still are."""
        await self._note(identity, address, since, None)

    async def _note(
        self, identity: Identity, address: str, since: int, page: PullPage | None
    ) -> None:
        """Note that a page was given, or None."""
        named = identity.user_id is not None
        caller, public = caller_key(identity), caller_at(address)
        until, whole_from, has_more = since, 0, False
        if page is not None:
            until, whole_from, has_more = page.last_seq, page.whole_from, page.has_more
        if caller is None:
            pulls = [Pulled(public, since, until, whole_from, named, has_more)]
        else:
            pulls = [
                Pulled(caller, since, until, whole_from, named=True, has_more=has_more),
                Pulled(public, since, until, 0, named),
            ]
        await self._whereabouts.pulled(pulls)

    async def _epoch(self, identity: Identity, since: int) -> int:
        epoch = await self._epochs.begun(identity)
        if epoch is None:
            epoch = await self._epochs.begin(identity)
            await self._restart(identity)
            if since > 0:
                # Its rows are those of somebody else: of an earlier session, or another tenant.
                raise resync_required(max(epoch, since + 1))
        else:
            await self._epochs.touch(identity)
        return epoch

    async def _restart(self, identity: Identity) -> None:
        caller = caller_key(identity)
        if caller is not None:
            await self._whereabouts.restart(caller)

    # --- streams -----------------------------------------------------------------------------

    async def start(
        self,
        identity: Identity,
        address: str,
        asked: int | None,
        *,
        is_public: bool = False,
        browser: bytes = b"",
    ) -> StreamStart:
        """Where a stream starts: where the client says, else where its pulls have got to.

        `is_public`: an anonymous client says that it pulls as nobody, whoever else is at its
        address. 410 when only a pull can tell; the stream is then to be closed, and the client
        pulls. Whatever is given must be given back to `ended`.
        """
        if identity.user_id is None:
            start = await self._public_start(caller_at(address), asked, is_public=is_public)
        else:
            start = await self._named_start(identity, caller_at(address), asked, browser)
        lowest = self._puller.head if start.since is None else start.since
        if not await self._whereabouts.opened(start.caller, start.kind, lowest, start.browser):
            raise resync_required(0)
        return start

    async def _named_start(
        self, identity: Identity, address: bytes, asked: int | None, browser: bytes
    ) -> StreamStart:
        caller = caller_key(identity)
        assert caller is not None
        if asked is not None:
            await self._check(identity, asked)
            place = await self._whereabouts.presented(caller, address, asked)
            if await self._epochs.has_pulled(identity):
                _refuse_foreign(identity, asked, place)
            return StreamStart(since=asked, is_chosen=False, caller=caller)
        if identity.is_admin:
            # Many clients with one name, and none whose rights change.
            known = await self._whereabouts.of(caller, takes=False)
            return StreamStart(since=await self._since_of(known), caller=caller)
        if not await self._epochs.has_pulled(identity):
            # No cursor that could lose anything; and a first pull with one is answered 410.
            known = await self._whereabouts.of(caller, takes=False)
            return StreamStart(since=await self._recent(known), caller=caller, browser=browser)
        position = (await self._take_start(caller)).position
        if position is None:
            raise resync_required(0)
        await self._check(identity, position)
        return StreamStart(since=position, may_be_ahead=True, caller=caller, browser=browser)

    async def _public_start(
        self, caller: bytes, asked: int | None, *, is_public: bool
    ) -> StreamStart:
        """An EventSource carries no token, so the stream may be that of a client which pulls with
        one, as far as anybody by name pulls from its address; and a browser names a position by
        itself when it opens the stream again."""
        if asked is not None or is_public:
            known = await self._whereabouts.of(caller, takes=False)
        else:
            known = await self._take_start(caller)
        if is_public:
            since = asked if asked is not None else await self._recent(known)
        else:
            since = asked if asked is not None else await self._since_of(known)
        kind: StreamKind = "own" if known.is_named else "passing"
        return StreamStart(
            since=since,
            shows_all=is_public or not known.is_named,
            is_chosen=asked is None and not is_public,
            caller=caller,
            kind="public" if is_public else kind,
        )

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

    def ended(self, start: StreamStart, *, is_lost: bool) -> None:
        """A stream has ended; `is_lost` unless it is known that its client has to pull anyway."""
        self._whereabouts.closed(start.caller, start.kind, self._puller.head, start.browser)
        if is_lost and start.is_chosen and start.since is not None:
            self._whereabouts.lost(start.caller, start.since)

    async def too_far(self, start: StreamStart) -> None:
        """A stream could not be replayed from there; the next one is not to try again."""
        if start.is_chosen and start.since is not None:
            await self._whereabouts.too_far(start.caller, start.since)


def _refuse_foreign(identity: Identity, since: int, known: Presented) -> None:
    """410 for a cursor from a stream that showed less than its owner may see, or from another
    sign-in. Administrators are many clients with one name."""
    if since and not (known.is_given or identity.is_admin):
        raise resync_required(since + 1)
