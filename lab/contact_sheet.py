"""Clips as rows of one picture, and side by side in one clip, with a line of text each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Strip", "contact_sheet", "side_by_side"]

Clip = NDArray[np.uint8]

_CELL_PX = 128
_GAP_PX = 6
_LINE_PX = 18
_PAPER = (250, 250, 248)
_INK = (30, 30, 34)
_FONT = ImageFont.load_default(13)


@dataclass(frozen=True, eq=False)
class Strip:
    """A clip uint8 [T, H, W, 3] and the words beside it."""

    title: str
    clip: Clip


def _cell(frame: Clip, cell_px: int) -> Image.Image:
    """A frame in a square cell, its aspect ratio kept; small ones keep their pixels sharp."""
    picture = Image.fromarray(frame)
    scale = cell_px / max(picture.size)
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    cell = Image.new("RGB", (cell_px, cell_px), _PAPER)
    cell.paste(picture.resize(size, how), ((cell_px - size[0]) // 2, (cell_px - size[1]) // 2))
    return cell


def _title(words: str, width_px: int) -> Image.Image:
    lines = wrap(words, max(8, int(width_px / 7)))[:2] or [""]
    image = Image.new("RGB", (width_px, _LINE_PX * len(lines)), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((0, number * _LINE_PX + 1), line, _INK, font=_FONT)
    return image


def contact_sheet(strips: Sequence[Strip], columns: int = 6) -> Clip:
    """One picture uint8 [H, W, 3]: per strip a title, and `columns` frames evenly spaced over the clip."""
    width = columns * (_CELL_PX + _GAP_PX) + _GAP_PX
    titles = [_title(strip.title, width - 2 * _GAP_PX) for strip in strips]
    height = sum(title.height + _CELL_PX + 2 * _GAP_PX for title in titles) + _GAP_PX
    sheet = Image.new("RGB", (width, height), _PAPER)
    top = _GAP_PX
    for strip, title in zip(strips, titles, strict=True):
        sheet.paste(title, (_GAP_PX, top))
        top += title.height
        shown = np.linspace(0, len(strip.clip) - 1, min(columns, len(strip.clip))).round().astype(int)
        for column, index in enumerate(shown):
            sheet.paste(_cell(strip.clip[index], _CELL_PX), (_GAP_PX + column * (_CELL_PX + _GAP_PX), top))
        top += _CELL_PX + 2 * _GAP_PX
    return np.asarray(sheet)


def side_by_side(strips: Sequence[Strip], cell_px: int = 192) -> Clip:
    """One clip uint8 [T, H, W, 3] with all strips playing in a row; those that end first hold their last frame."""
    titles = [_title(strip.title, cell_px) for strip in strips]
    head = max(title.height for title in titles)
    width = len(strips) * (cell_px + _GAP_PX) + _GAP_PX
    frames = []
    for index in range(max(len(strip.clip) for strip in strips)):
        page = Image.new("RGB", (width, head + cell_px + 2 * _GAP_PX), _PAPER)
        for column, (strip, title) in enumerate(zip(strips, titles, strict=True)):
            left = _GAP_PX + column * (cell_px + _GAP_PX)
            page.paste(title, (left, _GAP_PX))
            page.paste(_cell(strip.clip[min(index, len(strip.clip) - 1)], cell_px), (left, head + _GAP_PX))
        frames.append(np.asarray(page))
    return np.stack(frames)
