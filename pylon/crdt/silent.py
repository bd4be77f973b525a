"""Writers who push and take nothing in, beyond a cut of a document's history.

The library refuses what builds on a version before a shallow document's start. A writer whose copy
ends there may go on all the same where that makes no difference: what it edits is plain text, and
it had seen all that was ever done to that text. Its next operation is taken in as if it had been
made at the start. Why that converges, and what had to be ruled out: docs/decisions/0018.

Pure, on a `LoroDoc`. `row_document.py` calls it; documents whose history was never cut so know
nothing of it.
"""

# The stubs of loro leave its constructors without types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from loro import ID, Frontiers, LoroDoc, VersionVector

from pylon import limits
from pylon.codec import decode_trusted, encode

Version = dict[int, int]
"""Of each author, how many of its operations."""

OpId = tuple[int, int]
"""Peer and counter."""

UNSEEN: Final = "~"
"""A key of the map `row` that is never set. Deleting it is an operation that changes nothing."""


class Outdated(Exception):
    """The update builds on history that is gone, and what it does depends on that history."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the first operation after a cut says of it, as the message of its commit."""

    cut: int
    """The counter of that operation: only there does the note count."""
    texts: list[str]
    """The ids of all containers that may be edited so."""
    clean: dict[str, list[int]]
    """By author: those texts, by their place, to which nothing was done that it had not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The start of a document whose history was cut."""

    start: OpId
    """The operation that all later ones build on; the one after it came in the same frame."""
    kept: Version
    """What is no more in the history."""
    clean: Mapping[int, frozenset[str]]
    """See `Note`."""
    silent: dict[OpId, bool] = field(default_factory=dict, compare=False)
    """What `is_silent` has found, by the first operation of a change."""


# --- making and finding a cut --------------------------------------------------------------------


def close(doc: LoroDoc, texts: Iterable[str], cut: Cut | None) -> Frontiers:
    """Prepare to drop all history: two operations that change nothing, the first of which says who
    may go on. The version to cut at. `texts` are the ids of the containers that may be edited so.

    Nobody has the first without the second: what says that it builds on the first alone was put
    there by `rebased`.
    """
    doc.commit()
    peer, start = doc.peer_id, _count(doc, doc.peer_id)
    named = sorted(texts)
    clean = {
        str(peer): [at for at, text in enumerate(named) if text in its]
        for peer, its in _clean_texts(doc, frozenset(named), cut).items()
    }
    note = Note(cut=start, texts=named, clean=clean)
    doc.set_next_commit_message(encode(msgspec.to_builtins(note)).decode())
    row = doc.get_map("row")
    row.delete(UNSEEN)
    row.delete(UNSEEN)
    doc.commit()
    return Frontiers.from_id(ID(peer, start))


def find_cut(doc: LoroDoc) -> Cut | None:
    """The note of the cut at which a document begins, if there is one."""
    if not doc.is_shallow():
        return None
    starts = _ids(doc.shallow_since_frontiers)
    if len(starts) != 1:
        return None
    change = doc.get_change(ID(*starts[0]))
    if change is None or not change.message:
        return None
    try:
        note = msgspec.json.decode(change.message, type=Note)
        clean = {
            int(peer): frozenset(note.texts[at] for at in places)
            for peer, places in note.clean.items()
        }
    except (ValueError, IndexError):  # a client's own message
        return None
    if note.cut != starts[0][1]:
        return None
    return Cut(start=starts[0], kept=_version(doc.shallow_since_vv), clean=clean)


def has_silent(doc: LoroDoc, cut: Cut) -> bool:
    """Whether anybody has gone on beyond the cut without having seen it."""
    return any(
        _count(doc, peer) > cut.kept.get(peer, 0)
        and cut.start in _ids(_change(doc, (peer, cut.kept.get(peer, 0))).deps)
        for peer in cut.clean
    )


def _clean_texts(doc: LoroDoc, texts: frozenset[str], cut: Cut | None) -> dict[int, frozenset[str]]:
    """By author, the latest ones first while there is room: the texts that hold nothing which the
    author's last operation was made without."""
    touched: dict[str, Version] = {text: {} for text in texts}
    last: list[tuple[int, int, int]] = []
    have, kept = _version(doc.oplog_vv), {} if cut is None else cut.kept
    for peer, end in have.items():
        counter = kept.get(peer, 0)
        newest = -1
        while counter < end:
            change = _change(doc, (peer, counter))
            stop = change.id.counter + change.len
            for container in doc.get_changed_containers_in(ID(peer, counter), stop - counter):
                text = container_id(container)
                if text in texts:
                    touched[text][peer] = stop
            newest = change.lamport + change.len
            counter = stop
        last.append((newest, peer, end))
    last.sort(reverse=True)
    found: dict[int, frozenset[str]] = {}
    for newest, peer, end in last[: limits.DOCUMENT_SILENT_AUTHORS_MAX]:
        if newest >= 0:
            version = doc.frontiers_to_vv(Frontiers.from_id(ID(peer, end - 1)))
            assert version is not None, "its last operation is in the history"
            seen = _version(version)
            may = texts
            if cut is not None and is_silent(doc, cut, (peer, end - 1)):
                may = texts & cut.clean.get(peer, frozenset())
        else:
            assert cut is not None, "who has done nothing since a cut was there before it"
            seen, may = kept, texts & cut.clean.get(peer, frozenset())
        clean = frozenset(
            text
            for text in may
            if all(seen.get(other, 0) >= stop for other, stop in touched[text].items())
        )
        if clean:
            found[peer] = clean
    return found


# --- updates -------------------------------------------------------------------------------------


def is_silent(doc: LoroDoc, cut: Cut, operation: OpId) -> bool:
    """Whether an operation since the cut was made by somebody who has gone on without having seen
    it, or by one who has seen it but not yet all that the server made of its own operations."""
    peer, counter = operation
    if peer == cut.start[0]:
        return False
    way: list[OpId] = []
    found = False
    while counter >= cut.kept.get(peer, 0):
        change = _change(doc, (peer, counter))
        first = (peer, change.id.counter)
        if first in cut.silent:
            found = cut.silent[first]
            break
        way.append(first)
        deps = _ids(change.deps)
        if cut.start in deps:
            found = True
            break
        counter = change.id.counter - 1
        if (peer, counter) not in deps:
            break
    cut.silent.update(dict.fromkeys(way, found))
    return found


def rebased(doc: LoroDoc, cut: Cut, update: bytes) -> str | None:
    """The new operations of an update in the library's JSON, where those that build on what is gone
    build on the start instead; None where it is to be imported as it is.

    What is known already is left out: the library refuses to be told again of operations that build
    on something else now. Only plain text goes this way, as not every value is the same in JSON.
    `Outdated` where that cannot be done; raises what the library raises for bytes it cannot read.
    """
    header = LoroDoc.decode_import_blob_meta(update, False)
    starts = _version(header.partial_start_vv)
    first = {peer: starts.get(peer, 0) for peer in _version(header.partial_end_vv)}
    if not any(_may_be_silent(cut, peer, _count(doc, peer), first[peer]) for peer in first):
        return None
    builds_on = {peer for peer, _ in _ids(header.start_frontiers)}
    have = {peer: _count(doc, peer) for peer in first.keys() | builds_on}
    changes = _decoded(have, first, update)
    if changes is None:
        return None
    peers: list[str] = changes["peers"]
    is_old = False
    for change in changes["changes"]:
        counter, peer = _numbered(change["id"], peers)
        deps = [_numbered(dep, peers) for dep in change["deps"]]
        old = [(c, p) for c, p in deps if c < cut.kept.get(p, 0)]
        if not old:
            continue
        is_old = True
        if (counter - 1, peer) not in old or peer not in cut.clean:
            raise Outdated
        change["deps"] = [f"{c}@{_at(peers, p)}" for c, p in deps if (c, p) not in old]
        change["deps"].append(f"{cut.start[1]}@{_at(peers, cut.start[0])}")
    if _is_plain(changes, None):
        return encode(changes).decode()
    if is_old:
        raise Outdated
    return None


def _may_be_silent(cut: Cut, peer: int, have: int, first: int) -> bool:
    """Whether an update that begins with this operation of an author may be one to change: it is
    the author's first since the cut, or begins with some that are known."""
    return peer in cut.clean and (first < have or first == have == cut.kept.get(peer, 0))


def settle(doc: LoroDoc, cut: Cut, before: VersionVector) -> bool:
    """Look at what was imported since `before`, and make it safe; whether a silent writer made it,
    so that an operation of the server's has to follow it before others see it.

    `Outdated` where a silent writer did what depends on more than it has seen.
    """
    new = doc.oplog_vv.sub_vec(before).inner()
    silent: list[int] = []
    highest = 0
    for peer, (start, end) in new.items():
        counter = start
        while counter < end:
            change = _change(doc, (peer, counter))
            deps = _ids(change.deps)
            if counter == change.id.counter and any(
                dep[0] != peer and dep[1] >= cut.kept.get(dep[0], 0) and is_silent(doc, cut, dep)
                for dep in deps
            ):
                raise Outdated  # a copy of a silent writer's copy
            counter = change.id.counter + change.len
            if is_silent(doc, cut, (peer, counter - 1)):
                silent.append(peer)
                highest = change.lamport + change.len - 1
    if not silent:
        return False
    if len(new) > 1:
        raise Outdated
    (peer,) = new
    clean = cut.clean.get(peer, frozenset())
    if not _is_plain(decode_trusted(doc.export_json_updates(before, doc.oplog_vv)), clean):
        raise Outdated
    _make_late(doc, before, highest)
    return True


def _is_plain(updates: Any, texts: frozenset[str] | None) -> bool:
    """Whether all that is done is to type in these texts, or in any, and to delete from them."""
    for change in updates["changes"]:
        for op in change["ops"]:
            container = op["container"]
            if not container.endswith(":Text") or op["content"]["type"] not in ("insert", "delete"):
                return False
            if not container.startswith("cid:root-"):
                counter, _, rest = container.removeprefix("cid:").partition("@")
                number, _, _ = rest.partition(":")
                container = f"cid:{counter}@{updates['peers'][int(number)]}:Text"
            if texts is not None and container not in texts:
                return False
    return True


def do_nothing(doc: LoroDoc) -> None:
    """An operation that changes nothing, but comes after all others."""
    doc.get_map("row").delete(UNSEEN)
    doc.commit()


def _make_late(doc: LoroDoc, before: VersionVector, lamport: int) -> None:
    """Give what the server does next a Lamport time that does not depend on a silent writer's.

    The library works such times out from what an operation builds on. In the writer's own copy its
    operations have lower ones than here; whoever followed them would have others there, too, and
    might win there over what it loses to here. So the server's own line goes on beside them, by
    characters that nobody sees, until it is the later one.
    """
    heads = _ids(doc.vv_to_frontiers(before))
    latest = 0
    for peer, counter in heads:
        change = _change(doc, (peer, counter))
        latest = max(latest, change.lamport + counter - change.id.counter)
    missing = lamport - latest
    if missing <= 0:
        return
    peer, counter = doc.peer_id, _count(doc, doc.peer_id)
    text = f"cid:{counter}@{peer}:Text"
    length = (missing + 1) // 2
    row = "cid:root-row:Map"
    contents: list[tuple[str, dict[str, Any], int]] = [
        (row, {"type": "insert", "key": UNSEEN, "value": f"🦜:{text}"}, 1),
        (text, {"type": "insert", "pos": 0, "text": " " * length}, length),
        (
            text,
            {"type": "delete", "pos": 0, "len": length, "start_id": f"{counter + 1}@{peer}"},
            length,
        ),
        (row, {"type": "delete", "key": UNSEEN}, 1),
    ]
    ops, at = [], counter
    for container, content, size in contents:
        ops.append({"container": container, "content": content, "counter": at})
        at += size
    deps = [f"{c}@{p}" for p, c in heads]
    _import_json(doc, [_json_change((peer, counter), deps, ops)])


def _decoded(have: Version, first: Version, update: bytes) -> Any:
    """The library's JSON of an update's operations that are new.

    The library reads an update only into a document that has all before it, and that is gone. What
    it looks at is only whether it is there: so here stands, for each author, one operation that is
    as long as what it did. None for an update that builds on what never was.
    """
    scratch = LoroDoc()
    scratch.detach()
    stand_ins = []
    for peer, end in have.items():
        length = min(first.get(peer, end), end)
        if length > 0:
            content = {"type": "delete", "pos": 0, "len": length, "start_id": f"0@{peer}"}
            op = {"container": "cid:root-x:Text", "content": content, "counter": 0}
            stand_ins.append(_json_change((peer, 0), [], [op]))
    _import_json(scratch, stand_ins)
    status = scratch.import_(update)
    if status.pending is not None and not status.pending.is_empty:
        return None
    known = VersionVector()
    for peer, end in have.items():
        known.extend_to_include_end_id(ID(peer, min(end, _count(scratch, peer))))
    return decode_trusted(scratch.export_json_updates(known, scratch.oplog_vv))


# --- the library's shapes ------------------------------------------------------------------------


def _json_change(first: OpId, deps: list[str], ops: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"{first[1]}@{first[0]}",
        "timestamp": 0,
        "deps": deps,
        "lamport": 0,
        "msg": None,
        "ops": ops,
    }


def _import_json(doc: LoroDoc, changes: list[dict[str, Any]]) -> None:
    whole = {"schema_version": 1, "start_version": {}, "peers": None, "changes": changes}
    doc.import_json_updates(encode(whole).decode())


def _numbered(id_: str, peers: list[str]) -> tuple[int, int]:
    """Counter and peer of an id in the library's JSON, where peers are numbered."""
    counter, _, number = id_.partition("@")
    return int(counter), int(peers[int(number)])


def _at(peers: list[str], peer: int) -> int:
    if str(peer) not in peers:
        peers.append(str(peer))
    return peers.index(str(peer))


def _version(version: VersionVector) -> Version:
    return {peer: end for peer, (_, end) in version.sub_vec(VersionVector()).inner().items()}


def _count(doc: LoroDoc, peer: int) -> int:
    """How many operations a document has of an author."""
    last: int | None = doc.oplog_vv.get_last(peer)
    return 0 if last is None else last + 1


def _change(doc: LoroDoc, operation: OpId) -> Any:
    change = doc.get_change(ID(*operation))
    assert change is not None, f"{operation} is in the history"
    return change


def container_id(container: Any) -> str:
    """A container's id as the library's JSON has it."""
    kind = type(container.container_type).__name__.removeprefix("ContainerType_")
    name = getattr(container, "name", None)
    if name is not None:
        return f"cid:root-{name}:{kind}"
    return f"cid:{container.counter}@{container.peer}:{kind}"


def _ids(frontiers: Frontiers) -> list[OpId]:
    """The operations of a version. The binding shows them only as bytes: their number, and for each
    the peer and twice the counter, seven bits a byte, lowest first."""
    numbers = _varints(frontiers.encode())
    return [(next(numbers), next(numbers) // 2) for _ in range(next(numbers))]


def _varints(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
