"""The answers that every door to rows gives alike: denied, and not there."""

from __future__ import annotations

from typing import Final

from pylon import limits
from pylon.errors import PylonError

DENIED_HINT: Final = "Check your auth token or the policy rules in your schema"
"""What a denial says of itself to those who may not know more."""


def policy_denied(why: str | None = None) -> PylonError:
    """The answer to every denial. Which rule it was goes to the log only, unless `why` tells it to
    whoever develops the app."""
    return PylonError(403, "POLICY_DENIED", "Access denied by policy", why or DENIED_HINT)


def told_denial(error: PylonError) -> str | None:
    """Why a policy said no, where the error tells it."""
    is_told = error.code == "POLICY_DENIED" and error.hint != DENIED_HINT
    return error.hint if is_told else None


def not_found(entity: str, why: str | None = None) -> PylonError:
    """There is no such row, or none that the caller may know of; `why` it is hidden is for whoever
    develops the app."""
    hint = None if why is None else f"The row is there, but hidden from this caller. {why}"
    return PylonError(404, "NOT_FOUND", f"No such row in {entity}.", hint)


def hooks_too_deep() -> PylonError:
    """Hooks of the app cause writes that cause hooks, without end."""
    return PylonError(
        500,
        "HOOKS_TOO_DEEP",
        f"Hooks have written rows in hooks {limits.HOOK_DEPTH_MAX} deep.",
        "Two hooks call each other, or one calls itself.",
    )


def invalid(message: str, hint: str | None = None) -> PylonError:
    """400 `INVALID_QUERY`."""
    return PylonError(400, "INVALID_QUERY", message, hint)
