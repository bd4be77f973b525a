"""Readers in groups: a group that a change concerns is always among those found."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pylon.changes.model import Change, RowData, Seq
from pylon.codec import encode
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.live.outlet import LINES, Encoding
from pylon.policy.engine import PolicyEngine
from pylon.policy.lookup import NOTHING
from pylon.schema.parse import parse_manifest
from pylon.sync.audience import Audiences
from pylon.sync.visibility import told_live

READERS = (
    ANONYMOUS,
    ADMIN,
    Identity(user_id="ann"),
    Identity(user_id="ann", tenant_id="acme"),
    Identity(user_id="bob", tenant_id="acme", roles=("editor",)),
    Identity(user_id="cleo", email="c@d.ef"),
)

RULES = (
    "true",
    "false",
    "data.public",
    "auth.userId == data.ownerId",
    "auth.tenantId == data.orgId",
    "auth.userId == data.ownerId || auth.tenantId == data.orgId",
    "auth.userId == data.ownerId || data.public",
    "auth.userId == data.ownerId && auth.tenantId == data.orgId",
    'auth.hasRole("editor") || auth.userId == data.ownerId',
    "auth.userId != null",
    "auth.userId != data.ownerId",
)


class Stream:
    """An outlet that nobody reads."""

    encoding: Encoding = LINES

    def write(self, data: bytes) -> None: ...

    def written(self) -> int:
        return 0

    def backlog(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None: ...


def audiences(rule: str) -> Audiences:
    names = ("ownerId", "orgId")
    fields = [
        *({"name": name, "type": "string", "optional": True, "unique": False} for name in names),
        {"name": "public", "type": "bool", "optional": True, "unique": False},
    ]
    app: dict[str, Any] = {
        "manifest_version": 1,
        "name": "groups",
        "version": "1",
        "routes": [],
        "entities": [{"name": "Note", "fields": fields, "indexes": []}],
        "policies": [{"name": "p", "entity": "Note", "allow": rule}],
    }
    manifest, problems = parse_manifest(encode(app))
    assert manifest is not None, problems
    return Audiences(PolicyEngine(manifest, open_by_default=False), ["Note"])


rows: st.SearchStrategy[RowData | None] = st.none() | st.fixed_dictionaries(
    {
        "ownerId": st.sampled_from(["ann", "bob", None]),
        "orgId": st.sampled_from(["acme", None]),
        "public": st.sampled_from([True, False, None]),
    }
)


@given(st.sampled_from(RULES), rows, rows)
def test_who_is_told_something_is_found(
    rule: str, before: RowData | None, after: RowData | None
) -> None:
    groups = audiences(rule)
    for reader in READERS:
        groups.join(reader, Stream(), NOTHING)
    compiled = groups.rule("Note")
    assert compiled is not None
    change = Change(
        seq=Seq(1),
        entity="Note",
        row_id="1",
        kind="update",
        before=before,
        after=after,
        patch={},
        at=0.0,
    )
    found = {group.key for group in groups.concerned(compiled, change)}
    for reader in READERS:
        if told_live(compiled, reader, change) is not None:
            shared = not compiled.audience.attributes and not reader.is_admin
            assert shared or groups.key(reader) in found


@given(st.sampled_from(RULES), st.lists(st.sampled_from(READERS), max_size=12))
def test_groups_end_with_their_last_reader(rule: str, readers: list[Identity]) -> None:
    groups = audiences(rule)
    joined = [
        (groups.join(reader, stream, NOTHING), stream)
        for reader in readers
        for stream in [Stream()]
    ]
    assert len(groups) == len({groups.key(reader) for reader in readers})
    assert sum(len(group.outlets) for group in groups) == len(readers)
    for group, stream in joined:
        groups.leave(group, stream)
        groups.leave(group, stream)
    assert len(groups) == 0
    assert list(groups) == []


def test_readers_whom_no_rule_tells_apart_are_one_group() -> None:
    groups = audiences("data.public")
    assert len({groups.key(reader) for reader in READERS if not reader.is_admin}) == 1
    groups = audiences("auth.userId == data.ownerId")
    assert groups.key(Identity(user_id="ann")) == groups.key(
        Identity(user_id="ann", tenant_id="acme")
    )
    assert groups.rule("Gone") is None
