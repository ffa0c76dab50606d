"""Which creatures of some line-ups are in a clip: identity, judged as a witness would."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .analyse import likeliest, look_at, read_backdrop, total_misfit
from .background import draw_background
from .fit import Window, creature_looks
from .path import read_motion
from .segment import Track, find_tracks

_WITNESSES: Final = 2
_MOST_TRACKS: Final = 5
_NOBODY: Final = 1e6


def tell_creatures(
    clip: NDArray[np.uint8],
    line_ups: Sequence[Sequence[int]],
    near: tuple[float, float] | None = None,
    reach_px: float = 10.0,
) -> list[int | None]:
    """For each line-up the creature of it that the clip shows, or None where nothing is left to be it.

    With `near` (x, y in the first frame) only what is seen there counts. Otherwise what is seen is shared out among the
    line-ups so that all fit best; each is then told by all of its own line-up.
    """
    background, style, backdrop = read_backdrop(clip)
    tracks = find_tracks(clip, backdrop, style, by_color=False)
    if near is not None:
        tracks = [track for track in tracks if _distance(track, near) <= reach_px]
        tracks = sorted(tracks, key=lambda track: _distance(track, near))[:1]
    tracks = sorted(tracks, key=lambda track: -len(track.blobs))[:_MOST_TRACKS]
    empty = draw_background(background, clip.shape[1])
    windows = [look_at(track, read_motion(track, len(clip)), clip, empty, style) for track in tracks]
    return [
        None if window is None else likeliest(creature_looks(window, line_up)).creature
        for window, line_up in zip(_share_out(windows, line_ups), line_ups, strict=True)
    ]


def _share_out(windows: list[Window], line_ups: Sequence[Sequence[int]]) -> list[Window | None]:
    """One window for each line-up, each at most once."""
    count = len(line_ups)
    if len(windows) <= 1 and count == 1:
        return [windows[0] if windows else None]
    misfits = np.full((count, len(windows) + count), _NOBODY)
    for number, line_up in enumerate(line_ups):
        for at, window in enumerate(windows):
            few = window.thinned(_WITNESSES)
            misfits[number, at] = min(total_misfit(look) for look in creature_looks(few, line_up[:_WITNESSES]))
    orders = permutations(range(len(windows) + count), count)
    best = min(orders, key=lambda order: sum(misfits[number, at] for number, at in enumerate(order)))
    return [windows[at] if at < len(windows) else None for at in best]


def _distance(track: Track, place: tuple[float, float]) -> float:
    return float(np.hypot(track.blobs[0].x - place[0], track.blobs[0].y - place[1]))
