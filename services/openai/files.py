"""`/v1/files` and `/v1/models`: uploads and the preset, in OpenAI's shape."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Request, Response

from vogue.schemas.errors import RequestInvalid, VogueError
from vogue.schemas.queries import PageQuery

from ..delivery import deliver
from .intake import Input, Office, read_body, taken_in
from .objects import file_object, model_object, page_object
from .translate import check_model

__all__ = ["serve_files", "serve_models"]

_PURPOSES = ("vision", "user_data")


def serve_files(app: FastAPI, office: Office) -> None:
    """Add the routes of files."""

    @app.post("/v1/files")
    async def create(request: Request) -> dict[str, Any]:
        """Take a picture or clip in, and look at it."""
        body = await read_body(request, office, ("file",))
        if len(body.files) != 1:
            raise RequestInvalid(f"send one file in the field `file`; {len(body.files)} came", param="file")
        purpose = body.values.pop("purpose", "vision")
        if purpose not in _PURPOSES:
            raise RequestInvalid(
                f"purpose is {str(purpose)[:40]!r}; files are pictures and clips, for vision or user_data",
                param="purpose",
            )
        if body.values:
            unknown = sorted(body.values)[0]
            raise RequestInvalid(f"{unknown} is not supported for files; leave it out", param=unknown)
        async with taken_in(request, office, [Input("file", body.files[0])]) as (given,):
            return await described(given.asset.id)
        raise VogueError("the request ended before its file was there")

    async def described(file_id: str) -> dict[str, Any]:
        return file_object(await office.orchestrator.asset(file_id), office.retention_s)

    @app.get("/v1/files")
    async def files(
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        order: Literal["asc", "desc"] = "desc",
        purpose: str | None = None,
    ) -> dict[str, Any]:
        """Uploads by age, at most 999 of them at once. Results of jobs belong to their video or picture and are not listed."""
        shown = min(limit, 999)
        query = PageQuery(limit=shown + 1, after=after, ascending=order == "asc")
        found = await office.orchestrator.file_page(query) if purpose in (None, *_PURPOSES) else []
        return page_object([file_object(one, office.retention_s) for one in found], shown)

    @app.get("/v1/files/{file_id}")
    async def file(file_id: str) -> dict[str, Any]:
        """What an upload or a result is."""
        return await described(file_id)

    @app.delete("/v1/files/{file_id}")
    async def delete(file_id: str) -> dict[str, Any]:
        """Forget a file, unless a job at work reads it."""
        await office.orchestrator.delete_asset(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    @app.get("/v1/files/{file_id}/content")
    async def content(file_id: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """The bytes of an upload or a result."""
        stored = await office.orchestrator.asset(file_id)
        return deliver(office.blobs, stored.artifact, file_id, stored.asset.filename, if_none_match)


def serve_models(app: FastAPI, office: Office) -> None:
    """Add the routes of models."""

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The preset that is served, its limits and its defaults."""
        return {"object": "list", "data": [model_object(office.preset)]}

    @app.get("/v1/models/{model}")
    async def model(model: str) -> dict[str, Any]:
        """The same, by its name."""
        check_model(model, office.preset)
        return model_object(office.preset)
