"""The points at which an app's own code takes part in what the server does: `app.hooks`.

Public API, described in `docs/hooks.md`. Here are the kinds, what each is given, and the lists that
hold them; they are called where it happens: by `data/write.py` around every write, by
`data/committed.py` after a commit, by `data/door.py` at every read, by the pipeline at a request,
by `auth/telling.py` when a session begins, changes or ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, get_args

from msgspec import Struct

from pylon.errors import ConfigError
from pylon.identity import Identity

T = TypeVar("T")
HookT = TypeVar("HookT", bound=Callable[..., Any])

Row: TypeAlias = dict[str, Any]

Kind: TypeAlias = Literal["insert", "update", "delete"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


# --- Around a write --------------------------------------------------------------------------


class RowTx(Protocol):
    """What a hook may do in the transaction of the write that it takes part in.

    It is the server's own code: policies are not asked, and private fields may be written. What it
    writes fires hooks like any other write.
    """

    async def get(self, entity: str, row_id: str) -> Row | None:
        """The stored row with all its fields; None when there is none."""
        ...

    def insert(
        self, entity: str, data: Mapping[str, Any], *, row_id: str | None = None
    ) -> Awaitable[Row]:
        """Insert a row; the row as stored."""
        ...

    def update(self, entity: str, row_id: str, patch: Mapping[str, Any]) -> Awaitable[Row]:
        """Change fields of a row; the row as stored. 404 `NOT_FOUND` without such a row."""
        ...

    def delete(self, entity: str, row_id: str) -> Awaitable[None]:
        """Delete a row; 404 `NOT_FOUND` without such a row."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part that is undone alone when its block raises."""
        ...

    async def enlist(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement on a table that is no entity's, to be committed with the rest; the
        number of rows it changed."""
        ...


WriteHook: TypeAlias = Callable[[RowTx, Identity, str, Row | None, Row], Awaitable[None]]
"""`(tx, identity, entity, before, data)`, inside the transaction; awaits nothing but `tx`.

`before` is the stored row, None for an insert. `data` is what is to be written (before) or was
written (after): the row of an insert, the fields of an update, nothing for a delete.
"""


# --- After a commit --------------------------------------------------------------------------


class Write(Protocol):
    """Runs work in a transaction of its own."""

    async def __call__(self, work: Callable[[RowTx], Awaitable[T]]) -> T: ...


class Commit(Struct, frozen=True, kw_only=True):
    """A write that is committed, as a hook is told of it.

    `seq` is its position in the change log: the same when the hook is told again, and that of no
    other write. `before` and `data` as for other hooks; `at` is the time of the write in seconds.
    `attempt` is 1 the first time. `write` begins a transaction, as the caller, without policies.
    """

    seq: int
    kind: Kind
    entity: str
    row_id: str
    before: Row | None
    data: Row
    identity: Identity
    at: float
    attempt: int
    write: Write


CommittedHook: TypeAlias = Callable[[Commit], Awaitable[None]]
"""Told of commits at least once, in order; may await anything."""


class Committed(Struct, frozen=True, kw_only=True):
    """A hook of commits under the name by which the database remembers what it has been told."""

    name: str
    run: CommittedHook
    kinds: frozenset[Kind]


# --- Reads, requests, sessions ---------------------------------------------------------------

ReadHook: TypeAlias = Callable[[Identity, str, Row], Row]
"""`(identity, entity, row)`: the row as this reader is to see it. Called for each row, so quick."""


class ReadFilter(Struct, frozen=True, kw_only=True):
    """Decides what readers see in some fields of an entity; of its answer only those count."""

    fields: frozenset[str]
    run: ReadHook


class RequestView(Protocol):
    """What a hook may know of a request: who asks for what."""

    method: str
    path: str
    identity: Identity

    def header(self, name: bytes, /) -> str | None:
        """A header by its lower-case name."""
        ...


RequestHook: TypeAlias = Callable[[RequestView], Awaitable[None]]
"""Called before the route, when the caller is known; refuses by raising `PylonError`."""


class SessionEvent(Struct, frozen=True, kw_only=True):
    """A session began, changed its caller, or ended. `session_id` as in `Identity`.

    User and tenant are those that it means from now on; where it ended, those that it meant last.
    """

    kind: Literal["started", "changed", "ended"]
    session_id: bytes
    user_id: str
    tenant_id: str | None
    is_guest: bool


SessionHook: TypeAlias = Callable[[SessionEvent], Awaitable[None]]
"""Told of each at most once, in order, after the commit that made it so; may await anything."""


# --- The lists -------------------------------------------------------------------------------


class HookList(Generic[HookT]):
    """Hooks of one kind, in the order in which they were added.

    `append(hook)` adds one for all entities; called with names it is a decorator for those:
    `@app.hooks.before_insert("Note")`.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._hooks: list[tuple[frozenset[str], HookT]] = []

    def __len__(self) -> int:
        return len(self._hooks)

    def append(self, hook: HookT) -> None:
        """Add a hook for every entity."""
        self._add(frozenset(), hook)

    def __call__(self, *entities: str) -> Callable[[HookT], HookT]:
        """A decorator that adds a hook for these entities, for all where none is named."""
        for entity in entities:
            if not isinstance(entity, str):
                raise TypeError(
                    f"a hook names entities by text, not {entity!r:.60}: write parentheses, as in"
                    ' `@app.hooks.before_insert("Note")`, or `()` for all entities'
                )

        def add(hook: HookT) -> HookT:
            self._add(frozenset(entities), hook)
            return hook

        return add

    def _add(self, entities: frozenset[str], hook: HookT) -> None:
        self._hooks.append((entities, hook))
        self._changed()

    def of(self, entity: str | None) -> tuple[HookT, ...]:
        """Those for an entity; None: for one that no hook names."""
        return tuple(hook for names, hook in self._hooks if not names or entity in names)

    @property
    def named(self) -> set[str]:
        """The entities that hooks name."""
        return {name for names, _ in self._hooks for name in names}


class EntityHooks(Struct, frozen=True, kw_only=True):
    """The hooks that one entity's rows meet."""

    before_insert: tuple[WriteHook, ...] = ()
    before_update: tuple[WriteHook, ...] = ()
    before_delete: tuple[WriteHook, ...] = ()
    after_insert: tuple[WriteHook, ...] = ()
    after_update: tuple[WriteHook, ...] = ()
    after_delete: tuple[WriteHook, ...] = ()
    committed: tuple[Committed, ...] = ()
    filters: tuple[ReadFilter, ...] = ()
    are_in_unit: bool = False
    """Whether any takes part in the transaction of a write."""


WRITE_LISTS: Final = tuple(f"{when}_{kind}" for when in ("before", "after") for kind in KINDS)
"""The names of the lists of hooks in the transaction."""


class Hooks:
    """The hooks of one app; they are declared before it serves."""

    def __init__(self) -> None:
        changed = self._changed
        self.before_insert: HookList[WriteHook] = HookList(changed)
        self.before_update: HookList[WriteHook] = HookList(changed)
        self.before_delete: HookList[WriteHook] = HookList(changed)
        self.after_insert: HookList[WriteHook] = HookList(changed)
        self.after_update: HookList[WriteHook] = HookList(changed)
        self.after_delete: HookList[WriteHook] = HookList(changed)
        self.on_request: list[RequestHook] = []
        self.on_session: list[SessionHook] = []
        self._committed: list[tuple[frozenset[str], Committed]] = []
        self._filters: list[tuple[str, ReadFilter]] = []
        self.version = 0
        """Rises with each hook of rows that is declared."""
        self._others = EntityHooks()
        self._by_entity: dict[str, EntityHooks] = {}

    # --- declaring ---------------------------------------------------------------------------

    def committed(
        self, *entities: str, kinds: Collection[Kind] = KINDS, name: str | None = None
    ) -> Callable[[CommittedHook], CommittedHook]:
        """A decorator: tell the hook of committed writes to these entities, to all without any.

        The database remembers by `name` (else module and name of the function) what the hook has
        still to be told, so a hook that is renamed loses that. `ValueError` for a name twice.
        """

        def add(hook: CommittedHook) -> CommittedHook:
            known = name or f"{hook.__module__}.{hook.__qualname__}"
            if known in self.committed_hooks:
                raise ValueError(f"two hooks of commits are named {known!r}; give one a name")
            made = Committed(name=known, run=hook, kinds=frozenset(kinds))
            self._committed.append((frozenset(entities), made))
            self._changed()
            return hook

        return add

    def on_read(self, entity: str, *fields: str) -> Callable[[ReadHook], ReadHook]:
        """A decorator: let the hook decide what readers see in these fields of an entity."""
        if not fields:
            raise ValueError("name the fields that readers may see otherwise than they are stored")

        def add(hook: ReadHook) -> ReadHook:
            self._filters.append((entity, ReadFilter(fields=frozenset(fields), run=hook)))
            self._changed()
            return hook

        return add

    def refuse_unknown(self, fields: Mapping[str, Collection[str]]) -> None:
        """`ConfigError` for hooks on entities, or on fields of them, that the app has not."""
        for entity in sorted(self._named()):
            if entity not in fields:
                raise _unknown(f"a hook is declared for the entity {entity}")
        for entity, each in self._filters:
            for field in sorted(each.fields.difference(fields[entity])):
                raise _unknown(f"a read filter is declared for {entity}.{field}")

    # --- asking ------------------------------------------------------------------------------

    def of(self, entity: str) -> EntityHooks:
        """The hooks of an entity."""
        return self._by_entity.get(entity, self._others)

    @property
    def are_any(self) -> bool:
        """Whether a hook may refuse a write, so that errors of its own may be among the answers."""
        return any(len(getattr(self, name)) for name in WRITE_LISTS)

    @property
    def committed_hooks(self) -> dict[str, Committed]:
        """All hooks of commits by name."""
        return {each.name: each for _, each in self._committed}

    @property
    def filtered(self) -> frozenset[str]:
        """The entities with read filters."""
        return frozenset(entity for entity, _ in self._filters)

    async def request(self, request: RequestView) -> None:
        """Ask the hooks of requests, in order."""
        for hook in self.on_request:
            await hook(request)

    # --- parts -------------------------------------------------------------------------------

    def _changed(self) -> None:
        self.version += 1
        self._others = self._made(None)
        self._by_entity = {entity: self._made(entity) for entity in self._named()}

    def _named(self) -> set[str]:
        lists: Iterable[HookList[WriteHook]] = (getattr(self, name) for name in WRITE_LISTS)
        named = {name for each in lists for name in each.named}
        named.update(*(entities for entities, _ in self._committed))
        return named | self.filtered

    def _made(self, entity: str | None) -> EntityHooks:
        lists = {name: getattr(self, name).of(entity) for name in WRITE_LISTS}
        return EntityHooks(
            **lists,
            are_in_unit=any(lists.values()),
            committed=tuple(
                each for names, each in self._committed if not names or entity in names
            ),
            filters=tuple(each for name, each in self._filters if name == entity),
        )


def _unknown(what: str) -> ConfigError:
    return ConfigError("HOOK_UNKNOWN", f"{what}, which the app does not declare")
