"""The table and the JSON say what the measures say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.ratio import Measure
from bench.report import as_json, markdown, number, table

COMPARED = Measure(
    name="get one row",
    unit="/s",
    ours=(20_000.0, 22_000.0, 24_000.0),
    peer_name="pocketbase",
    peer=(10_000.0, 10_000.0, 10_000.0),
    floor=1.3,
    aim=2.0,
    cores="pinned",
    notes={"ours p50 ms": 1.5},
)
ALONE = Measure(name="ceiling", unit="/s", ours=(1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_234_567.0, "1.23 M"), (12_345.0, "12.3 k"), (2000.0, "2000"), (0.4567, "0.457")],
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_table_has_a_line_for_each_measure_and_the_notes() -> None:
    lines = table([COMPARED, ALONE]).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [
        "get one row",
        "pinned",
        "22 k /s",
        "10 k (pocketbase)",
        "2.20x (2.00..2.40)",
        "1.3x",
        "2x",
        "aim",
    ]
    assert "1..3 /s" in lines[3]
    assert lines[-1].strip() == "get one row (pinned): ours p50 ms 1.5"
    assert len({len(line) for line in lines[:4]}) == 1


def test_json_keeps_every_round() -> None:
    found = json.loads(as_json({"python": "3"}, [COMPARED, ALONE]))
    assert found["machine"] == {"python": "3"}
    first, second = found["measures"]
    assert (first["ratios"], first["ratio"], first["reached"]) == ([2.0, 2.2, 2.4], 2.2, "aim")
    assert (second["ratios"], second["ratio"]) == ([], None)


def test_markdown_has_one_line_for_pinned_and_free() -> None:
    free = replace(COMPARED, cores="free", peer=(4_000.0,) * 3)
    half = replace(COMPARED, name="a half", peer=(44_000.0,) * 3, peer_name="floor", floor=None)
    docs, readme, notes = markdown([COMPARED, half, ALONE, free]).split("\n\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in docs.splitlines()]
    assert cells[2:] == [
        [
            *("get one row", "pocketbase", "22 k /s", "10 k"),
            *("2.20x (2.00..2.40)", "5.50x (5.00..6.00)", "1.3x", "2x"),
        ],
        ["a half", "floor", "22 k /s", "44 k", "0.50x (0.45..0.55)", "", "", "2x"],
        ["ceiling", "", "2 /s", "1..3 /s", "", "", "", ""],
    ]
    short = [[cell.strip() for cell in line.strip("|").split("|")] for line in readme.splitlines()]
    assert short[2:] == [
        ["get one row", "pocketbase", "2.2 times", "5.5 times"],
        ["a half", "floor", "0.5 times", ""],
    ]
    assert notes.splitlines()[-1].strip() == "get one row (free): ours p50 ms 1.5"
