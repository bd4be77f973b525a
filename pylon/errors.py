"""The one exception type of the server and the catalogue of its stable codes.

Every failure that a caller may see is a `PylonError`; it is rendered in one place
(`pylon/http/pipeline.py`). The catalogue below is data: a test holds that each code raised
anywhere is listed here and documented in `docs/reference/errors.md`.

    PylonError            anything with a status, a stable code and a sentence for people
    └── ConfigError       an unsafe or impossible setting; one line on stderr and an exit code
"""

from __future__ import annotations

from typing import Any


class PylonError(Exception):
    """A failure that the caller is told about.

    `status` is the HTTP status, `code` is stable and machine-readable, `message` is for people,
    `hint` says what to do next. `extra` keys are added beside them in the error object
    (for example `oldest_seq` of `RESYNC_REQUIRED`).
    Wire shape: `{"error": {"code", "message", "hint"?, ...extra}}` (spec 01 section 2.1).
    """

    def __init__(
        self, status: int, code: str, message: str, hint: str | None = None, **extra: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.extra = extra
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        """Response headers that go with it; see `http/errors.HttpError`."""

    def to_wire(self) -> dict[str, Any]:
        """The JSON body of this error."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint is not None:
            error["hint"] = self.hint
        error.update(self.extra)
        return {"error": error}

    def __repr__(self) -> str:
        return f"PylonError({self.status}, {self.code!r}, {self.message!r})"


class ConfigError(PylonError):
    """An unsafe or impossible setting, found before the server serves.

    `exit_code` is that of the process (spec 05 section 9.1).
    """

    def __init__(
        self, code: str, message: str, hint: str | None = None, *, exit_code: int = 1
    ) -> None:
        super().__init__(500, code, message, hint)
        self.exit_code = exit_code
