"""What a user may hand in as media, and how a call's arguments become a `GenerationRequest`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.config import Role, Task, Tier
from vogue.schemas.errors import MediaUnreadable
from vogue.schemas.jobs import Asset
from vogue.schemas.requests import GenerationRequest, SelfReview, Thinking
from vogue.schemas.wire import validate

from .exchange import FileOpener
from .pixels import Clip, Picture, encode_pixels

__all__ = ["Media", "Settings", "build_request", "open_media"]


class Settings(TypedDict, total=False):
    """The optional fields of a request; see `vogue.schemas.requests.GenerationRequest`."""

    task: Task | str | None
    negative_prompt: str | None
    height_px: int | None
    width_px: int | None
    num_frames: int | None
    steps: int | None
    guidance: float | None
    image_guidance: float | None
    seed: int | None
    tier: Tier | str | None
    thinking: Thinking | str | None
    preview_every_steps: int
    self_review: SelfReview | Mapping[str, int] | None
    temperature: float | None
    max_new_tokens: int | None
    deadline_s: float | None
    webhook_url: str | None


class _Held(Protocol):
    """A handle of an asset that the server holds already."""

    @property
    def asset(self) -> Asset: ...


Pixels = NDArray[Any] | Clip | Picture
"""An array, uint8 RGB [H, W, 3] or [T, H, W, 3]; frames with their rate; or a PIL image."""

Media = str | os.PathLike[str] | bytes | Pixels | Asset | _Held
"""A path, a file's bytes, pixels, or something the server holds already."""


def open_media(media: str | os.PathLike[str] | bytes | Pixels, name: str | None = None) -> FileOpener:
    """A path, bytes or pixels, ready to be sent as often as it takes.

    Raises:
        MediaUnreadable: no such file, not a file, or nothing in it.
    """
    if isinstance(media, np.ndarray | Clip | Picture):
        made, content = encode_pixels(media)
        return lambda: nullcontext((name or made, BytesIO(content)))
    if isinstance(media, bytes):
        if not media:
            raise MediaUnreadable("the given bytes are empty: hand in the content of a picture or clip")
        return lambda: nullcontext((name or "upload", BytesIO(media)))
    path = Path(media)
    try:
        if not path.is_file():
            raise MediaUnreadable(f"{path} is not a file: give the path of a picture or clip")
        if path.stat().st_size == 0:
            raise MediaUnreadable(f"{path} is empty (0 bytes): give a picture or clip")
        with path.open("rb"):
            pass
    except OSError as error:
        raise MediaUnreadable(f"cannot read {path}: {error.strerror}") from error

    @contextmanager
    def opened() -> Iterator[tuple[str, IO[bytes]]]:
        with path.open("rb") as file:
            yield name or path.name, file

    return opened


async def build_request(
    instruction: str,
    upload: Callable[[Media], Awaitable[Asset]],
    *,
    source: Media | None = None,
    first_frame: Media | None = None,
    references: Sequence[Media] = (),
    visual_prompts: Sequence[Media] = (),
    inputs: Sequence[Media] = (),
    settings: Mapping[str, Any],
) -> GenerationRequest:
    """Check the settings, upload what is not there yet, and name each input by its tag.

    Inputs come in the release's order: references, then the first frame or source; what has no role yet is between them, and visual
    prompts are last. Each kind counts from 1: `image1`, `video1`.

    Raises:
        RequestInvalid: a setting contradicts the contract; found before anything is uploaded.
    """
    fields = {"instruction": instruction, **{name: value for name, value in settings.items() if value is not None}}
    validate(GenerationRequest, fields)
    given: list[tuple[Role | None, Media]] = [(Role.REFERENCE, media) for media in references]
    given += [(None, media) for media in inputs]
    given += [(Role.FIRST_FRAME, first_frame)] if first_frame is not None else []
    given += [(Role.SOURCE, source)] if source is not None else []
    given += [(Role.VISUAL_PROMPT, media) for media in visual_prompts]
    counts: dict[str, int] = {}
    visuals = []
    for role, media in given:
        asset = await upload(media)
        counts[asset.kind] = counts.get(asset.kind, 0) + 1
        visuals.append({"tag": f"{asset.kind}{counts[asset.kind]}", "role": role, "upload_id": asset.id})
    return validate(GenerationRequest, {**fields, "visuals": visuals})
