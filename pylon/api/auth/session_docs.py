"""What the session routes answer, for the OpenAPI document."""

from __future__ import annotations

from pylon.http.describe import (
    COUNT,
    FLAG,
    JSON,
    TEXT,
    Docs,
    constant,
    json,
    listed,
    nullable,
    object_of,
    shape,
)

ME = Docs(
    operation_id="getIdentity",
    tag="auth",
    answers=json(shape("Identity")),
    takes_any_query=True,
)
SESSION = Docs(
    operation_id="getSession",
    tag="auth",
    takes_any_query=True,
    answers=json(object_of(session=shape("Identity"), user={"type": ["object", "null"]})),
    description="The row of the caller's user as the caller may read it; null without one.",
    store="reads",
)
_USER_ID = {JSON: object_of(user_id=TEXT)}
MINT = Docs(
    operation_id="createSession",
    tag="auth",
    answers=json(object_of(token=TEXT, user_id=TEXT), 201),
    description="For administrators; in dev mode for callers on the same machine too.",
    body=_USER_ID,
    errors=("400 MISSING_USER_ID", "403 FORBIDDEN"),
    store="writes",
)
SIGN_OUT = Docs(
    operation_id="revokeSession",
    tag="auth",
    answers=json(object_of(revoked=constant(True))),
    description="Clears the cookie too. Without a session there is nothing to do.",
    store="writes",
)
GUEST = Docs(
    operation_id="createGuestSession",
    tag="auth",
    answers=json(object_of(token=TEXT, user_id=TEXT, guest=constant(True)), 201),
    description="A request with an `Origin` is given the cookie too.",
    store="writes",
)
UPGRADE = Docs(
    operation_id="upgradeSession",
    tag="auth",
    answers=json(object_of(upgraded=constant(True), user_id=TEXT)),
    description="For administrators; in dev mode for callers on the same machine too.",
    body=_USER_ID,
    errors=("400 MISSING_USER_ID", "400 UPGRADE_FAILED", "403 FORBIDDEN"),
    store="writes",
)
REFRESH = Docs(
    operation_id="refreshSession",
    tag="auth",
    answers=json(object_of(token=TEXT, user_id=TEXT, expires_at=COUNT)),
    caller="session",
    errors=("401 SESSION_EXPIRED",),
    store="writes",
)
SESSIONS = Docs(
    operation_id="listSessions",
    tag="auth",
    takes_any_query=True,
    answers=json(
        listed(
            object_of(
                token_prefix=TEXT,
                user_id=TEXT,
                device=nullable(TEXT),
                created_at=COUNT,
                expires_at=COUNT,
                id=TEXT,
                current=FLAG,
                last_seen_at=COUNT,
            )
        )
    ),
    caller="session",
    store="reads",
)
END_ALL = Docs(
    operation_id="revokeSessions",
    tag="auth",
    answers=json(object_of(revoked_count=COUNT)),
    caller="session",
    store="writes",
)
END_ONE = Docs(
    operation_id="revokeSessionById",
    tag="auth",
    answers=json(object_of(revoked=constant(True))),
    caller="session",
    errors=("404 NOT_FOUND",),
    store="writes",
)
