"""Setting a tree to the nodes that a row's JSON names (shape in `values.check_tree`).

A node with an id that the tree has is kept, moved and its meta changed; one without is created;
nodes that are not named are deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loro import LoroMap, LoroTree, TreeID

from pylon.canonical import canonical_text


def set_tree(container: LoroTree, target: Sequence[dict[str, Any]]) -> None:
    """Make the container hold `target`; new nodes get their ids from the library."""
    known = {_text(node.id): node.id for node in container.get_nodes(False)}
    named = _Named(container, known)
    named.place(target, None)
    for text, node in known.items():
        # A node below a deleted one is gone with it.
        if text not in named.kept and not container.is_node_deleted(node):
            container.delete(node)


class _Named:
    """The nodes of a target as they are put in their places."""

    def __init__(self, container: LoroTree, known: dict[str, TreeID]) -> None:
        self._container = container
        self._known = known
        self.kept: set[str] = set()

    def place(self, nodes: Sequence[dict[str, Any]], parent: TreeID | None) -> None:
        """Put the nodes below `parent`, top down, so that no move can make a circle."""
        container = self._container
        for index, wanted in enumerate(nodes):
            text = wanted.get("id")
            node = self._known.get(text) if text is not None and text not in self.kept else None
            if node is None:
                node = container.create_at(index, parent)
            else:
                assert text is not None
                self.kept.add(text)
                self._move(node, index, parent)
            set_map(container.get_meta(node), wanted.get("meta") or {})
            self.place(wanted.get("children") or (), node)

    def _move(self, node: TreeID, index: int, parent: TreeID | None) -> None:
        container = self._container
        siblings = container.children(parent) or []
        texts = [_text(sibling) for sibling in siblings]
        if index < len(texts) and texts[index] == _text(node):
            return
        container.mov_to(node, min(index, len(texts) - (_text(node) in texts)), parent)


def set_map(container: LoroMap, target: dict[str, Any]) -> None:
    """Make a map hold `target`; keys whose value is equal are not touched."""
    have = container.get_deep_value()
    assert isinstance(have, dict)
    for key in have.keys() - target.keys():
        container.delete(key)
    for key, value in target.items():
        if key not in have or canonical_text(have[key]) != canonical_text(value):
            container.insert(key, value)


def _text(node: TreeID) -> str:
    return f"{node.counter}@{node.peer}"
