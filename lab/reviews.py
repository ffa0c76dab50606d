"""What a review of a result should say, by exact oracles: labels for the MLLM that judges its own work.

`judge` scores anything that was made for a case; `spoil` makes results that are wrong in one known way, so that all scores
are seen in training before a generator is there to make its own mistakes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.plan import Review

from .scoring import psnr, score_case
from .world.cases import Case
from .world.edits import apply_edit, sample_edit
from .world.render import render
from .world.scene import Scene, Subject

__all__ = ["SPOILINGS", "judge", "spoil"]

Clip = NDArray[np.uint8]
SPOILINGS: Final = ("exact", "undone", "worn", "overdone", "other")
# From what hurts the eye to what a good codec leaves.
_WORST_DB, _BEST_DB = 14.0, 28.0
_ASKED: Final = ("done", "colour", "shape", "motion", "background", "count", "relation", "identity")


def judge(case: Case, made: Clip) -> Review:
    """Scores of a result, 0 to 10: quality, the share of what was asked, and how little else was changed."""
    scores = score_case(case, made)
    asked = [value for name in _ASKED for value in scores.get(name, ())]
    quality_db = scores["quality dB"][0]
    if math.isnan(quality_db):
        quality_db = psnr(made, case.target)
    over = None
    if case.source is not None:
        outside = scores.get("outside dB", scores.get("target dB", [math.nan]))[0]
        over = _graded(outside) if not math.isnan(outside) else 10
    return Review(
        quality=_graded(quality_db),
        instruction_following=round(10 * float(np.mean(asked))) if asked else 0,
        over_editing=over,
    )


def spoil(case: Case, how: str, rng: np.random.Generator) -> Clip:
    """A result that is exact, leaves the source undone, is worn, changes too much, or shows something else.

    Where there is nothing to be left undone or overdone, something else is shown. Raises ValueError for an unknown way.
    """
    if how not in SPOILINGS:
        raise ValueError(f"{how!r} is none of {', '.join(SPOILINGS)}")
    frames = len(case.target)
    if how == "exact":
        return case.target
    if how == "worn":
        return _worn(case.target, rng)
    if how == "undone" and case.source is not None:
        return case.source
    if how == "overdone" and case.source is not None:
        return render(_changed(case.target_scene, rng), frames)
    scene = case.target_scene
    for _ in range(2):
        scene = _changed(scene, rng)
    return render(scene, frames)


def _changed(scene: Scene, rng: np.random.Generator) -> Scene:
    """A scene with one thing changed that nobody asked for."""
    kinds = ["background", "style"]
    if any(isinstance(actor, Subject) for actor in scene.subjects):
        kinds += ["recolour", "delete", "swap", "material"]
    edit = None
    while edit is None:
        edit = sample_edit(rng, replace(scene, style="none"), kinds[int(rng.integers(len(kinds)))])
    return apply_edit(scene, edit)


def _worn(clip: Clip, rng: np.random.Generator) -> Clip:
    """Blurred and noisy, by a strength drawn at random."""
    soft = clip.astype(np.float32)
    for _ in range(int(rng.integers(1, 6))):
        for axis in (1, 2):
            soft = 0.5 * soft + 0.25 * (np.roll(soft, 1, axis) + np.roll(soft, -1, axis))
    noise = rng.normal(0, float(rng.uniform(4, 40)), clip.shape)
    return np.clip(soft + noise, 0, 255).astype(np.uint8)


def _graded(decibel: float) -> int:
    return round(10 * float(np.clip((decibel - _WORST_DB) / (_BEST_DB - _WORST_DB), 0, 1)))
