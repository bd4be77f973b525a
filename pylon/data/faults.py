"""What is wrong with the fields of a row that is to be written, told all at once.

The first fault that a write meets decides the code of the answer, as it always has; the others are
told beside it, in `fields` of the error: `[{"field", "code", "message"}]`. Made by `table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from pylon.errors import PylonError
from pylon.limits import FIELD_FAULTS_MAX

UNKNOWN: Final = "INVALID_COLUMN"
WRONG_TYPE: Final = "INVALID_DATA"
NOT_ALLOWED: Final = "INVALID_VALUE"


class FieldFault(Struct, frozen=True, kw_only=True):
    """One wrong field. `message` goes behind its name ("must be a string"); `sentence` stands
    alone; `answer` is the code of a refusal for this fault."""

    field: str
    code: str
    message: str
    sentence: str
    answer: str
    hint: str | None = None


def refusal(faults: Sequence[FieldFault], entity: str, *, untold: int = 0) -> PylonError:
    """400 with every fault, of which there is one at least; the first ones are `FIELD_FAULTS_MAX`.

    `untold` is how many more there are than those given. What is missing is told in one sentence.
    With one fault it is the error of that fault.
    """
    told = faults[:FIELD_FAULTS_MAX]
    sentences = [fault.sentence for fault in told if fault.code != "REQUIRED"]
    missing = [fault.field for fault in told if fault.code == "REQUIRED"]
    if missing:
        sentences.append(f"{entity} needs a value for: {', '.join(dict.fromkeys(missing))}.")
    more = len(faults) - len(told) + untold
    if more:
        sentences.append(f"{more} more fields are wrong.")
    fields = [{"field": f.field, "code": f.code, "message": f.message} for f in told]
    first = faults[0]
    return PylonError(400, first.answer, " ".join(sentences), first.hint, fields=fields)


def missing_value(name: str, answer: str) -> FieldFault:
    """A required field without a value; `answer` as the route's (spec 02 2.4)."""
    return FieldFault(
        field=name, code="REQUIRED", message="needs a value", sentence="", answer=answer
    )
