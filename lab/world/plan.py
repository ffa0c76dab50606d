"""What a plan for a case should say: task, the part of each input, steps, a prompt that needs no other words, or a question.

The wording is fixed, the first of each template: a label, not a style.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cases import Case
from .edits import Edit
from .language import join, place_cell
from .phrasings import MOTION_WORDS, PLACES, SCENERY_NOUNS, SCENERY_WHERE, STYLE_NOUNS
from .scene import Actor, Creature, Subject


@dataclass(frozen=True, slots=True)
class PlanLabel:
    """The right plan. `roles` pairs tags with roles, `steps` actions with the tags they need; a `clarification` stands alone."""

    task: str | None
    roles: tuple[tuple[str, str], ...]
    steps: tuple[tuple[str, tuple[str, ...]], ...]
    dense_prompt: str
    clarification: str | None = None


def visual_roles(case: Case) -> tuple[tuple[str, str], ...]:
    """Tag and role of each visual input, in the order references, source or first frame, visual prompt."""
    given: list[tuple[str, np.ndarray]] = [("reference", one) for one in case.references]
    for role, one in (
        ("source", case.source),
        ("first_frame", case.first_frame),
        ("visual_prompt", case.visual_prompt),
    ):
        if one is not None:
            given.append((role, one))
    counts = {"image": 0, "video": 0}
    tagged = []
    for role, one in given:
        kind = "video" if len(one) > 1 else "image"
        counts[kind] += 1
        tagged.append((f"{kind}{counts[kind]}", role))
    return tuple(tagged)


def plan_of(case: Case) -> PlanLabel:
    """The right plan for a case."""
    roles = visual_roles(case)
    if case.missing:
        media = "video" if len(case.target) > 1 else "picture"
        question = f"there is no {case.missing} in the {media}. which subject do you mean?"
        return PlanLabel(None, (), (), "", question)
    references = tuple(tag for tag, role in roles if role == "reference")
    if case.source is not None:
        actions = [_action(edit, references) for edit in case.asked]
        needed = (*references, *(tag for tag, role in roles if role == "source"))
        return PlanLabel(case.task, roles, tuple((one, needed) for one in actions), join(actions, " and "))
    dense = _dense(case, references)
    return PlanLabel(case.task, roles, ((dense, tuple(tag for tag, role in roles if role != "visual_prompt")),), dense)


def _dense(case: Case, references: tuple[str, ...]) -> str:
    scene, video = case.target_scene, len(case.target) > 1
    if case.first_frame is not None:
        moving = [actor for actor in scene.subjects if actor.motion != "still"] or list(scene.subjects)
        return join([f"the {_name(actor)} {_moves(actor)}" for actor in moving], " and ")
    shown = iter(references)
    views = len(references) // max(1, len(case.identities))
    names = []
    for actor in scene.subjects:
        if isinstance(actor, Creature) and references:
            tags = [next(shown) for _ in range(views)]
            name = f"the creature of {join(tags, ' and ')}"
        else:
            name = f"a {_name(actor, full=True)}"
        names.append(f"{name} {PLACES[place_cell(actor)]}" + (f" {_moves(actor)}" if video else ""))
    where = SCENERY_WHERE.get(scene.background, (f"on a {scene.background} background",))[0]
    return f"{join(names, ' and ')} {where}"


def _action(edit: Edit, references: tuple[str, ...]) -> str:
    """An edit in the first wording of its template."""
    it = f"the {_name(edit.before)}" if edit.before is not None else ""
    made = "the creature of image1" if references else ""
    if edit.after is not None and not isinstance(edit.after, Creature):
        made = f"a {_name(edit.after, full=edit.kind == 'insert')}"
    if edit.kind == "recolour" and isinstance(edit.after, Subject):
        return f"make {it} {edit.after.color}"
    if edit.kind in ("material", "size"):
        return f"make {it} {'larger' if edit.value == 'large' else 'smaller' if edit.value == 'small' else edit.value}"
    if edit.kind == "delete":
        return f"remove {made or it}"
    if edit.kind == "swap":
        return f"replace {it} with {made}"
    if edit.kind == "insert":
        return f"add {made} {edit.value}"
    if edit.kind == "style":
        return f"make it look like {'image1' if references else STYLE_NOUNS[edit.value][0]}"
    if edit.kind == "background":
        return f"change the background to {SCENERY_NOUNS.get(edit.value, f'plain {edit.value}')}"
    if edit.kind == "green_screen":
        return "put everything on a green screen"
    return f"make {it} {MOTION_WORDS[edit.value][0][2]}"


def _name(actor: Actor, *, full: bool = False) -> str:
    if isinstance(actor, Creature):
        return "creature"
    if not full:
        return f"{actor.color} {actor.shape}"
    material = "" if actor.material == "plain" else f"{actor.material} "
    return f"{actor.size} {material}{actor.color} {actor.shape}"


def _moves(actor: Actor) -> str:
    return MOTION_WORDS[actor.motion][0][0]
