"""Every error VOGUE raises on purpose. The tree:

    VogueError
    ├ RequestInvalid 400            MediaUnreadable · ShapeUnsupported · TaskUnsupported · UrlRefused · UrlUnreachable · TagUnresolved
    │                               WireError · LimitExceeded 413 · ReplayMismatch 409
    ├ AccessDenied 403              KeyInvalid 401 · ScopeMissing
    ├ SessionError 404              SessionNotFound · TurnNotFound · JobNotFound · AssetNotFound · ModelNotFound
    │                               TurnConflict 409 · JobCancelled 409 · JobUnfinished 409 · AssetInUse 409 · IdempotencyConflict 409
    │                               DeadlineExceeded 504
    ├ PlanError 422                 PlanUnparseable · PlanInvalid · PlanRejected · ClarificationNeeded · PlanConflict 409
    │                               ThinkingUnavailable 501 · ReviewUnavailable 501
    ├ EngineError 500               WeightsMismatch · EngineNotBuilt · ProfileExceeded 422
    │                               DeviceOutOfMemory 503 retryable · DeviceTooSmall 422 (not retryable)
    └ ServiceError 503 retryable    ServiceTimeout 504 · ServiceOverloaded 429 + Retry-After

A message says what was wrong, with the values, and what to do about it. `body()` is the JSON error object that OpenAI's
clients understand; `error_from_body()` rebuilds the class on the other side of HTTP. Every error survives pickling with all its
fields, because Ray pickles what a replica raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

__all__ = [
    "AccessDenied",
    "AssetInUse",
    "AssetNotFound",
    "ClarificationNeeded",
    "DeadlineExceeded",
    "DeviceOutOfMemory",
    "DeviceTooSmall",
    "EngineError",
    "EngineNotBuilt",
    "IdempotencyConflict",
    "JobCancelled",
    "JobNotFound",
    "JobUnfinished",
    "KeyInvalid",
    "LimitExceeded",
    "MediaUnreadable",
    "ModelNotFound",
    "PlanConflict",
    "PlanError",
    "PlanInvalid",
    "PlanRejected",
    "PlanUnparseable",
    "ProfileExceeded",
    "ReplayMismatch",
    "RequestInvalid",
    "ReviewUnavailable",
    "ScopeMissing",
    "ServiceError",
    "ServiceOverloaded",
    "ServiceTimeout",
    "SessionError",
    "SessionNotFound",
    "ShapeUnsupported",
    "TagUnresolved",
    "TaskUnsupported",
    "ThinkingUnavailable",
    "TurnConflict",
    "TurnNotFound",
    "UrlRefused",
    "UrlUnreachable",
    "VogueError",
    "WeightsMismatch",
    "WireError",
    "error_from_body",
]


class VogueError(Exception):
    """Base of every error raised on purpose.

    Args:
        message: what was wrong, with the values, and what to do.
        param: the request field at fault, as a dotted path (`visuals.0.upload_id`), or None.
        retry_after_s: seconds after which a retry makes sense, for overloaded services.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.param, self.retry_after_s)

    def body(self) -> dict[str, Any]:
        """The JSON body sent over HTTP: `{"error": {message, type, param, code}}`."""
        kind = "invalid_request_error" if 400 <= self.http_status < 500 else "server_error"
        error: dict[str, Any] = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        if self.retry_after_s is not None:
            error["retry_after_s"] = self.retry_after_s
        return {"error": error}


def _rebuild(cls: type[VogueError], message: str, param: str | None, retry_after_s: float | None) -> VogueError:
    return cls(message, param=param, retry_after_s=retry_after_s)


class RequestInvalid(VogueError):
    """The request contradicts its contract; sending it again unchanged cannot help."""

    code = "request_invalid"
    http_status = 400


class MediaUnreadable(RequestInvalid):
    """A file is corrupt, truncated, empty, mislabelled, or holds no picture."""

    code = "media_unreadable"


class ShapeUnsupported(RequestInvalid):
    """A height, width or frame count that the preset cannot make."""

    code = "shape_unsupported"


class TaskUnsupported(RequestInvalid):
    """A task that the preset does not know, or inputs that fit no task."""

    code = "task_unsupported"


class UrlRefused(RequestInvalid):
    """A URL that the server does not call: it calls none, or none of that kind, or it leads to an address that is not public."""

    code = "url_refused"


class UrlUnreachable(RequestInvalid):
    """A URL that the server called in vain: nobody answered in time, or with something other than a file."""

    code = "url_unreachable"


class LimitExceeded(RequestInvalid):
    """An input is larger or longer than the preset allows."""

    code = "limit_exceeded"
    http_status = 413


class TagUnresolved(RequestInvalid):
    """An instruction speaks of a tag that the session does not have, or it is not clear which one is to be edited."""

    code = "tag_unresolved"


class ReplayMismatch(RequestInvalid):
    """This server would not make the same pixels again: other weights, another engine or preset, or other inputs."""

    code = "replay_mismatch"
    http_status = 409


class AccessDenied(VogueError):
    """Whoever asks may not. What belongs to another key is not refused, but not found."""

    code = "access_denied"
    http_status = 403


class KeyInvalid(AccessDenied):
    """The request comes without an API key, or with one that is unknown, revoked or expired. The code is OpenAI's."""

    code = "invalid_api_key"
    http_status = 401


class ScopeMissing(AccessDenied):
    """The API key is not allowed to do this."""

    code = "scope_missing"


class SessionError(VogueError):
    """Something the request refers to is not in the store, or is in a state that forbids the call."""

    code = "not_found"
    http_status = 404


class SessionNotFound(SessionError):
    """No session has this id."""

    code = "session_not_found"


class TurnNotFound(SessionError):
    """The session has no turn of this number."""

    code = "turn_not_found"


class JobNotFound(SessionError):
    """No job has this id."""

    code = "job_not_found"


class AssetNotFound(SessionError):
    """No upload or asset has this id."""

    code = "asset_not_found"


class ModelNotFound(SessionError):
    """The server does not serve a model of this name."""

    code = "model_not_found"


class TurnConflict(SessionError):
    """Another turn of the same session got there first."""

    code = "turn_conflict"
    http_status = 409


class JobCancelled(SessionError):
    """The job was cancelled before it finished."""

    code = "cancelled"
    http_status = 409


class DeadlineExceeded(SessionError):
    """The job was not over by the deadline that its request set; it can be resumed, with as much time again."""

    code = "deadline_exceeded"
    http_status = 504


class JobUnfinished(SessionError):
    """The call makes sense only once the job is over."""

    code = "job_unfinished"
    http_status = 409


class AssetInUse(SessionError):
    """An unfinished job reads the file, so it cannot go yet."""

    code = "asset_in_use"
    http_status = 409


class IdempotencyConflict(SessionError):
    """The idempotency key was used before, with another request."""

    code = "idempotency_conflict"
    http_status = 409


class PlanError(VogueError):
    """Thinking mode could not produce a plan that can be carried out."""

    code = "plan_error"
    http_status = 422


class PlanUnparseable(PlanError):
    """The model's plan does not match the plan schema."""

    code = "plan_unparseable"


class PlanInvalid(PlanError):
    """An edited plan cannot be carried out with the inputs and limits at hand."""

    code = "plan_invalid"


class PlanRejected(PlanError):
    """The plan was refused by the user."""

    code = "plan_rejected"


class ClarificationNeeded(PlanError):
    """The model asks back: the request cannot be met as it is. The message ends with its question."""

    code = "clarification_needed"


class PlanConflict(PlanError):
    """No plan of this job waits for a decision: there is none, or it was decided before."""

    code = "plan_conflict"
    http_status = 409


class ThinkingUnavailable(PlanError):
    """The preset's weights cannot write plans."""

    code = "thinking_unavailable"
    http_status = 501


class ReviewUnavailable(PlanError):
    """The preset's weights cannot score results."""

    code = "review_unavailable"
    http_status = 501


class EngineError(VogueError):
    """A network could not be loaded or run."""

    code = "engine_error"


class WeightsMismatch(EngineError):
    """A checkpoint's keys or shapes differ from the model's; the message names them."""

    code = "weights_mismatch"


class EngineNotBuilt(EngineError):
    """A compiled engine is missing, stale, or needs hardware or libraries that are not here."""

    code = "engine_not_built"


class ProfileExceeded(EngineError):
    """A shape outside the compiled engine's profile."""

    code = "profile_exceeded"
    http_status = 422


class DeviceOutOfMemory(EngineError):
    """The device has too little memory for the job."""

    code = "device_out_of_memory"
    http_status = 503
    retryable = True


class DeviceTooSmall(DeviceOutOfMemory):
    """The job can never fit the device, whatever else is at work there."""

    code = "device_too_small"
    http_status = 422
    retryable = False


class ServiceError(VogueError):
    """A service is not there, or failed for a reason of its own."""

    code = "service_unavailable"
    http_status = 503
    retryable = True


class ServiceTimeout(ServiceError):
    """A service did not answer in time."""

    code = "service_timeout"
    http_status = 504


class ServiceOverloaded(ServiceError):
    """Admission refused: the queue is full. `retry_after_s` says when to come back."""

    code = "service_overloaded"
    http_status = 429


class WireError(RequestInvalid):
    """Bytes that are not a well-formed VOGUE message, tensor or artifact."""

    code = "wire_error"


def _tree(cls: type[VogueError]) -> Iterator[type[VogueError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _tree(child)


def error_from_body(body: Mapping[str, Any], http_status: int = 500) -> VogueError:
    """Rebuild the typed error from an HTTP error body.

    An unknown code gives the nearest base class for the status, so an older client still gets a `VogueError`.
    """
    error = body.get("error")
    fields: Mapping[str, Any] = error if isinstance(error, Mapping) else {"message": str(error or body)}
    # Others derive classes too: Ray does, of every error that crosses it, and builds them in its own way.
    by_code = {cls.code: cls for cls in _tree(VogueError) if cls.__module__ == __name__}
    fallback = (
        RequestInvalid if 400 <= http_status < 500 else ServiceError if http_status in (502, 503, 504) else VogueError
    )
    cls = by_code.get(str(fields.get("code")), fallback)
    retry_after = fields.get("retry_after_s")
    param = fields.get("param")
    return cls(
        str(fields.get("message", "unknown error")),
        param=param if isinstance(param, str) else None,
        retry_after_s=float(retry_after) if isinstance(retry_after, int | float) else None,
    )
