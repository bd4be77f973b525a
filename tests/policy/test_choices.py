"""Warnings about values that are none of a field's choices."""

from __future__ import annotations

import pytest

from pylon.policy.advice import advise
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec


def told(rule: str, *, folds: bool = False) -> list[tuple[str, str | None]]:
    fields = (
        FieldSpec(name="role", type="string", choices=("editor", "reader"), caseInsensitive=folds),
        FieldSpec(name="level", type="int", choices=(1, 2)),
        FieldSpec(name="docId", type="string", unique=True),
        FieldSpec(name="free", type="string"),
    )
    entities = tuple(EntitySpec(name=name, fields=fields) for name in ("Doc", "Member"))
    policy = PolicySpec(name="p", entity="Doc", allow=rule)
    manifest = Manifest(name="a", version="1", entities=entities, policies=(policy,))
    return [
        (finding.message, finding.hint)
        for finding in advise(manifest)
        if finding.code == "POLICY_NOT_A_CHOICE"
    ]


@pytest.mark.parametrize(
    ("rule", "message", "hint"),
    [
        ('data.role == "edtor"', '"role" of Doc is compared with "edtor"', '"editor"'),
        ('"edtor" != data.role', '"role" of Doc is compared with "edtor"', '"editor"'),
        ('data.role in ["editor", "boss"]', 'compared with "boss"', "Known: editor, reader."),
        ("data.level == 3", '"level" of Doc is compared with "3"', "Known: 1, 2."),
        (
            'exists(Member, docId == data.docId && role == "edtor")',
            '"role" of Member is compared with "edtor"',
            '"editor"',
        ),
    ],
)
def test_a_value_that_is_no_choice_is_told_once(rule: str, message: str, hint: str) -> None:
    ((said, mend),) = told(rule)
    assert message in said
    assert hint in str(mend)


@pytest.mark.parametrize(
    "rule",
    [
        'data.role == "editor"',
        "data.role == null",
        'data.free == "edtor"',
        "data.level == 2",
        "data.role == data.free",
        'data.role == "Editor"',
    ],
)
def test_choices_and_other_fields_are_not_told_of(rule: str) -> None:
    assert told(rule, folds=True) == []
