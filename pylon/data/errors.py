"""The answers that every door to rows gives alike: denied, and not there."""

from __future__ import annotations

from pylon import limits
from pylon.errors import PylonError


def policy_denied() -> PylonError:
    """The answer to every denial; which rule it was goes to the log only."""
    return PylonError(
        403,
        "POLICY_DENIED",
        "Access denied by policy",
        "Check your auth token or the policy rules in your schema",
    )


def not_found(entity: str) -> PylonError:
    """There is no such row, or none that the caller may know of."""
    return PylonError(404, "NOT_FOUND", f"No such row in {entity}.")


def hooks_too_deep() -> PylonError:
    """Hooks of the app cause writes that cause hooks, without end."""
    return PylonError(
        500,
        "HOOKS_TOO_DEEP",
        f"Hooks have written rows in hooks {limits.HOOK_DEPTH_MAX} deep.",
        "Two hooks call each other, or one calls itself.",
    )
