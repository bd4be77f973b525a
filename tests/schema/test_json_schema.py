"""The committed JSON Schema is the one that the tables give, and it agrees with the reader."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from pylon import codec
from pylon.schema.json_schema import PATH, manifest_json_schema
from pylon.schema.model import Manifest
from pylon.schema.parse import parse_manifest
from tests.schema.samples import a_field, an_app, an_entity, manifests

VALIDATOR = jsonschema_rs.validator_for(manifest_json_schema())


def test_the_committed_file_is_current() -> None:
    assert PATH.read_text(encoding="utf-8") == codec.encode_pretty(manifest_json_schema()), (
        "run: python -m pylon.schema.json_schema"
    )


@given(manifests)
def test_whatever_we_write_is_valid(manifest: Manifest) -> None:
    wire = {**manifest.to_wire(), "manifest_version": 1}
    assert VALIDATOR.is_valid(wire)


@pytest.mark.parametrize(
    "wire",
    [
        [],
        an_app(name=None),
        an_app(an_entity("T", {"name": "a"})),
        an_app(an_entity("T", a_field("a", crdt="x"))),
        an_app(an_entity("T", a_field("a", default={"$auth": "email"}))),
        an_app(an_entity("T", search=[])),
        an_app(policies=[{"name": "p", "allow": None}]),
    ],
)
def test_both_refuse_the_same(wire: Any) -> None:
    assert not VALIDATOR.is_valid(wire)
    assert parse_manifest(codec.encode(wire))[1]
