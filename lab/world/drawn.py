"""Visual prompts: what is wanted is drawn, and the words only point to the drawing.

Seeds 2k and 2k + 1 show the same picture with the same words under another drawing, so that a plan which does not look at
the drawing is wrong at least every second time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from .cases import Case, Clip, Split, admitted, phrasing_split, stream
from .creature import line_up
from .edits import Edit, apply_edit, edited_region, fits
from .gather import LINE_UP, draw_identities, place_creatures, portrait
from .language import background_where, fill
from .marks import Arrow, Cross, Mark, Ring, draw_marks
from .render import compose, render
from .scene import (
    BACKGROUNDS,
    CANVAS_PX,
    CLIP_FRAMES,
    COLORS,
    TRAVEL_PX,
    Actor,
    Scene,
    Subject,
    pick,
    sample_scene,
)
from .templates import CANVAS_ORDERS, DRAWN_ORDERS

DIRECTIONS: Final[dict[str, tuple[int, int]]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_PAPER: Final = (240, 240, 236)
_RING_GAP_PX: Final = 3.0
_Order: TypeAlias = tuple[str, int, str]
"""What a mark asks for: "arrow", "cross" or "ring"; of which subject; and a direction or colour."""


def drawn_motion_case(name: str, seed: int, split: Split) -> Case:
    """A picture with an arrow drawn on a subject, which moves that way while all others stay still."""
    rng, variant = stream(name, seed // 2, split), seed % 2
    while True:
        rest = sample_scene(rng, num_subjects=1 + int(rng.random() < 0.5), motions=("still",))
        orders = _two_of(rng, _possible_arrows(rest.subjects))
        if orders and _both_admitted(rest, [_moved(rest, order) for order in orders], split):
            break
    order = orders[variant]
    scene, picture = _moved(rest, order), render(rest, 1)
    return Case(
        task="i2v",
        seed=seed,
        prompt=fill(DRAWN_ORDERS, phrasing_split(split), rng, tag="image2"),
        source=None,
        first_frame=picture,
        references=(),
        target=render(scene, CLIP_FRAMES),
        source_scene=rest,
        target_scene=scene,
        edit=Edit("motion", order[1], rest.subjects[order[1]], scene.subjects[order[1]], order[2]),
        mask=None,
        visual_prompt=draw_marks(picture, (_mark(rest, order),)),
    )


def drawn_edit_case(name: str, seed: int, split: Split) -> Case:
    """A picture with a cross over a subject to delete, or a ring around one in the colour that it shall have."""
    rng, variant = stream(name, seed // 2, split), seed % 2
    while True:
        scene = sample_scene(rng, num_subjects=1 + int(rng.random() < 0.6), motions=("still",))
        orders = _two_of(rng, _possible_changes(scene))
        edits = [_change(scene, order) for order in orders]
        if _both_admitted(scene, [apply_edit(scene, edit) for edit in edits], split):
            break
    order, edit = orders[variant], edits[variant]
    target_scene, picture = apply_edit(scene, edit), render(scene, 1)
    return Case(
        task="i2i_edit",
        seed=seed,
        prompt=fill(DRAWN_ORDERS, phrasing_split(split), rng, tag="image2"),
        source=picture,
        first_frame=None,
        references=(),
        target=render(target_scene, 1),
        source_scene=scene,
        target_scene=target_scene,
        edit=edit,
        mask=edited_region(scene, edit, 1),
        visual_prompt=draw_marks(picture, (_mark(scene, order),)),
    )


def canvas_case(name: str, seed: int, split: Split) -> Case:
    """A sheet with references pasted where they start and an arrow from each that moves; the words give the background."""
    rng, variant = stream(name, seed // 2, split), seed % 2
    identities = draw_identities(rng, 1 + int(rng.random() < 0.5), split)
    background = pick(rng, BACKGROUNDS)
    tags = len(identities) + 1
    prompt = fill(
        CANVAS_ORDERS, phrasing_split(split), rng, tag=f"image{tags}", where=background_where(background, rng)
    )
    references = tuple(portrait(rng, one) for one in identities)
    line_ups = tuple(line_up(one, LINE_UP, rng) for one in identities)
    layouts: list[Scene] = []
    while len(layouts) <= variant:
        creatures = place_creatures(rng, identities, ("still", *DIRECTIONS))
        scene = Scene(background, "none", creatures)
        moves = [actor.motion for actor in creatures]
        fresh = all(moves != [actor.motion for actor in one.subjects] for one in layouts)
        if any(move != "still" for move in moves) and fresh and admitted(scene, split):
            layouts.append(scene)
    scene = layouts[variant]
    return Case(
        task="multiid",
        seed=seed,
        prompt=prompt,
        source=None,
        first_frame=None,
        references=references,
        target=render(scene, CLIP_FRAMES),
        source_scene=None,
        target_scene=scene,
        edit=None,
        mask=None,
        visual_prompt=_sheet(scene),
        identities=identities,
        line_ups=line_ups,
    )


def _sheet(scene: Scene) -> Clip:
    sheet = np.empty((1, CANVAS_PX, CANVAS_PX, 3), np.uint8)
    sheet[:] = _PAPER
    for actor in scene.subjects:
        compose(sheet, actor)
    arrows = [_arrow(actor, actor.motion) for actor in scene.subjects if actor.motion in DIRECTIONS]
    return draw_marks(sheet, tuple(arrows))


def _both_admitted(shown: Scene, wanted: list[Scene], split: Split) -> bool:
    """Whether a pair of cases may be drawn; for evaluation what is shown decides."""
    return admitted(shown, split) and (split == "eval" or all(admitted(scene, split) for scene in wanted))


def _change(scene: Scene, order: _Order) -> Edit:
    subject = scene.subjects[order[1]]
    if order[0] == "cross" or not isinstance(subject, Subject):
        return Edit("delete", order[1], subject, None, "")
    return Edit("recolour", order[1], subject, replace(subject, color=order[2]), order[2])


def _two_of(rng: np.random.Generator, orders: list[_Order]) -> list[_Order]:
    """Two different orders, or none where there are not two."""
    if len(set(orders)) < 2:
        return []
    first = orders[int(rng.integers(len(orders)))]
    others = [order for order in orders if order != first]
    return [first, others[int(rng.integers(len(others)))]]


def _possible_arrows(subjects: tuple[Actor, ...]) -> list[_Order]:
    found = []
    for index, subject in enumerate(subjects):
        others = tuple(other for at, other in enumerate(subjects) if at != index)
        found += [("arrow", index, way) for way in DIRECTIONS if fits(replace(subject, motion=way), others)]
    return found


def _possible_changes(scene: Scene) -> list[_Order]:
    found: list[_Order] = []
    taken = {actor.color for actor in scene.subjects if isinstance(actor, Subject)}
    for index in range(len(scene.subjects)):
        free = [("ring", index, color) for color in COLORS if color not in taken]
        # As many crosses as rings.
        found += free + [("cross", index, "")] * len(free)
    return found


def _moved(scene: Scene, order: _Order) -> Scene:
    moving = [
        replace(actor, motion=order[2]) if index == order[1] else actor for index, actor in enumerate(scene.subjects)
    ]
    return replace(scene, subjects=tuple(moving))


def _mark(scene: Scene, order: _Order) -> Mark:
    kind, index, value = order
    actor = scene.subjects[index]
    if kind == "arrow":
        return _arrow(actor, value)
    if kind == "cross":
        return Cross(actor.x, actor.y, 0.8 * actor.radius)
    return Ring(actor.x, actor.y, actor.radius + _RING_GAP_PX, COLORS[value])


def _arrow(actor: Actor, way: str) -> Arrow:
    across, down = DIRECTIONS[way]
    return Arrow(actor.x, actor.y, actor.x + across * TRAVEL_PX, actor.y + down * TRAVEL_PX)
