"""Who is where, and what is to be said to whom: presence and topics, decided without I/O.

A *space* is a circle of callers that may see one another (`space_of`); nothing ever leaves it. In a
space are channels: the lobby (topic None), where everybody is, and topics, where those are who
asked. A member is *present* in a channel once it has said something of itself there.

    outside -> join -> in the lobby -> announce -> present -> withdraw or leave -> told as gone

Presence is what is so, not what was said: of several updates between two `take`s the last goes out.
Messages to topics all go out, in order, up to a bound. Sockets and time are in `presence.py`.

Sockets of this process are *members* of channels. Of those of other processes it is known who hears
a topic and who is present (`others`, by `presence_others.py`), and `news` gathers what those
processes are to know of the members here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

from msgspec import Struct, field

from pylon import limits
from pylon.identity import Identity
from pylon.live.outgoing import Outgoing
from pylon.sync.presence_news import News, Space, Stands
from pylon.wire.presence import disconnect_json, here_json, list_json, presence_json, topic_json

Sharing = Literal["tenant", "all"]
"""Who shares a space beside those of one tenant: nobody, or all callers without a tenant."""


def space_of(identity: Identity, sharing: Sharing) -> Space:
    """The circle of a caller: its tenant; without one the app's, or only its own sockets'."""
    if identity.tenant_id is not None:
        return ("tenant", identity.tenant_id)
    if sharing == "all":
        return ("app", "")
    return ("user", identity.user_id or "")


class Here(Struct, eq=False):
    """What a member last said of itself in one channel, as JSON."""

    data: bytes | None
    room: str | None
    name: str


class Channel(Struct, eq=False):
    """The lobby or one topic of one space."""

    space: Space
    topic: str | None
    members: dict[int, None] = field(default_factory=dict)
    others: dict[int, str] = field(default_factory=dict)
    """Names of those at other processes that hear it or are present in it."""
    present: dict[int, Here] = field(default_factory=dict)
    outgoing: Outgoing[int] = field(
        default_factory=lambda: Outgoing(limits.PRESENCE_WAITING_BYTES_MAX)
    )
    """What goes out next: of each member its latest news, and messages, in order."""


class Member(Struct, eq=False):
    """One socket."""

    space: Space
    name: str
    lobby: Channel
    topics: dict[str, Channel] = field(default_factory=dict)
    held_bytes: int = 0
    """Of what it has announced of itself, everywhere."""
    allowance: float = float(limits.PRESENCE_BYTES_BURST)
    filled_at: float = 0.0


class Delivery(Struct, frozen=True):
    """Messages for members, in order."""

    members: tuple[int, ...]
    messages: tuple[bytes, ...]


class PresenceState:
    """All spaces. Every call is cheap: its cost does not grow with the members of a channel, but
    for `listed` and `take`."""

    def __init__(self, first_id: int = 0) -> None:
        self._members: dict[int, Member] = {}
        self._channels: dict[tuple[Space, str | None], Channel] = {}
        self._talking: dict[Channel, None] = {}
        self._ids = first_id
        self.news: News | None = None
        """Where other processes are: what they have not been told yet."""
        self.dropped = 0
        """Messages to topics that more was said in than they can carry, and announcements of
        sockets that hold too many."""

    # --- who is there ------------------------------------------------------------------------

    @property
    def members(self) -> int:
        return len(self._members)

    @property
    def channels(self) -> int:
        return len(self._channels)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits to be said."""
        return not self._talking and not self.news

    def join(self, space: Space, name: str, now: float) -> int:
        """A socket has opened; its number, unique in all processes."""
        member_id = self._ids
        self._ids += 1
        lobby = self._enter(member_id, space, None)
        self._members[member_id] = Member(space=space, name=name, lobby=lobby, filled_at=now)
        return member_id

    def leave(self, member_id: int) -> None:
        """It has closed."""
        member = self._members.pop(member_id)
        for channel in (*member.topics.values(), member.lobby):
            self._exit(member_id, channel)

    def subscribe(self, member_id: int, topic: str) -> bool:
        """Hear a topic; False when the socket hears too many already."""
        member = self._members[member_id]
        if topic in member.topics:
            return True
        if len(member.topics) >= limits.PRESENCE_TOPICS_PER_SOCKET_MAX:
            return False
        member.topics[topic] = self._enter(member_id, member.space, topic)
        self._note(member_id, topic)
        return True

    def unsubscribe(self, member_id: int, topic: str) -> None:
        """No longer hear it."""
        channel = self._members[member_id].topics.pop(topic, None)
        if channel is not None:
            self._exit(member_id, channel)

    def listed(self, space: Space, topic: str | None) -> tuple[list[bytes], int]:
        """Who is present in a channel, those who came first first, and how many there are."""
        channel = self._channels.get((space, topic))
        if channel is None:
            return [], 0
        entries: list[bytes] = []
        size = 0
        for member_id, here in channel.present.items():
            entries.append(here_json(member_id, here.name, here.room, here.data))
            size += len(entries[-1])
            if len(entries) >= limits.PRESENCE_LISTED_MAX or size > limits.PRESENCE_LIST_BYTES_MAX:
                break
        return entries, len(channel.present)

    def list_message(self, member_id: int, topic: str | None) -> bytes | None:
        """The list for a member; None for a topic that it does not hear."""
        member = self._members[member_id]
        if topic is not None and topic not in member.topics:
            return None
        return list_json(*self.listed(member.space, topic), topic)

    def hears(self, space: Space, name: str, topic: str) -> bool:
        """Whether any socket of this caller hears a topic."""
        channel = self._channels.get((space, topic))
        if channel is None:
            return False
        own = (self._members[member_id].name for member_id in channel.members)
        return name in own or name in channel.others.values()

    # --- what is said ------------------------------------------------------------------------

    def announce(
        self, member_id: int, topic: str | None, data: bytes | None, room: str | None = None
    ) -> bool:
        """A member says of itself what is so from now on; False where it cannot be."""
        channel = self._channel_of(member_id, topic)
        if channel is None:
            return False
        member, known = self._members[member_id], channel.present.get(member_id)
        held = member.held_bytes + len(data or b"") - _size(known)
        if held > limits.PRESENCE_HELD_BYTES_MAX:
            self.dropped += 1
            return False
        member.held_bytes = held
        channel.present[member_id] = Here(data, room, member.name)
        self._tell_update(channel, member_id)
        self._note(member_id, topic)
        return True

    def withdraw(self, member_id: int, topic: str | None) -> None:
        """A member is no longer present, but still hears."""
        member = self._members[member_id]
        channel = member.lobby if topic is None else member.topics.get(topic)
        if channel is not None:
            self._say_gone(member_id, channel)

    def say(
        self,
        member_id: int,
        topic: str | None,
        data: bytes | None,
        *,
        room: str | None = None,
        event: str | None = None,
    ) -> bool:
        """A message to a topic, or (with `event`) a passing remark on oneself."""
        channel = self._channel_of(member_id, topic)
        if channel is None:
            return False
        name = self._members[member_id].name
        if event is not None:
            message = presence_json(
                event=event, sender=name, client_id=member_id, topic=topic, room=room, data=data
            )
        else:
            assert topic is not None
            message = topic_json(topic=topic, sender=name, room=room, data=data)
        if self.news is not None and not self.news.add(channel.space, topic, message):
            self.dropped += 1
        return self._tell_message(channel, message)

    def charge(self, member_id: int, size: int, now: float) -> float:
        """Count what a member said; the seconds for which it is not to be read."""
        member = self._members[member_id]
        rate = float(limits.PRESENCE_BYTES_PER_SECOND)
        grown = member.allowance + (now - member.filled_at) * rate
        member.allowance = min(grown, float(limits.PRESENCE_BYTES_BURST)) - size
        member.filled_at = now
        return max(0.0, -member.allowance / rate)

    def take(self) -> list[Delivery]:
        """What is to be said now. What is too much for one time stays for the next."""
        talking, self._talking = self._talking, {}
        deliveries: list[Delivery] = []
        for channel in talking:
            messages = tuple(channel.outgoing.take())
            if messages and channel.members:
                deliveries.append(Delivery(tuple(channel.members), messages))
            if channel.outgoing:
                self._talking[channel] = None
            self._forget_if_empty(channel)
        return deliveries

    # --- between processes -------------------------------------------------------------------

    def is_own(self, member_id: int) -> bool:
        """Whether it is a socket of this process."""
        return member_id in self._members

    def own(self, member_id: int, topic: str | None) -> Stands | None:
        """What others are to know of a member in a channel; None when it is not there (any more).
        Nobody need know who says nothing in the lobby."""
        member = self._members.get(member_id)
        if member is None:
            return None
        channel = member.lobby if topic is None else member.topics.get(topic)
        here = None if channel is None else channel.present.get(member_id)
        if channel is None or (here is None and topic is None):
            return None
        data, room = (None, None) if here is None else (here.data, here.room)
        return Stands(member_id, member.name, member.space, topic, here is not None, room, data)

    def own_after(self, member_id: int) -> Iterator[tuple[int, list[Stands]]]:
        """The same of every member with a higher id, by id."""
        for each in [number for number in self._members if number > member_id]:
            topics = (None, *self._members[each].topics)
            yield each, [found for topic in topics if (found := self.own(each, topic)) is not None]

    def stands(self, entry: Stands) -> None:
        """What is so of a member at another process from now on."""
        channel = self._channel(entry.space, entry.topic)
        channel.others[entry.member] = entry.name
        if entry.is_present:
            channel.present[entry.member] = Here(entry.data, entry.room, entry.name)
            self._tell_update(channel, entry.member)
        elif channel.present.pop(entry.member, None) is not None:
            self._tell_gone(channel, entry.member)

    def left(self, entry: Stands) -> None:
        """It is not there any more; `entry` is what was last known of it."""
        channel = self._channels[entry.space, entry.topic]
        del channel.others[entry.member]
        if channel.present.pop(entry.member, None) is not None:
            self._tell_gone(channel, entry.member)
        self._forget_if_empty(channel)

    def said(self, space: Space, topic: str | None, message: bytes) -> None:
        """A message of a member at another process."""
        channel = self._channels.get((space, topic))
        if channel is not None:
            self._tell_message(channel, message)

    def _note(self, member_id: int, topic: str | None) -> None:
        if self.news is not None:
            self.news.put(member_id, topic)

    # --- parts -------------------------------------------------------------------------------

    def _tell_update(self, channel: Channel, member_id: int) -> None:
        """Let the members here hear what one says of itself now."""
        if channel.members:
            channel.outgoing.put(member_id, partial(self._update, member_id, channel))
            self._talking[channel] = None

    def _tell_gone(self, channel: Channel, member_id: int) -> None:
        if channel.members:
            channel.outgoing.put(member_id, disconnect_json(member_id, channel.topic))
            self._talking[channel] = None

    def _tell_message(self, channel: Channel, message: bytes) -> bool:
        if not channel.members:
            return True
        if not channel.outgoing.add(message):
            self.dropped += 1
            return False
        self._talking[channel] = None
        return True

    def _update(self, member_id: int, channel: Channel) -> bytes:
        """What a member says of itself when it is said."""
        here = channel.present[member_id]
        return presence_json(
            event="update",
            sender=here.name,
            client_id=member_id,
            topic=channel.topic,
            room=here.room,
            data=here.data,
        )

    def _channel_of(self, member_id: int, topic: str | None) -> Channel | None:
        """Where a member speaks; who speaks to a topic also hears it."""
        member = self._members[member_id]
        if topic is None:
            return member.lobby
        return member.topics[topic] if self.subscribe(member_id, topic) else None

    def _channel(self, space: Space, topic: str | None) -> Channel:
        channel = self._channels.get((space, topic))
        if channel is None:
            channel = self._channels[space, topic] = Channel(space, topic)
        return channel

    def _enter(self, member_id: int, space: Space, topic: str | None) -> Channel:
        channel = self._channel(space, topic)
        channel.members[member_id] = None
        return channel

    def _exit(self, member_id: int, channel: Channel) -> None:
        del channel.members[member_id]
        self._say_gone(member_id, channel)
        if channel.topic is not None:
            self._note(member_id, channel.topic)
        self._forget_if_empty(channel)

    def _say_gone(self, member_id: int, channel: Channel) -> None:
        here = channel.present.pop(member_id, None)
        if here is None:
            return
        member = self._members.get(member_id)
        if member is not None:
            member.held_bytes -= _size(here)
        self._tell_gone(channel, member_id)
        self._note(member_id, channel.topic)

    def _forget_if_empty(self, channel: Channel) -> None:
        if channel.members:
            return
        channel.outgoing = Outgoing(limits.PRESENCE_WAITING_BYTES_MAX)
        self._talking.pop(channel, None)
        if not channel.others:
            self._channels.pop((channel.space, channel.topic), None)

    def validate(self) -> None:
        """Assert what always holds; for tests."""
        for (space, topic), channel in self._channels.items():
            assert (channel.space, channel.topic) == (space, topic)
            assert channel.members or channel.others, "an empty channel is forgotten"
            assert channel.members.keys().isdisjoint(channel.others)
            assert channel.present.keys() <= channel.members.keys() | channel.others.keys()
            assert channel.members or not channel.outgoing, "nobody is told"
            assert (channel in self._talking) == bool(channel.outgoing)
            for member_id in channel.members:
                member = self._members[member_id]
                assert member.space == space
                assert (member.lobby if topic is None else member.topics[topic]) is channel
        for member_id, member in self._members.items():
            mine = [each.present.get(member_id) for each in (member.lobby, *member.topics.values())]
            assert sum(map(_size, mine)) == member.held_bytes <= limits.PRESENCE_HELD_BYTES_MAX
            for channel in (member.lobby, *member.topics.values()):
                assert self._channels[channel.space, channel.topic] is channel
        assert set(self._talking) <= set(self._channels.values())


def _size(here: Here | None) -> int:
    return 0 if here is None else len(here.data or b"")
