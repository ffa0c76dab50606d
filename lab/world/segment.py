"""From pixels to moving blobs: which background, which pixels stand out, what they are the colour of, where they go.

Nothing here sees a scene description. Colours are compared with the palette as the style shows it, and a material's ink
is a darker shade of the same colour, so each colour is a line in RGB and not a point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .background import draw_background
from .edits import widen
from .render import INK_SHADE
from .scene import BACKGROUNDS, CLIP_FRAMES, COLORS, SCREENS, STYLES
from .style import TILE_PX, apply_style

Clip = NDArray[np.uint8]
Mask = NDArray[np.bool_]
UNKNOWN: Final = "unknown"
COLORLESS_STYLES: Final = ("sepia", "blueprint")
_CLEAN_STYLES: Final = ("none", "night")

_OUTLIER: Final = 48.0
_CONTRAST_SHARE: Final = 0.45
_CONTRAST: Final = (14.0, 36.0)
_MIN_BLOB_PX: Final = 12
_MIN_TRACK_PX: Final = 36
# A soft edge or a codec's halo has hardly an inside.
_MIN_CORE_PX: Final = 8
_MIN_CORE_SHARE: Final = 0.3
_GATE_PX: Final = 13.0
_MIN_LIFE: Final = 0.6
_INK_LUMA: Final = 140


@dataclass(frozen=True, slots=True)
class Blob:
    """A connected patch of one colour in one frame; places in pixels."""

    frame: int
    color: str
    mask: Mask  # [H, W]
    area: int
    x: float
    y: float


@dataclass(slots=True)
class Track:
    """One blob through time, frames ascending, at most one a frame."""

    blobs: list[Blob] = field(default_factory=list)

    @property
    def color(self) -> str:
        """The palette colour it was found by, or "unknown" where subjects were not told apart by colour."""
        return self.blobs[0].color


def find_backdrop(clip: Clip) -> tuple[str, str, Clip]:
    """Name of the background, name of the style and the empty picture [H, W, 3] that fit a clip best.

    On a flat colour tiles show on the subjects only: there "none" may as well be "mosaic".
    """
    names, pictures = _backdrops(clip.shape[1])
    still = np.median(clip, axis=0).astype(np.float32)
    misfit = np.minimum(np.abs(pictures - still), _OUTLIER).mean(axis=(1, 2, 3))
    best = int(misfit.argmin())
    return *names[best], pictures[best].astype(np.uint8)


def find_tracks(clip: Clip, backdrop: Clip, style: str, *, by_color: bool = True) -> list[Track]:
    """Everything that stands out from the backdrop for most of the clip, one track a subject.

    `by_color` splits subjects that touch by their palette colours; it must be off where one subject has several.
    """
    step = np.abs(clip.astype(np.int16) - backdrop.astype(np.int16)).max(axis=-1)  # [T, H, W]
    mask = step > _threshold(backdrop, style)
    blobs = _blobs(clip, mask, style, by_color and style in _CLEAN_STYLES)
    tracks: list[Track] = []
    gate = _GATE_PX * max(1.0, (CLIP_FRAMES - 1) / max(1, len(clip) - 1))
    for frame in range(len(clip)):
        _extend(tracks, [blob for blob in blobs if blob.frame == frame], gate)
    long_enough = max(1, round(_MIN_LIFE * len(clip)))
    return [
        track
        for track in tracks
        if len(track.blobs) >= long_enough and np.mean([blob.area for blob in track.blobs]) >= _MIN_TRACK_PX
    ]


def close(mask: Mask) -> Mask:
    """Fill gaps of up to three pixels in a mask [T, H, W], as the ink of a material leaves on a like background."""
    wide = np.pad(mask, ((0, 0), (2, 2), (2, 2)))
    return ~widen(~widen(wide, 2), 2)[:, 2:-2, 2:-2]


@lru_cache(maxsize=16)
def palette(style: str) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.float32]]:
    """Colour names and, as the style shows them, the darkest and the full colour of each: two arrays [8, 3]."""
    full = np.array(list(COLORS.values()), np.float32)
    ends = np.stack([full * INK_SHADE, full])  # [2, 8, 3]
    # A style may look at neighbours: show it patches wide enough to have an inside.
    patches = np.broadcast_to(ends.reshape(16, 1, 1, 3), (16, 8, 8, 3)).astype(np.uint8)
    shown = apply_style(patches, style)[:, 4, 4].astype(np.float32).reshape(2, 8, 3)
    return tuple(COLORS), shown[0], shown[1]


def color_distance(pixels: NDArray[np.float32], style: str) -> NDArray[np.float32]:
    """Distance of pixels [N, 3] to each palette colour's line from ink to full: [N, 8]."""
    _, dark, full = palette(style)
    run = full - dark
    along = np.einsum("nkc,kc->nk", pixels[:, None] - dark, run) / np.maximum((run**2).sum(axis=-1), 1.0)
    nearest = dark + np.clip(along, 0, 1)[..., None] * run
    distance: NDArray[np.float32] = np.sqrt(((pixels[:, None] - nearest) ** 2).sum(axis=-1))
    return distance


@lru_cache(maxsize=4)
def _backdrops(size: int) -> tuple[list[tuple[str, str]], NDArray[np.float32]]:
    names = [(background, style) for style in STYLES for background in (*BACKGROUNDS, *SCREENS)]
    drawn = [apply_style(draw_background(background, size)[None], style)[0] for background, style in names]
    return names, np.stack(drawn).astype(np.float32)


def _threshold(backdrop: Clip, style: str) -> float:
    """How far a pixel must be from the backdrop: a share of the weakest contrast any colour has with it."""
    full = palette(style)[2]
    typical = np.median(backdrop.reshape(-1, 3), axis=0)
    weakest = np.abs(full - typical).max(axis=-1).min()
    return float(np.clip(_CONTRAST_SHARE * weakest, *_CONTRAST))


def tiling(clip: Clip, backdrop: Clip) -> float | None:
    """How much less flat subjects are within the mosaic's tiles than within tiles laid half a tile off; None without subjects.

    About 0 on true mosaics and 1 elsewhere; a codec moves them to 0.15–0.5 and 0.3–1.1.
    """
    away = np.abs(clip.astype(np.float32) - backdrop).mean(axis=-1)  # [T, H, W]
    subject = widen(away > _CONTRAST[1], 2)
    if not subject.any():
        return None
    half = TILE_PX // 2
    shifted = np.roll(clip, (half, half), axis=(1, 2))
    on_grid = np.abs(clip.astype(np.float32) - apply_style(clip, "mosaic")).mean(axis=-1)
    off_grid = np.abs(shifted.astype(np.float32) - apply_style(shifted, "mosaic")).mean(axis=-1)
    off_grid = np.roll(off_grid, (-half, -half), axis=(1, 2))
    return float(on_grid[subject].mean()) / max(float(off_grid[subject].mean()), 1e-6)


def _blobs(clip: Clip, mask: Mask, style: str, by_color: bool) -> list[Blob]:
    """The connected patches of all frames; where differently coloured subjects touch, one for each colour."""
    patches = [(frame, patch) for frame, layer in enumerate(close(mask)) for patch in connected(layer)]
    patches = [(frame, patch) for frame, patch in patches if patch.sum() >= _MIN_BLOB_PX]
    if not by_color:
        return [_blob(frame, UNKNOWN, patch) for frame, patch in patches]
    names = palette(style)[0]
    distance = np.full((*mask.shape, len(names)), np.inf, np.float32)
    distance[mask] = color_distance(clip[mask].astype(np.float32), style)
    kind = np.where(mask, distance.argmin(axis=-1), -1)  # [T, H, W]
    cores = np.stack([~widen(kind != index, 1) for index in range(len(names))], axis=-1)  # [T, H, W, 8]
    found = []
    for frame, patch in patches:
        # Soft edges mix colours, so only colours with an inside count; small subjects may have none.
        inside = cores[frame][patch].sum(axis=0)
        area = np.bincount(kind[frame][patch & mask[frame]], minlength=len(names))
        solid = inside >= np.maximum(_MIN_CORE_PX, _MIN_CORE_SHARE * area)
        present = [index for index in range(len(names)) if solid[index]]
        if len(present) < 2:
            votes = inside if inside.any() else area
            found.append(_blob(frame, names[int(votes.argmax())], patch))
            continue
        nearest = np.array(present)[distance[frame][:, :, present].argmin(axis=-1)]
        for index in present:
            part = close((patch & mask[frame] & (nearest == index))[None])[0]
            found += [_blob(frame, names[index], piece) for piece in connected(part) if piece.sum() >= _MIN_BLOB_PX]
    return found


def _blob(frame: int, color: str, mask: Mask) -> Blob:
    rows, columns = np.nonzero(mask)
    return Blob(frame, color, mask, len(rows), float(columns.mean()) + 0.5, float(rows.mean()) + 0.5)


def connected(mask: Mask) -> list[Mask]:
    """The connected patches of a mask [H, W], diagonal steps included."""
    edge = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.nonzero(edge == 1), np.nonzero(edge == -1)
    runs = [(int(row), int(a), int(b)) for row, a, b in zip(starts[0], starts[1], ends[1], strict=True)]
    parent = list(range(len(runs)))

    def root(run: int) -> int:
        while parent[run] != run:
            run = parent[run]
        return run

    above = 0
    for here, (row, a, b) in enumerate(runs):
        while runs[above][0] < row - 1:
            above += 1
        other = above
        while other < here and runs[other][0] < row:
            if runs[other][0] == row - 1 and runs[other][1] <= b and a <= runs[other][2]:
                parent[root(other)] = root(here)
            other += 1
    patches: dict[int, Mask] = {}
    for run, (row, a, b) in enumerate(runs):
        patches.setdefault(root(run), np.zeros(mask.shape, np.bool_))[row, a:b] = True
    return list(patches.values())


def main_color(clip: Clip, track: Track, style: str) -> str:
    """The palette colour most of a track's pixels are shades of."""
    pixels = np.concatenate([clip[blob.frame][blob.mask] for blob in track.blobs]).astype(np.float32)
    if style == "outline":
        # The drawn line has no colour of its own.
        inside = pixels[pixels.max(axis=1) > _INK_LUMA]
        pixels = inside if len(inside) else pixels
    votes = np.bincount(color_distance(pixels, style).argmin(axis=1), minlength=len(COLORS))
    return palette(style)[0][int(votes.argmax())]


def _extend(tracks: list[Track], blobs: list[Blob], gate: float) -> None:
    """Give each track the nearest blob of its colour, nearest pairs first; blobs left over begin tracks of their own."""
    pairs = sorted(
        (float(np.hypot(track.blobs[-1].x - blob.x, track.blobs[-1].y - blob.y)), at, index)
        for at, track in enumerate(tracks)
        for index, blob in enumerate(blobs)
        if track.color == blob.color
    )
    taken_tracks: set[int] = set()
    taken: set[int] = set()
    for distance, at, index in pairs:
        if distance <= gate and at not in taken_tracks and index not in taken:
            tracks[at].blobs.append(blobs[index])
            taken_tracks.add(at)
            taken.add(index)
    tracks.extend(Track([blob]) for index, blob in enumerate(blobs) if index not in taken)
