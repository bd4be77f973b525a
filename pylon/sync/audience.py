"""Readers grouped by what the read policies can tell apart.

Two readers of whom no read rule can tell one from the other see the same rows, so each event is
decided once per group and encoded once for all. For rules of the shape
`auth.X == data.Y` the groups that a row concerns are looked up, not searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pylon.changes.model import Change
from pylon.identity import Identity
from pylon.live.outlet import Outlet
from pylon.policy.audience import found_by
from pylon.policy.engine import PolicyEngine, Rule
from pylon.policy.lookup import NOTHING, Lookup
from pylon.policy.names import IDENTITY_FIELDS

AudienceKey = tuple[object, ...]


class Group:
    """The readers of one audience. `identity` stands for all of them."""

    __slots__ = ("identity", "key", "lookup", "outlets")

    def __init__(self, key: AudienceKey, identity: Identity, lookup: Lookup) -> None:
        self.key = key
        self.identity = identity
        self.lookup = lookup
        """Remembers their memberships: when those change, the streams end and the group with
        them."""
        self.outlets: set[Outlet] = set()


class Audiences:
    """All groups with readers, and an index of them by the attributes that select."""

    def __init__(self, policies: PolicyEngine, entities: Iterable[str]) -> None:
        self._policies = policies
        self._rules: dict[str, Rule] = {name: policies.entity(name).read for name in entities}
        self.asking = tuple(rule for rule in self._rules.values() if rule.asked)
        """The read rules that look at other rows."""
        self.public = policies.remembering()
        """What concerns those whom no rule tells apart; see `forget_public`."""
        audiences = [rule.audience for rule in self._rules.values()]
        self._deciding = [each for each in audiences if each.attributes]
        selecting = {s.attribute for each in audiences for s in each.selectors or ()}
        self._by_value: dict[str, dict[object, set[Group]]] = {name: {} for name in selecting}
        self._groups: dict[AudienceKey, Group] = {}
        self._admins: Group | None = None

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def rule(self, entity: str) -> Rule | None:
        """The read rule of an entity; None when the manifest has no such entity any more."""
        return self._rules.get(entity)

    def key(self, identity: Identity) -> AudienceKey:
        """What the read rules can tell of this reader."""
        if identity.is_admin:
            return ("admin",)
        return ("reader", *(audience.key(identity) for audience in self._deciding))

    def lookup(self, identity: Identity) -> Lookup:
        """What a reader's group remembers, or is to remember once there is one."""
        if not self.asking:
            return NOTHING
        group = self._groups.get(self.key(identity))
        return self._policies.remembering() if group is None else group.lookup

    def forget_public(self) -> None:
        """Some `exists` may have come to hold, or not, for everybody."""
        self.public = self._policies.remembering()

    def join(self, identity: Identity, outlet: Outlet, lookup: Lookup) -> Group:
        """Add a reader to its group; `lookup` is what `Audiences.lookup` gave for it."""
        key = self.key(identity)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(key, identity, lookup)
            for name, index in self._by_value.items():
                index.setdefault(_attribute(identity, name), set()).add(group)
            if identity.is_admin:
                self._admins = group
        group.outlets.add(outlet)
        return group

    def leave(self, group: Group, outlet: Outlet) -> None:
        """Remove a reader; a group without readers is forgotten."""
        group.outlets.discard(outlet)
        if group.outlets or self._groups.get(group.key) is not group:
            return
        del self._groups[group.key]
        for name, index in self._by_value.items():
            value = _attribute(group.identity, name)
            with_value = index.get(value, set())
            with_value.discard(group)
            if not with_value:
                index.pop(value, None)
        if group is self._admins:
            self._admins = None

    def concerned(self, rule: Rule, change: Change) -> Iterable[Group]:
        """The groups that may have something of their own to hear of a change.

        A superset of those that do. A rule without `auth.*` tells all readers the same, so there
        only administrators are apart.
        """
        selectors = rule.audience.selectors if rule.audience.attributes else ()
        if selectors is None:
            return self._groups.values()
        groups: set[Group] = set() if self._admins is None else {self._admins}
        for selector in selectors:
            index = self._by_value[selector.attribute]
            for row in (change.before, change.after):
                if row is not None:
                    value = found_by(selector.attribute, row[selector.field])
                    groups.update(index.get(value, ()))
        return groups


def _attribute(identity: Identity, name: str) -> object:
    """The value of `auth.<name>` by which this reader is found."""
    return found_by(name, getattr(identity, IDENTITY_FIELDS[name]))
