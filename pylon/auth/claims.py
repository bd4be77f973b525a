"""What the rows of the app's `User` say of a caller: roles and e-mail, for `auth.roles` and
`auth.email` of the policies.

`sessions.py` asks when it resolves a session and keeps the answer with it; `listener` listens to
the feed, so that a change counts from the next request on. That open streams are closed and older
cursors start anew is the change log's part (`watch`). Wired by `wiring.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pylon import limits
from pylon.auth.model import NO_CLAIMS, Claims
from pylon.changes.feed import Listener, Message
from pylon.changes.model import Change
from pylon.codec import decode
from pylon.errors import PylonError
from pylon.policy.audience import Selector
from pylon.policy.callers import ROLE_FIELDS
from pylon.policy.membership import Watch
from pylon.schema.model import USER
from pylon.store.base import Store
from pylon.store.naming import quote


class UserClaims:
    """Reads claims from the rows of `entity`, the users."""

    def __init__(self, store: Store, fields: tuple[str, ...], *, entity: str = USER) -> None:
        self._store = store
        self._fields = fields
        self.entity = entity
        self._select = f"SELECT {', '.join(map(quote, fields))} FROM {quote(entity)} WHERE id = ?"

    async def of(self, user_id: str) -> Claims:
        """The claims of a user; none where there is no such row."""
        found = await self._store.read(self._select, (user_id,))
        return claims_of(dict(zip(self._fields, found[0], strict=True))) if found else NO_CLAIMS

    def watch(self) -> Watch:
        """That a user whose claims change starts anew."""
        selector = Selector(attribute="userId", field="id")
        return Watch(fields=frozenset(self._fields), selectors=(selector,))

    def listener(self, forget: Callable[[str], None]) -> Listener:
        """A listener of the feed that calls `forget(user_id)` for users whose claims changed."""
        watch = self.watch()

        def hear(messages: Sequence[Message], _: int) -> None:
            for message in messages:
                if isinstance(message, Change) and message.entity == self.entity:
                    for _attribute, user_id in watch.concerns(message.before, message.after) or ():
                        forget(user_id)

        return hear


def claims_of(row: Mapping[str, Any]) -> Claims:
    """What a row of `User` says."""
    roles = [role for name in ROLE_FIELDS for role in read_roles(row.get(name))]
    email = row.get("email")
    return Claims(
        roles=tuple(dict.fromkeys(roles)), email=email if isinstance(email, str) else None
    )


def read_roles(text: object) -> list[str]:
    """The roles in a field: a JSON array of texts, or names with commas between them; none in a
    text of more than `limits.ROLES_CHARACTERS_MAX`."""
    if not isinstance(text, str) or len(text) > limits.ROLES_CHARACTERS_MAX:
        return []
    if text.lstrip().startswith("["):
        try:
            listed = decode(text)
        except PylonError:
            return []
        return [role for role in listed if isinstance(role, str)]
    return [role for part in text.split(",") if (role := part.strip())]
