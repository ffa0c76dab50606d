"""Contact sheets: what was asked, what was given, what was made, side by side in one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Clip = NDArray[np.uint8]

_PAGE: Final = (250, 250, 248)
_TEXT: Final = (34, 34, 40)
_FAINT: Final = (120, 120, 128)
_GOOD: Final = (28, 128, 62)
_BAD: Final = (190, 48, 44)
_GAP_PX: Final = 2
_MARGIN_PX: Final = 10
_LINE_PX: Final = 15
_FONT_PX: Final = 12
_LABEL_PX: Final = 48
_MIN_CELL_PX: Final = 240
_PAGE_WIDTH_PX: Final = 1240


@dataclass(frozen=True, slots=True)
class Entry:
    """One case on a sheet: its sentence, labelled clips, and whether it came out right (None: not judged)."""

    prompt: str
    strips: tuple[tuple[str, Clip], ...]
    good: bool | None = None


def contact_sheet(title: str, entries: Sequence[Entry], *, frames: int = 4, zoom: int = 2) -> Image.Image:
    """Draw entries in a grid; of each clip `frames` frames are shown, evenly spaced, of a picture one.

    Raises ValueError without an entry.
    """
    if not entries:
        raise ValueError("a contact sheet needs at least one entry")
    cells = [_cell(entry, frames, zoom) for entry in entries]
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    columns = max(1, min(len(cells), _PAGE_WIDTH_PX // (width + _MARGIN_PX)))
    rows = -(-len(cells) // columns)
    head = _LINE_PX + _MARGIN_PX
    page = Image.new(
        "RGB",
        (columns * (width + _MARGIN_PX) + _MARGIN_PX, head + rows * (height + _MARGIN_PX) + _MARGIN_PX),
        _PAGE,
    )
    ImageDraw.Draw(page).text((_MARGIN_PX, _MARGIN_PX // 2), title, fill=_TEXT, font=_font(_FONT_PX + 2))
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        page.paste(cell, (_MARGIN_PX + column * (width + _MARGIN_PX), head + row * (height + _MARGIN_PX)))
    return page


def stack(pages: Sequence[Image.Image]) -> Image.Image:
    """Pages below each other on one picture."""
    sheet = Image.new("RGB", (max(page.width for page in pages), sum(page.height for page in pages)), _PAGE)
    top = 0
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height
    return sheet


def write_sheet(page: Image.Image, path: Path) -> None:
    """Save a sheet as PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, format="PNG", optimize=True)


def _cell(entry: Entry, frames: int, zoom: int) -> Image.Image:
    strips = [(label, _strip(clip, frames, zoom)) for label, clip in entry.strips]
    # Pictures stand beside each other, clips below each other so that their frames can be compared.
    pictures = [strip for strip, (_, clip) in zip(strips, entry.strips, strict=True) if len(clip) == 1]
    clips = [strip for strip, (_, clip) in zip(strips, entry.strips, strict=True) if len(clip) > 1]
    rows = [row for row in (pictures, *([strip] for strip in clips)) if row]
    width = max(sum(_LABEL_PX + strip.width + _GAP_PX for _, strip in row) for row in rows)
    heights = [max(strip.height for _, strip in row) + _GAP_PX for row in rows]
    lines = _wrap(entry.prompt, max(width, _MIN_CELL_PX))
    top = _LINE_PX * len(lines)
    cell = Image.new("RGB", (max(width, _MIN_CELL_PX), top + sum(heights)), _PAGE)
    draw = ImageDraw.Draw(cell)
    ink = _TEXT if entry.good is None else _GOOD if entry.good else _BAD
    for number, line in enumerate(lines):
        draw.text((0, number * _LINE_PX), line, fill=ink, font=_font(_FONT_PX))
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for label, strip in row:
            draw.text((left, top + strip.height // 2 - _LINE_PX // 2), label, fill=_FAINT, font=_font(_FONT_PX))
            cell.paste(strip, (left + _LABEL_PX, top))
            left += _LABEL_PX + strip.width + _GAP_PX
        top += height
    return cell


def _wrap(text: str, width: int) -> list[str]:
    font, lines = _font(_FONT_PX), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if text else []


def _strip(clip: Clip, frames: int, zoom: int) -> Image.Image:
    chosen = np.linspace(0, len(clip) - 1, min(frames, len(clip))).round().astype(int)
    gap = np.full((clip.shape[1], _GAP_PX, 3), _PAGE, np.uint8)
    pieces = [piece for at in chosen for piece in (clip[at], gap)][:-1]
    strip = Image.fromarray(np.concatenate(pieces, axis=1))
    return strip.resize((strip.width * zoom, strip.height * zoom), Image.Resampling.NEAREST)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
