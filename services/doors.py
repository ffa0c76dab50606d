"""Interfaces that other rooms add to the gateway, found by entry point, so that no service imports them.

An entry point of the group `vogue.doors`, `name = "module:open_door"`, answers the path `/name`. `open_door(app, hosts, origins)`
gets the gateway's own application, through which it reaches everything else, and the host names and the origins of web pages to accept
beside this machine's own; it answers an ASGI application.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from vogue.schemas.errors import VogueError

__all__ = ["DOORS_GROUP", "add_doors"]

DOORS_GROUP = "vogue.doors"


def add_doors(app: FastAPI, hosts: Sequence[str], origins: Sequence[str] = ()) -> None:
    """Put every installed door at its path."""
    for point in entry_points(group=DOORS_GROUP):
        app.router.routes.append(Route(f"/{point.name}", endpoint=_Door(point, app, hosts, origins)))


class _Door:
    """A door that is loaded when somebody first knocks: it may bring libraries that nobody else needs."""

    def __init__(self, point: EntryPoint, app: ASGIApp, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self._point = point
        self._app = app
        self._hosts, self._origins = tuple(hosts), tuple(origins)
        self._opened: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._opened is None:
            try:
                self._opened = self._point.load()(self._app, self._hosts, self._origins)
            except ImportError as error:
                extras = ",".join(self._point.extras)
                raise VogueError(
                    f"/{self._point.name} needs {error.name or error}: pip install 'vogue-video[{extras}]'"
                ) from error
        await self._opened(scope, receive, send)
