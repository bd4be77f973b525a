"""What a fan-out sends to whom: lists of streams, each with the events of a turn for all of them.

Pure. Who belongs together is decided by the hub, which also draws the writes from the plans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from pylon import limits
from pylon.live.outlet import Event, Outlet

Plan = tuple[list[Outlet], list[Event]]
"""Streams, and the events that each of them is sent, in order of position."""

T = TypeVar("T")

ALWAYS_JOINED = 32
"""So few events go into one write, however large they are."""


def merge(shared: list[Event], own: list[Event]) -> list[Event]:
    """Both lists in order of position."""
    return sorted([*shared, *own]) if shared else own


def with_personal(plans: list[Plan], personal: Mapping[Outlet, list[Event]]) -> list[Plan]:
    """Give streams with events of their own a plan of their own."""
    split: list[Plan] = []
    for outlets, events in plans:
        split.append(([outlet for outlet in outlets if outlet not in personal], events))
        split.extend(
            ([outlet], merge(events, personal[outlet])) for outlet in outlets if outlet in personal
        )
    return split


def parts(events: list[Event]) -> list[list[Event]]:
    """The events, in several parts where they are so many bytes that joining them takes long."""
    if len(events) <= ALWAYS_JOINED:
        return [events]
    found: list[list[Event]] = [[]]
    size = 0
    for event in events:
        if size > limits.FAN_OUT_BYTES:
            found.append([])
            size = 0
        found[-1].append(event)
        size += len(event[1])
    return found


def in_steps(readers: list[T], size: int) -> Iterator[list[T]]:
    """The readers, in steps that `size` bytes are written to without looking at the clock."""
    count = max(1, min(limits.FAN_OUT_STEP_READERS, limits.FAN_OUT_STEP_BYTES // max(1, size)))
    for first in range(0, len(readers), count):
        yield readers[first : first + count]
