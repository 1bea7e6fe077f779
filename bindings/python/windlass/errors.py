"""What goes wrong, as exceptions: one class for each kind of error that Windlass knows.

The kinds, their HTTP statuses and what to do about each are in ``docs/errors.md``.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

__all__ = [
    "AlreadyExistsError",
    "BadRequestError",
    "Cause",
    "ClosedError",
    "CompactedError",
    "ConflictError",
    "CorruptError",
    "ForbiddenError",
    "ForkedError",
    "FullError",
    "FutureRevisionError",
    "InternalError",
    "InvalidError",
    "ManifestError",
    "MethodNotAllowedError",
    "NotAcceptableError",
    "NotFoundError",
    "NotSupportedError",
    "TimedOutError",
    "TooLargeError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
    "WindlassError",
]


class Cause(NamedTuple):
    """One reason among several, as in ``StatusCause``."""

    reason: str = ""
    message: str = ""
    field: str = ""


class WindlassError(Exception):
    """The base of every error that Windlass raises.

    ``str(error)`` is the message, with its place and its cause where those are known.
    """

    kind: str = "Internal"
    """The kind of error, as ``docs/errors.md`` calls it."""
    code: int = 500
    """The HTTP status."""
    reason: str = "InternalError"
    """The reason, as ``metav1.StatusReason``."""
    retryable: bool = False
    """Whether the same call can succeed later although nothing was changed."""
    maybe_applied: bool = False
    """Whether the call may have taken effect all the same. Read before you retry a write."""

    def __init__(self, message: str, *, cause: str = "", place: str = "") -> None:
        super().__init__(message)
        self.message: str = message
        """What was attempted on what."""
        self.cause: str = cause
        """Why it failed, where something else is to blame."""
        self.place: str = place
        """The file and the document that was at fault, where there is one."""
        self.causes: tuple[Cause, ...] = ()
        """Every reason that the server gave, with the field that it is about."""
        self.details: dict[str, Any] = {}
        """``details`` of the server's Status: name, kind, group, uid, retryAfterSeconds."""
        self.failures: tuple[WindlassError, ...] = ()
        """Every failure, where one call was about several objects."""

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        cause = f": {self.cause}" if self.cause else ""
        return f"{place}{self.message}{cause}"

    def status(self) -> dict[str, Any]:
        """The error as a Kubernetes ``Status``."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


class BadRequestError(WindlassError):
    """The request cannot be understood."""

    kind, code, reason = "BadRequest", 400, "BadRequest"


class UnauthorizedError(WindlassError):
    """No valid credential came with the request."""

    kind, code, reason = "Unauthorized", 401, "Unauthorized"


class ForbiddenError(WindlassError):
    """The identity may not do this."""

    kind, code, reason = "Forbidden", 403, "Forbidden"


class NotFoundError(WindlassError):
    """What was named does not exist."""

    kind, code, reason = "NotFound", 404, "NotFound"


class MethodNotAllowedError(WindlassError):
    """The resource does not support the verb."""

    kind, code, reason = "MethodNotAllowed", 405, "MethodNotAllowed"


class NotAcceptableError(WindlassError):
    """No representation that the client accepts exists."""

    kind, code, reason = "NotAcceptable", 406, "NotAcceptable"


class AlreadyExistsError(WindlassError):
    """Something of that name exists already."""

    kind, code, reason = "AlreadyExists", 409, "AlreadyExists"


class ConflictError(WindlassError):
    """The object changed since it was read, or others own the fields that were applied."""

    kind, code, reason = "Conflict", 409, "Conflict"


class CompactedError(WindlassError):
    """The revision is no longer kept: list again."""

    kind, code, reason = "Compacted", 410, "Expired"


class TooLargeError(WindlassError):
    """The body is too large."""

    kind, code, reason = "TooLarge", 413, "RequestEntityTooLarge"


class UnsupportedMediaTypeError(WindlassError):
    """The body's media type is not supported."""

    kind, code, reason = "UnsupportedMediaType", 415, "UnsupportedMediaType"


class InvalidError(WindlassError):
    """The object breaks its kind's rules; ``causes`` names the fields."""

    kind, code, reason = "Invalid", 422, "Invalid"


class TooManyRequestsError(WindlassError):
    """Too many requests, or a budget forbids it now."""

    kind, code, reason = "TooManyRequests", 429, "TooManyRequests"


class InternalError(WindlassError):
    """A bug or a broken promise of a part."""

    kind, code, reason = "Internal", 500, "InternalError"


class NotSupportedError(WindlassError):
    """Asked for something that this build does not do."""

    kind, code, reason = "NotSupported", 501, "NotImplemented"


class UnavailableError(WindlassError):
    """A part that is needed cannot be reached now."""

    kind, code, reason = "Unavailable", 503, "ServiceUnavailable"


class TimedOutError(WindlassError, TimeoutError):
    """The deadline passed."""

    kind, code, reason = "Timeout", 504, "Timeout"

    __str__ = WindlassError.__str__


class FutureRevisionError(WindlassError):
    """The revision that was asked for lies in the future."""

    kind, code, reason = "FutureRevision", 504, "Timeout"


class CorruptError(WindlassError):
    """Stored data does not match its checksum or format."""

    kind, code, reason = "Corrupt", 500, "InternalError"


class FullError(WindlassError):
    """A disk or quota is full; reads still work."""

    kind, code, reason = "Full", 507, "InsufficientStorage"


class ManifestError(InvalidError):
    """A text states no objects: the message says where, and so do ``file``, ``line`` and ``column``."""

    def __init__(self, message: str, *, file: str, document: int, line: int, column: int) -> None:
        where = f"{file}:{line}:{column}" if line else file
        super().__init__(message, place=f"{where}, document {document}")
        self.file: str = file
        """The file, or ``<text>``."""
        self.document: int = document
        """Which of the file's documents, from 1."""
        self.line: int = line
        """The line, from 1; 0 where it is not known."""
        self.column: int = column
        """The column, from 1; 0 where it is not known."""


class ClosedError(UnavailableError):
    """The cluster or the connection was closed."""


class ForkedError(UnavailableError):
    """The cluster belongs to the process that this one was forked from."""


KINDS: Final[dict[str, type[WindlassError]]] = {
    cls.kind: cls
    for cls in (
        BadRequestError,
        UnauthorizedError,
        ForbiddenError,
        NotFoundError,
        MethodNotAllowedError,
        NotAcceptableError,
        AlreadyExistsError,
        ConflictError,
        CompactedError,
        TooLargeError,
        UnsupportedMediaTypeError,
        InvalidError,
        TooManyRequestsError,
        InternalError,
        NotSupportedError,
        UnavailableError,
        TimedOutError,
        FutureRevisionError,
        CorruptError,
        FullError,
    )
}
"""The exception of each kind."""


def _from_native(kind: str, status: bytes, cause: str, unknown: bool, retryable: bool) -> WindlassError:
    """Called by ``windlass._native`` for each error that it meets."""
    said = json.loads(status)
    error = KINDS.get(kind, InternalError)(said["message"], cause=cause)
    error.code, error.reason = said["code"], said["reason"]
    error.retryable, error.maybe_applied = retryable, unknown
    details = said.get("details", {})
    error.details = details
    causes = details.get("causes", ())
    error.causes = tuple(Cause(c.get("reason", ""), c.get("message", ""), c.get("field", "")) for c in causes)
    return error


def _closed() -> WindlassError:
    return ClosedError("the cluster is closed")


def _forked() -> WindlassError:
    message = (
        "a cluster cannot be used in a forked child of its process: create the cluster in the child, "
        "or start children by multiprocessing's 'spawn' or 'forkserver' method"
    )
    return ForkedError(message)
