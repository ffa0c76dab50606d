"""Small pictures of what is on its way, made beside the stepping: nothing waits for them."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from vogue.schemas.references import TensorRef
from vogue.schemas.requests import JobSpec
from vogue.schemas.stages import DenoiseEvent, PreviewRequest

from .state import Flow

__all__ = ["Previews", "preview_size"]

logger = logging.getLogger(__name__)

_MOST_PX = 192
"""Longest side of a preview."""


def preview_size(height_px: int, width_px: int) -> tuple[int, int]:
    """Height and width of a preview: those of the result, or its shape within a small square."""
    scale = min(1.0, _MOST_PX / max(height_px, width_px))
    return max(1, round(height_px * scale)), max(1, round(width_px * scale))


class Previews:
    """The previews of one denoising: one at a time, and what comes while it is being made is left out."""

    def __init__(self, spec: JobSpec, flow: Flow) -> None:
        self._size = preview_size(spec.height_px, spec.width_px)
        self._flow = flow
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The result is there, or nobody wants it: a late preview is of no use."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def show(self, event: DenoiseEvent, before: int) -> None:
        """Begin to make a preview of the event's latents, after so many steps of earlier trials."""
        if event.latents is not None and (self._task is None or self._task.done()):
            work = self._make(event.latents, before + event.steps_done)
            self._task = asyncio.create_task(work, name=f"preview {event.job_id}")

    async def _make(self, latents: TensorRef, steps_done: int) -> None:
        height_px, width_px = self._size
        try:
            request = PreviewRequest(latents=latents, height_px=height_px, width_px=width_px)
            picture = await self._flow.ports.codec.preview(request)
            await self._flow.journal.preview(picture, height_px, width_px, steps_done)
        except Exception as error:
            # Nobody's result hangs on it.
            logger.warning("a preview failed: %s", error)
