"""Errors over HTTP: one JSON form for every error, whoever raised it, and its place in the OpenAPI document."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vogue.schemas.errors import (
    KeyInvalid,
    LimitExceeded,
    PlanInvalid,
    RequestInvalid,
    SessionError,
    TaskUnsupported,
    VogueError,
)

__all__ = ["ERROR_RESPONSES", "MAX_JSON_BYTES", "BoundedBody", "answer_errors", "describe_errors", "error_response"]

logger = logging.getLogger(__name__)

MAX_JSON_BYTES = 1024 * 1024

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    for status, what in ((400, "Invalid request"), (404, "Not found"), (413, "Over a limit"), (429, "Queue is full"))
}

_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "retry_after_s": {"type": "number"},
            },
        }
    },
}


def error_response(error: VogueError, http_status: int | None = None) -> JSONResponse:
    """An error as it is answered."""
    # OpenAI's clients try again after every 409 unless they are told.
    headers = {"x-should-retry": "true" if error.retryable else "false"}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    if isinstance(error, KeyInvalid):
        headers["www-authenticate"] = 'Bearer realm="vogue"'
    return JSONResponse(error.body(), status_code=http_status or error.http_status, headers=headers)


def answer_errors(app: FastAPI) -> None:
    """One form for every error, whoever raised it."""

    @app.exception_handler(VogueError)
    async def of_ours(_: Request, error: VogueError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(_validation_error(error))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        kinds: dict[int, type[VogueError]] = {404: SessionError, 413: LimitExceeded}
        kind = kinds.get(error.status_code, RequestInvalid if error.status_code < 500 else VogueError)
        what = f"{request.method} {request.url.path}: {error.detail}; see /openapi.json for what there is"
        response = error_response(kind(what), error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def of_others(_: Request, error: Exception) -> JSONResponse:
        logger.error("a request failed", exc_info=error)
        return error_response(VogueError(f"an internal error: {type(error).__name__}"))


def _validation_error(error: RequestValidationError) -> VogueError:
    """The first fault, with the value where it is short."""
    fault = error.errors()[0]
    loc = fault["loc"][1:] if fault["loc"] and fault["loc"][0] in ("body", "query", "path", "header") else fault["loc"]
    if fault["type"] == "json_invalid":
        reason = fault.get("ctx", {}).get("error", fault["msg"])
        return RequestInvalid(f"the body is not valid JSON: {reason} at character {loc[0] if loc else 0}")
    if isinstance(fault.get("input"), bytes | str) and not loc:
        return RequestInvalid("the body is not read as JSON: send it with the header content-type: application/json")
    where = ".".join(str(part) for part in loc) or None
    given = repr(fault.get("input"))
    shown = f", got {given}" if len(given) <= 80 and fault["type"] != "missing" else ""
    kind = TaskUnsupported if where == "task" else PlanInvalid if f"{where}.".startswith("plan.") else RequestInvalid
    return kind(f"{where or 'request'}: {fault['msg']}{shown}", param=where)


class BoundedBody:
    """Refuses bodies that are larger than any honest JSON request, except where the path's own code counts them."""

    def __init__(self, app: ASGIApp, counted_elsewhere: tuple[str, ...] = ()) -> None:
        self._app = app
        self._counted_elsewhere = counted_elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._counted_elsewhere):
            await self._app(scope, receive, send)
            return
        left = MAX_JSON_BYTES

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"the request body is larger than {MAX_JSON_BYTES} bytes")
            return message

        await self._app(scope, bounded, send)


def describe_errors(app: FastAPI) -> None:
    """Put the error schema where the responses point."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        schema.setdefault("components", {}).setdefault("schemas", {})["Error"] = _ERROR_SCHEMA
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
