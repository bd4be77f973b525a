"""Measures as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.machine import FREE, PINNED
from bench.ratio import Measure, Spread, spread

HEAD = ("measure", "cores", "ours", "peer", "ratio (least..most)", "floor", "aim", "reached")
DOCS_HEAD = (
    *("measure", "against", "ours", "peer"),
    *("ratio pinned (least..most)", "ratio free (least..most)", "floor", "aim"),
)
README_HEAD = ("", "against", "pinned", "free")


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
    return (measure.name, measure.cores, ours, peer, ratio, *promised, measure.verdict())


def table(measures: Sequence[Measure]) -> str:
    """A Markdown table with aligned columns; the notes of each measure below it."""
    lines = _aligned([HEAD, *(row(measure) for measure in measures)])
    return "\n".join([*lines, "", *_all_notes(measures)])


def markdown(measures: Sequence[Measure]) -> str:
    """The table of docs/benchmarks.md, then that of README.md: each measure on one line, with its
    ratio pinned and free. Where it was measured with one of them only, the other cell is empty.
    The notes come last, as below `table`."""
    rows: list[tuple[str, ...]] = [DOCS_HEAD]
    short: list[tuple[str, ...]] = [README_HEAD]
    for name, peer_name in dict.fromkeys((each.name, each.peer_name) for each in measures):
        alike = [each for each in measures if (each.name, each.peer_name) == (name, peer_name)]
        by_cores = {each.cores: each for each in alike}
        first = alike[0]
        _, _, ours, peer, own_ratio, floor, aim, _ = row(first)
        peer = peer.partition(" (")[0]
        ratios = [_cell(by_cores.get(cores)) for cores in (PINNED, FREE)]
        rows.append((name, peer_name, ours, peer or own_ratio, *ratios, floor, aim))
        if peer_name:
            times = [_times(by_cores.get(cores)) for cores in (PINNED, FREE)]
            short.append((name, peer_name, *times))
    return "\n".join([*_aligned(rows), "", *_aligned(short), "", *_all_notes(measures)])


def _all_notes(measures: Sequence[Measure]) -> list[str]:
    return [
        f"  {measure.name} ({measure.cores}): {_notes(measure.notes)}"
        for measure in measures
        if measure.notes
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a Markdown table, the first of them its head."""
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def _cell(measure: Measure | None) -> str:
    return _ratio(spread(measure.ratios())) if measure and measure.peer else ""


def _times(measure: Measure | None) -> str:
    """A median for people: two figures, or one behind the point, as prose has them."""
    if measure is None or not measure.peer:
        return ""
    median = spread(measure.ratios()).median
    figures = "0f" if median >= 10 else "1f" if median >= 1 else "2g"
    return f"{median:.{figures}} times"


def as_json(facts: Mapping[str, object], measures: Sequence[Measure]) -> str:
    """Everything, rounds included."""
    found = [
        {
            "name": measure.name,
            "cores": measure.cores,
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
