"""What a feature brings to a service, said once: a frozen `Part`.

`wiring.PARTS` lists the parts, and whatever walks over features (tables, routes, stages,
housekeeping, metrics, stop, reset) is a loop over that tuple, in its order. A part is made of names
and of functions that take the house, the service's parts in use, and make what is needed when it is
needed. Nothing here is run: `wiring.py` does that. The only word that knows the HTTP kernel, since
routes and stages are what a part is asked for most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, get_args

from msgspec import Struct, field

from pylon.calls import Call
from pylon.config import Setting
from pylon.http.pipeline import Stage
from pylon.http.router import Router
from pylon.metrics import Metrics

HouseT = TypeVar("HouseT", contravariant=True)
"""What the functions of a part need of the house: a group of `assembly/`, or all of it."""

Step: TypeAlias = tuple[str, ...]
"""Statements that take a part's system tables from one version to the next (`store/system.py`)."""

RunsIn: TypeAlias = Literal["every process", "owner"]
"""Where work is done when a service is several processes: in each of them, or only in the one that
owns the database."""

Place: TypeAlias = Literal[
    "dev", "proxy", "probes", "rate limit", "csrf", "identity", "body", "request"
]
"""Where a stage stands in the pipeline; stages of one place keep the order of their parts.

`request` is for extras: the caller is known by then, and the route comes next.
"""

PLACES: Final[tuple[Place, ...]] = get_args(Place)


class Routes(Protocol):
    """A family of URLs."""

    def register(self, router: Router, /) -> None:
        """Add its routes."""
        ...


class SocketMessages(Struct, frozen=True, kw_only=True):
    """What clients may say on a live socket, by `type`, and who hears of sockets.

    A handler takes the caller, the socket's outlet and the message (`api/messages.Handler`); `join`
    takes caller and outlet before the first message, `leave` the outlet after the last.
    """

    handlers: Mapping[str, Callable[..., Awaitable[None]]] = field(default_factory=dict)
    join: Callable[..., None] | None = None
    leave: Callable[..., None] | None = None


class Listener(Struct, frozen=True, kw_only=True):
    """Hears what the feed tells of each commit (`changes/feed.py`), in order, on the loop; must be
    quick."""

    name: str
    hear: Callable[[Sequence[Any], int], None]
    """Takes the messages of a commit and the position of the log's end after it."""
    hears: tuple[type, ...] = ()
    """The kinds of messages that it is called for; none named: for each commit."""
    runs_in: RunsIn = "every process"


class Periodic(Struct, frozen=True, kw_only=True):
    """Work that is done each `seconds`, the first time after one interval. A failure is logged and
    ends nothing."""

    name: str
    seconds: float
    work: Callable[[], Awaitable[object]]
    runs_in: RunsIn = "owner"
    is_kept: bool = False
    """Whether when it was last done is kept in the database (`store/upkeep.py`), under `name`: then
    it is done soon after a start if it is due, and not again because of one. Only of the owner."""


class Stopping(Protocol):
    """How a worker learns that the service stops (an `asyncio.Event` is one)."""

    def is_set(self) -> bool: ...

    async def wait(self) -> object: ...


class Worker(Struct, frozen=True, kw_only=True):
    """Work without end. Once `stopping` is set it takes nothing new, finishes what it has and
    returns; after `limits.WORKER_DRAIN_SECONDS` it is cancelled."""

    name: str
    run: Callable[[Stopping], Awaitable[None]]
    runs_in: RunsIn = "owner"


Erase: TypeAlias = Callable[[str], Awaitable[int]]
"""Removes what is kept of the person with this id; how much that was."""

ExportRows: TypeAlias = Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]]
"""What is kept of the person with this id, as JSON objects."""


def nothing(_house: object) -> tuple[()]:
    """For what a part does not bring."""
    return ()


def no_names(_house: object) -> Mapping[str, Any]:
    """The same where names are asked for."""
    return {}


def no_stages(_house: object) -> Mapping[Place, Stage]:
    return {}


def no_messages(_house: object) -> SocketMessages:
    return SocketMessages()


def no_metrics(_house: object, _metrics: Metrics) -> None:
    return None


async def at_once(_house: object) -> None:
    """For parts that have nothing to start or to stop."""


@dataclass(frozen=True, kw_only=True)  # neither a struct nor slots where it is generic
class Part(Generic[HouseT]):
    """A feature, as far as the house has to know it. Only the name is needed."""

    name: str
    """Unique; system tables are versioned under it."""

    # --- known before a database is open -----------------------------------------------------
    tables: tuple[Step, ...] = ()
    """Its system tables, as numbered steps; one that has been released is never changed."""
    settings: tuple[Setting, ...] = ()
    """Settings beside those of `config.py`; read with `Config.value`."""

    # --- what requests and sockets meet ------------------------------------------------------
    routes: Callable[[HouseT], Sequence[Routes]] = nothing
    stages: Callable[[HouseT], Mapping[Place, Stage]] = no_stages
    messages: Callable[[HouseT], SocketMessages] = no_messages
    body_bytes: Mapping[str, int] = dataclass_field(default_factory=dict)
    """Paths whose bodies may have more bytes than `limits.BODY_BYTES_MAX`, and how many."""
    paths_apart: tuple[str, ...] = ()
    """Paths that count requests themselves instead of by the general rate limit."""
    secret_paths: tuple[str, ...] = ()
    """Beginnings of paths whose answers hold secrets, and so are never compressed."""

    # --- what happens beside requests --------------------------------------------------------
    hooks: Callable[[HouseT], None] | None = None
    """Adds to `house.hooks`, before anything is served."""
    listeners: Callable[[HouseT], Sequence[Listener]] = nothing
    periodic: Callable[[HouseT], Sequence[Periodic]] = nothing
    workers: Callable[[HouseT], Sequence[Worker]] = nothing

    # --- for others --------------------------------------------------------------------------
    metrics: Callable[[HouseT, Metrics], None] = no_metrics
    ready: Callable[[HouseT], Mapping[str, bool | str]] = no_names
    """Checks of `/readyz`, by name: True, or a code that says why it is not ready (False: no code).
    Quick, since anybody may ask, and without what only operators may know, such as paths."""
    calls: Callable[[HouseT], Sequence[Call[Any, Any]]] = nothing
    """What may be asked of the owner of the database, beside routes that write: those are calls by
    themselves (`api/crossing.py`)."""
    context: Mapping[str, Callable[[HouseT], object]] = dataclass_field(default_factory=dict)
    """Members of the `ctx` that server functions get, by name."""
    erases: Callable[[HouseT], Mapping[str, Erase]] = no_names
    """What goes when a person is purged, by what it is."""
    exports: Callable[[HouseT], Mapping[str, ExportRows]] = no_names
    """What a person's export holds beside rows of entities, by what it is."""
    resets: Callable[[HouseT], Sequence[Callable[[], Awaitable[object]]]] = nothing
    """What a reset between two tests clears."""

    # --- life --------------------------------------------------------------------------------
    start: Callable[[HouseT], Awaitable[None]] = at_once
    """Before anything is served, in the order of the parts."""
    drain: Callable[[HouseT], object] = nothing
    """The server stops: send clients away, take nothing new. Quick."""
    stop: Callable[[HouseT], Awaitable[None]] = at_once
    """After the last request, in the opposite order, while the database is still open."""
