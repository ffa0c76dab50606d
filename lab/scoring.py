"""How well a made picture or clip does what its case asks: facts read by the analyser, and exact targets. Nothing learned.

Shares are 0 or 1 a fact and get Wilson intervals; decibels are means a case and get Student's. A subject that is not
there counts as wrong in all its facts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .estimates import Estimate, estimate, merge
from .world.analyse import ClipFacts, SubjectFacts, analyse
from .world.cases import Case
from .world.edits import Edit
from .world.relations import side
from .world.render import render
from .world.scene import CLIP_FRAMES, MOTIONS, Actor, Creature, Scene, Subject
from .world.segment import COLORLESS_STYLES, UNKNOWN
from .world.tell import tell_creatures
from .world.validate import compare

__all__ = ["Estimate", "edit_done", "estimate", "merge", "psnr", "score_case"]

Clip = NDArray[np.uint8]
CEILING_DB: Final = 60.0
NEAR_PX: Final = 8.0
LAYOUT_DB: Final = 20.0
FACTS: Final = ("colour", "shape", "material", "motion")


def psnr(made: Clip, exact: Clip, mask: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB over all pixels or those of a mask [T, H, W]; at most 60, NaN without a pixel."""
    error = (made.astype(np.float64) - exact.astype(np.float64)) ** 2
    if mask is not None:
        error = error[mask]
    if error.size == 0:
        return math.nan
    return min(CEILING_DB, 10 * math.log10(255.0**2 / max(float(error.mean()), 1e-12)))


def score_case(case: Case, made: Clip) -> dict[str, list[float]]:
    """All scores of one case by name; names ending in "dB" are means, all others shares."""
    facts = analyse(made, _creatures(case))
    video = len(made) > 1
    if case.missing:
        scores = {"nothing changed": [float(_kept(case, made, facts))]}
    elif case.asked and case.source is not None and case.mask is not None:
        scores = _score_edit(case, made, facts)
    elif case.identities:
        scores = _score_gathering(case.target_scene, facts, video=video)
    else:
        scores = _score_scene(case.target_scene, facts, video=video, placed=case.first_frame is not None)
    if case.relation:
        scores["relation"] = [float(_related(case, facts))]
    if case.identities:
        after = case.edit.after if case.edit is not None else None
        told = tell_creatures(made, case.line_ups, near=None if after is None else (after.x, after.y))
        scores["identity"] = [float(one == right) for one, right in zip(told, case.identities, strict=True)]
    if case.first_frame is not None:
        scores["first frame dB"] = [psnr(made[:1], case.first_frame)]
    if len(case.target_scene.subjects) == 2 and case.task in ("t2i", "t2v"):
        scores["all facts, 2 subjects"] = scores["all facts"]
    scores["quality dB"] = [_quality(made, facts)]
    return scores


def edit_done(edit: Edit, facts: ClipFacts) -> bool:
    """Whether what was asked is there; what else may have changed is scored apart."""
    if edit.kind == "style":
        return facts.style == edit.value
    if edit.kind in ("background", "green_screen"):
        return facts.background == edit.value
    if edit.kind == "delete" and edit.before is not None:
        return _seen_near(edit.before, facts) is None
    if edit.after is None:
        return False
    seen = _seen_near(edit.after, facts)
    if seen is None:
        return False
    if isinstance(edit.after, Creature):
        # Which creature it is, its identity says.
        return seen.creature is not None and (edit.kind != "motion" or seen.motion == edit.after.motion)
    wanted = {
        "recolour": ("color",),
        "swap": ("shape", "color"),
        "insert": ("shape", "color"),
        "material": ("material",),
        "size": ("size",),
        "motion": ("motion",),
    }[edit.kind]
    return all(getattr(seen, fact) == getattr(edit.after, fact) for fact in wanted)


def _creatures(case: Case) -> tuple[int, ...]:
    """Those that may be seen, so that the analyser looks for creatures at all; which it is, line-ups tell."""
    scenes = (case.target_scene, case.source_scene or case.target_scene)
    return tuple({one.identity: None for scene in scenes for one in scene.subjects if isinstance(one, Creature)})


def _score_edit(case: Case, made: Clip, facts: ClipFacts) -> dict[str, list[float]]:
    kinds = " and ".join(edit.kind for edit in case.asked)
    restyled = any(edit.kind == "style" for edit in case.asked)
    done = all(edit_done(edit, facts) for edit in case.asked)
    kept = _kept(case, made, facts)
    scores = {
        "done": [float(done)],
        f"done, {kinds}": [float(done)],
        "nothing else changed": [float(kept)],
        "all facts": [float(done and kept)],
        "target dB": [psnr(made, case.target)],
        f"target, {kinds} dB": [psnr(made, case.target)],
    }
    if restyled:
        scores["layout"] = [float(kept)]
    elif case.mask is not None:
        outside = psnr(made, case.target, ~case.mask)
        scores["outside dB"] = [outside]
        scores[f"outside, {kinds} dB"] = [outside]
    return scores


def _kept(case: Case, made: Clip, facts: ClipFacts) -> bool:
    """Whether everything that should be there is, in its place, and nothing else."""
    video = len(made) > 1
    if any(edit.kind == "style" for edit in case.asked):
        # Styles drop colours and outlines; what is left of the layout is judged against the exact target.
        return facts.background == case.target_scene.background and psnr(made, case.target) >= LAYOUT_DB
    told = compare(case.target_scene, facts, video=video)
    # Of creatures, those with a line-up are scored by identity; of others the analyser can say no more than where they are.
    skipped = ("identity",) if any(isinstance(one, Creature) for one in case.target_scene.subjects) else ()
    return all(right for fact, right in told if fact not in skipped)


def _score_gathering(scene: Scene, facts: ClipFacts, *, video: bool) -> dict[str, list[float]]:
    """Motions, count and background of creatures, whose places are free."""
    seen = [one.motion for one in facts.subjects]
    right = []
    for actor in scene.subjects:
        right.append(float(actor.motion in seen))
        if actor.motion in seen:
            seen.remove(actor.motion)
    scores = {"motion": right} if video else {}
    count = len(facts.subjects) == len(scene.subjects)
    background = facts.background == scene.background
    everything = count and background and (not video or all(right))
    return {**scores, "background": [float(background)], "count": [float(count)], "all facts": [float(everything)]}


def _related(case: Case, facts: ClipFacts) -> bool:
    """Whether the first subject is seen on the side of the second that was asked for."""
    (_, first), (_, second) = _pair_by_facts(case.target_scene, facts)
    if first is None or second is None:
        return False
    return side(first.x, first.y, second.x, second.y) == case.relation


def _quality(made: Clip, facts: ClipFacts) -> float:
    """How much a clip looks like anything in the world: PSNR against a render of what was read from it; NaN where no render can be."""
    if facts.style in COLORLESS_STYLES or any(
        UNKNOWN in (one.motion, one.shape, one.color) or one.motion not in MOTIONS or one.creature is not None
        for one in facts.subjects
    ):
        return math.nan
    subjects = tuple(
        Subject(one.shape, one.color, one.material, one.size, one.x, one.y, one.motion) for one in facts.subjects
    )
    if made.shape[0] not in (1, CLIP_FRAMES):
        return math.nan
    return psnr(made, render(Scene(facts.background, facts.style, subjects), len(made), made.shape[1]))


def _score_scene(scene: Scene, facts: ClipFacts, *, video: bool, placed: bool) -> dict[str, list[float]]:
    """Facts of a wholly generated scene. Where places are free, subjects are paired so that most facts agree."""
    pairs = list(_pair_by_place(scene, facts) if placed else _pair_by_facts(scene, facts))
    asked = FACTS if video else FACTS[:-1]
    right = {fact: [float(_agrees(fact, actor, seen)) for actor, seen in pairs] for fact in asked}
    count = len(facts.subjects) == len(scene.subjects)
    background = facts.background == scene.background
    everything = count and background and all(all(values) for values in right.values())
    return {**right, "background": [float(background)], "count": [float(count)], "all facts": [float(everything)]}


def _agrees(fact: str, actor: Actor, seen: SubjectFacts | None) -> bool:
    name = {"colour": "color"}.get(fact, fact)
    return seen is not None and bool(getattr(seen, name) == getattr(actor, name, None))


def _pair_by_facts(scene: Scene, facts: ClipFacts) -> list[tuple[Actor, SubjectFacts | None]]:
    seen: list[SubjectFacts | None] = [*facts.subjects[:6], *[None] * len(scene.subjects)]

    def agreement(order: tuple[SubjectFacts | None, ...]) -> int:
        # Colour first: it is what a person would go by to say which subject is which.
        weights = dict(zip(FACTS, (5, 4, 1, 2), strict=True))
        matched = zip(scene.subjects, order, strict=True)
        return sum(weights[fact] * _agrees(fact, actor, one) for actor, one in matched for fact in FACTS)

    best = max(permutations(seen, len(scene.subjects)), key=agreement)
    return list(zip(scene.subjects, best, strict=True))


def _pair_by_place(scene: Scene, facts: ClipFacts) -> Iterator[tuple[Actor, SubjectFacts | None]]:
    for actor in scene.subjects:
        yield actor, _seen_near(actor, facts)


def _seen_near(actor: Actor, facts: ClipFacts) -> SubjectFacts | None:
    """The subject that is seen where `actor` starts, if any is."""
    by_distance = sorted(
        (math.hypot(one.x - actor.x, one.y - actor.y), index) for index, one in enumerate(facts.subjects)
    )
    if not by_distance or by_distance[0][0] > NEAR_PX:
        return None
    return facts.subjects[by_distance[0][1]]
