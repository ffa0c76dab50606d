"""An OpenAI-shaped face: its requests become ours, our jobs and files become its objects.

`fields`, `references`, `requests`, `wishes`, `translate` and `objects` are pure; `intake` and `waiting` talk to the orchestrator; `videos`,
`images`, `files` and `chat` are the routes. It knows nothing of engines: all it does goes through the `Orchestrator` port.
"""

from __future__ import annotations

from fastapi import FastAPI

from .chat import serve_chat
from .files import serve_files, serve_models
from .images import serve_images
from .intake import Office
from .videos import serve_videos

__all__ = ["COUNTED_HERE", "Office", "serve_openai"]

COUNTED_HERE = ("/v1/chat/", "/v1/files", "/v1/images/", "/v1/videos")
"""Paths whose bodies may be larger than other JSON, and are measured while they are read."""


def serve_openai(app: FastAPI, office: Office) -> None:
    """Add every route."""
    serve_models(app, office)
    serve_files(app, office)
    serve_videos(app, office)
    serve_images(app, office)
    serve_chat(app, office)
