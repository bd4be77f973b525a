"""Lists of names in sentences."""

from __future__ import annotations

import pytest

from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.listing import NAMES_SHOWN, listed
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import EntitySpec, FieldSpec


def test_few_names_are_all_there() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a, b"
    assert " more" not in listed(["a"] * NAMES_SHOWN)


def test_many_names_end_with_their_number() -> None:
    names = [f"f{number}" for number in range(300)]
    assert listed(names).endswith("f18, f19 and 280 more")
    assert did_you_mean("zzz", names).endswith("f19 and 280 more.")
    assert did_you_mean("f2990", names) == 'Did you mean "f299"?'


def test_the_refusal_of_a_wide_entity_is_short() -> None:
    fields = tuple(FieldSpec(name=f"field{n}", type="string", optional=True) for n in range(300))
    table = Table(EntitySpec(name="Wide", fields=fields))
    with pytest.raises(PylonError) as refused:
        table.check_keys({"nope": 1}, trusted=False)
    assert len(refused.value.message) < 400
    assert "more" in refused.value.message
