"""Who is written what of a turn: every change decided once per audience, encoded once for all.

The decision for one reader is in `visibility.py`, the groups in `audience.py`, their writes in
`plans.py`. Called by `hub.py`, once a turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pylon import limits
from pylon.changes.epochs import EpochRaised
from pylon.changes.feed import Message
from pylon.changes.model import Change, Forgotten
from pylon.http.close_codes import CLOSE_TRY_AGAIN
from pylon.identity import ANONYMOUS, Identity
from pylon.live.outlet import Encoding, Event, Outlet
from pylon.live.sockets import FramesOutlet
from pylon.policy.lookup import Ask, Lookup, gather
from pylon.sync.audience import Audiences, Group
from pylon.sync.events import EventJson, Made
from pylon.sync.plans import Plan, in_steps, merge, parts, with_personal
from pylon.sync.streams import HubWrite, Streams
from pylon.sync.temporary import delete_event
from pylon.sync.visibility import looked_at, told_live


class Routing:
    """Routes messages to the readers of `streams`."""

    def __init__(
        self,
        streams: Streams,
        audiences: Audiences,
        private_fields: Mapping[str, frozenset[str]],
    ) -> None:
        self._streams = streams
        self._audiences = audiences
        self._json = EventJson(private_fields)

    def route(self, messages: Sequence[Message]) -> Iterator[HubWrite]:
        """Decide and encode now; the writes themselves are made as the iterator is drawn.

        What `asks` gave for the same messages has been fetched. Closes the streams that cannot be
        told what has happened.
        """
        self._end_partial(messages)
        shared: list[Event] = []
        own: dict[Group, list[Event]] = {}
        personal: dict[Outlet, list[Event]] = {}
        for message in messages:
            if isinstance(message, Change):
                self._route_change(message, shared, own)
            elif isinstance(message, Forgotten):
                self._route_forgotten(message, personal)
        return self._draw(self._plan(shared, own, personal))

    # --- what must be known before -----------------------------------------------------------

    def asks(self, messages: Sequence[Message]) -> list[Ask]:
        """What is to be gathered before these messages are routed: memberships that are not kept,
        because they are too many, cannot be told beforehand or are just being fetched.

        Ends the streams whose memberships have changed, since what is kept of those is void.
        """
        self._end_epochs(messages)
        return self._asks_of_rules(messages) if self._audiences.asking else []

    def _asks_of_rules(self, messages: Sequence[Message]) -> list[Ask]:
        asks: list[Ask] = []
        for change in messages:
            rule = self._audiences.rule(change.entity) if isinstance(change, Change) else None
            if not isinstance(change, Change) or rule is None or not rule.asked:
                continue
            judged: list[tuple[Identity, Lookup]] = [(ANONYMOUS, self._audiences.public)]
            joining = [each for each in self._streams.joining if change.seq > each.floor]
            judged += [(each.identity, each.lookup) for each in joining]
            concerned = self._audiences.concerned(rule, change)
            judged += [(group.identity, group.lookup) for group in concerned]
            rows = looked_at(change)
            asks += [
                Ask(lookup, rule, identity, rows)
                for identity, lookup in judged
                if not (identity.is_admin or lookup.is_ready(rule))
            ]
        return asks

    async def fetch(self, asks: Sequence[Ask]) -> None:
        """Ask the database for them."""
        await self._audiences.public.remember(self._audiences.asking, ANONYMOUS)
        await gather(asks)

    # --- streams that end --------------------------------------------------------------------

    def _end_epochs(self, messages: Sequence[Message]) -> None:
        """Close the streams of those for whom rows appeared or vanished without a change of their
        own. Before anything of the same turn is decided, since their groups remember what was."""
        subjects = {each.subject for each in messages if isinstance(each, EpochRaised)}
        if subjects:
            self._audiences.forget_public()
            for reader in self._streams:
                if not subjects.isdisjoint(reader.subjects):
                    self._streams.close(reader, CLOSE_TRY_AGAIN, "pull required", "epoch")

    def _end_partial(self, messages: Sequence[Message]) -> None:
        """Close the streams behind which somebody may be told more than they show."""
        if self._streams.partial and any(map(self._is_hidden, messages)):
            for reader in list(self._streams.partial):
                self._streams.close(reader, CLOSE_TRY_AGAIN, "pull required", "partial")

    def _is_hidden(self, message: Message) -> bool:
        """Whether the public is not told all that others may be told of a message."""
        if not isinstance(message, Change):
            return True
        rule = self._audiences.rule(message.entity)
        if rule is None:
            return False
        # A row that the public must forget may still be there for others.
        kind = told_live(rule, ANONYMOUS, message, self._audiences.public)
        return kind is None or (kind == "delete" and message.after is not None)

    # --- what each is told -------------------------------------------------------------------

    def _route_change(
        self, change: Change, shared: list[Event], own: dict[Group, list[Event]]
    ) -> None:
        """Find out who is told what of one change."""
        rule = self._audiences.rule(change.entity)
        if rule is None:
            return
        made: Made = {}
        for reader in self._streams.joining:
            if change.seq <= reader.floor:
                continue
            kind = told_live(rule, reader.identity, change, reader.lookup)
            payload = self._json.of(change, kind, is_admin=reader.identity.is_admin, made=made)
            if payload is not None:
                self._streams.queue(reader, (change.seq, payload))
        if not rule.audience.attributes:
            # Everybody but administrators sees the same: decided once, one buffer for all.
            kind = told_live(rule, ANONYMOUS, change, self._audiences.public)
            payload = self._json.of(change, kind, is_admin=False, made=made)
            if payload is not None:
                shared.append((change.seq, payload))
        for group in self._audiences.concerned(rule, change):
            kind = told_live(rule, group.identity, change, group.lookup)
            payload = self._json.of(change, kind, is_admin=group.identity.is_admin, made=made)
            if payload is not None:
                own.setdefault(group, []).append((change.seq, payload))

    def _route_forgotten(self, message: Forgotten, personal: dict[Outlet, list[Event]]) -> None:
        """Tell the sockets of one client, and nobody else, to drop a temporary row."""
        readers = self._streams.of_caller(message.reader)
        if not readers:
            return
        payload = delete_event(message.seq, message.entity, message.temporary_id, message.at)
        for reader in readers:
            if reader.group is None:
                self._streams.queue(reader, (message.seq, payload))
            else:
                personal.setdefault(reader.outlet, []).append((message.seq, payload))

    # --- writes ------------------------------------------------------------------------------

    def _plan(
        self,
        shared: list[Event],
        own: Mapping[Group, list[Event]],
        personal: Mapping[Outlet, list[Event]],
    ) -> list[Plan]:
        """Which streams are sent which events together."""
        plans: list[Plan] = []
        alike: list[Outlet] = []
        for group in self._audiences:
            mine = own.get(group)
            if group.identity.is_admin:
                plans.append((list(group.outlets), mine or []))
            elif mine is None:
                alike.extend(group.outlets)
            else:
                plans.append((list(group.outlets), merge(shared, mine)))
        plans.append((alike, shared))
        if personal:
            plans = with_personal(plans, personal)
        return [plan for plan in plans if plan[1]]

    def _draw(self, plans: Iterable[Plan]) -> Iterator[HubWrite]:
        """The writes, made as they are drawn; those to WebSockets of our own many at once."""
        for outlets, events in plans:
            together: defaultdict[Encoding, list[FramesOutlet]] = defaultdict(list)
            alone: defaultdict[Encoding, list[Outlet]] = defaultdict(list)
            for outlet in outlets:
                # Nothing waits for one whose line is free, and one that has ended has none: the
                # usual case, decided without a call.
                if isinstance(outlet, FramesOutlet) and outlet.line.is_free:
                    together[outlet.encoding].append(outlet)
                elif not self._takes(outlet):
                    continue
                elif isinstance(outlet, FramesOutlet):
                    together[outlet.encoding].append(outlet)
                else:
                    alone[outlet.encoding].append(outlet)
            for part in parts(events):
                for encoding, some in together.items():
                    data = encoding.join(part)
                    for few in in_steps(some, len(data)):
                        yield few, data, len(part)
                for encoding, each_alone in alone.items():
                    data = encoding.join(part)
                    for outlet in each_alone:
                        yield outlet, data, len(part)

    def _takes(self, outlet: Outlet) -> bool:
        """Whether it is open and has not too much still to take; else it ends.

        Asked once a turn: what this turn writes is no sign of a slow reader.
        """
        reader = self._streams.find(outlet)
        if reader is not None and outlet.backlog() > limits.OUTBOX_BYTES_MAX:
            reader.give_up("reader too slow")
            return False
        return reader is not None
