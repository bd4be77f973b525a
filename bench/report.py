"""Measures as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.ratio import Measure, Spread, spread

HEAD = ("measure", "ours", "peer", "ratio (least..most)", "floor", "aim", "reached")


def number(value: float) -> str:
    """Three significant figures, with k and M."""
    for limit, suffix in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e6 if suffix == 'M' else 1e3):.3g} {suffix}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def row(measure: Measure) -> tuple[str, ...]:
    """The cells of one measure."""
    ours = f"{number(spread(measure.ours).median)} {measure.unit}"
    peer = ratio = ""
    if measure.peer:
        peer = f"{number(spread(measure.peer).median)} ({measure.peer_name})"
        ratio = _ratio(spread(measure.ratios()))
    elif len(measure.ours) > 1:
        own = spread(measure.ours)
        ratio = f"{number(own.least)}..{number(own.most)} {measure.unit}"
    promised = [f"{each:.2g}x" if each is not None else "" for each in (measure.floor, measure.aim)]
    return (measure.name, ours, peer, ratio, *promised, measure.verdict())


def table(measures: Sequence[Measure]) -> str:
    """A Markdown table with aligned columns; the notes of each measure below it."""
    rows = [HEAD, *(row(measure) for measure in measures)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEAD))]
    lines = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [f"  {measure.name}: {_notes(measure.notes)}" for measure in measures if measure.notes]
    return "\n".join([*lines, "", *notes])


def as_json(facts: Mapping[str, object], measures: Sequence[Measure]) -> str:
    """Everything, rounds included."""
    found = [
        {
            "name": measure.name,
            "unit": measure.unit,
            "better": measure.better,
            "ours": measure.ours,
            "peer_name": measure.peer_name,
            "peer": measure.peer,
            "ratios": measure.ratios() if measure.peer else (),
            "ratio": spread(measure.ratios()).median if measure.peer else None,
            "floor": measure.floor,
            "aim": measure.aim,
            "reached": measure.verdict(),
            "notes": measure.notes,
        }
        for measure in measures
    ]
    return json.dumps({"machine": dict(facts), "measures": found}, indent=2) + "\n"


def write_json(file: Path, facts: Mapping[str, object], measures: Sequence[Measure]) -> None:
    """The JSON report as a file."""
    file.write_text(as_json(facts, measures))


def _ratio(value: Spread) -> str:
    return f"{value.median:.2f}x ({value.least:.2f}..{value.most:.2f})"


def _notes(notes: Mapping[str, float | int | str]) -> str:
    parts = [
        f"{name} {number(value) if isinstance(value, float) else value}"
        for name, value in notes.items()
    ]
    return ", ".join(parts)
