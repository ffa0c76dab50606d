"""OpenAI's ways of writing values: sizes as `WxH`, seconds as text, and nested values as bracketed form fields."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil
from typing import Any

from vogue.graph.shapes import fitting_size
from vogue.schemas.config import Preset
from vogue.schemas.errors import RequestInvalid, ShapeUnsupported

__all__ = ["frames_of", "nest", "parse_size", "seconds_of", "size_of"]

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_MAX_DEPTH = 3


def parse_size(text: str | None, preset: Preset) -> tuple[int, int] | None:
    """`WIDTHxHEIGHT` as (height, width) in pixels; None where the server shall choose (`auto`, or nothing).

    Raises:
        RequestInvalid: another form.
        ShapeUnsupported: a size that the preset cannot make; the message names the nearest one that it can.
    """
    if text is None or text == "auto":
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise RequestInvalid(f"size is {text[:40]!r}; write it as WIDTHxHEIGHT in pixels, or auto", param="size")
    width, height = int(match[1]), int(match[2])
    nearest = fitting_size(height, width, preset.limits)
    if nearest != (height, width):
        limits = preset.limits
        raise ShapeUnsupported(
            f"size is {text}; the preset {preset.name} makes sides that are multiples of {limits.side_multiple_px} from"
            f" {limits.min_side_px} to {limits.max_side_px}, {limits.max_area_px} pixels at most;"
            f" the nearest is {size_of(*nearest)}",
            param="size",
        )
    return height, width


def size_of(height_px: int, width_px: int) -> str:
    """A size as OpenAI writes it."""
    return f"{width_px}x{height_px}"


def frames_of(seconds: str | float, preset: Preset) -> int:
    """How many frames last at least so long: 4k + 1, of which the first marks the start and lasts no time itself.

    Raises:
        RequestInvalid: not a number above 0.
        ShapeUnsupported: longer than one pass makes.
    """
    try:
        wanted = Decimal(str(seconds))
    except InvalidOperation:
        wanted = Decimal(0)
    if not wanted.is_finite() or wanted <= 0:
        raise RequestInvalid(f"seconds is {str(seconds)[:40]!r}; send a number above 0, such as '2'", param="seconds")
    fps, most = Fraction(preset.fps), preset.limits.max_frames
    # Beyond this the number itself would be the trouble: 1e999999999 is short to write.
    groups = ceil(Fraction(wanted) * fps / 4) if wanted < 1_000_000 else most
    if 4 * groups + 1 > most:
        raise ShapeUnsupported(
            f"seconds is {str(seconds)[:40]}; the preset {preset.name} makes clips of at most {seconds_of(most, preset.fps)} s"
            f" ({most} frames at {preset.fps:g} per second), which is the nearest",
            param="seconds",
        )
    return 4 * groups + 1


def seconds_of(num_frames: int, fps: float) -> str:
    """The time between the first frame and the last, in seconds."""
    return f"{(num_frames - 1) / fps:.6g}"


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Form fields as the values they stand for: `a[b]` is a member of an object, `a[]` an element of a list.

    Raises:
        RequestInvalid: a name that is none of these, or two that contradict each other.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        if match is None:
            raise RequestInvalid(f"the form has a field of the name {name[:80]!r}", param=name[:80] or None)
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        if len(path) > _MAX_DEPTH or "" in path[:-1]:
            raise RequestInvalid(
                f"the field {name[:80]!r} is nested too deeply for a form: send JSON in the field {path[0][:40]!r}",
                param=path[0][:80],
            )
        _put(found, path, value, name)
    return found


def _put(found: dict[str, Any], path: list[str], value: str, name: str) -> None:
    *parents, last = path
    place: Any = found
    if last == "":
        *parents, last = parents
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise _contradiction(name)
    if path[-1] == "":
        place = place.setdefault(last, [])
        if not isinstance(place, list):
            raise _contradiction(name)
        place.append(value)
    elif last in place:
        raise _contradiction(name)
    else:
        place[last] = value


def _contradiction(name: str) -> RequestInvalid:
    return RequestInvalid(f"the field {name[:80]!r} is given twice, or as two kinds of value", param=name[:80])
