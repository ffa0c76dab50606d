"""What a scene is, and how one is drawn at random.

A scene is discrete facts plus places, nothing else: rendering it twice gives the same bytes. Places are in pixels of
the 64×64 picture, at the centre of the subject in the first frame.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

CANVAS_PX: Final = 64
CLIP_FRAMES: Final = 17
CLIP_FPS: Final = 8

SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond")
COLORS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (224, 36, 44),
    "orange": (250, 136, 20),
    "yellow": (252, 222, 48),
    "green": (36, 172, 76),
    "blue": (44, 96, 232),
    "purple": (146, 56, 196),
    "pink": (252, 136, 190),
    "white": (250, 250, 246),
}
MATERIALS: Final = ("plain", "striped", "dotted")
SIZES: Final[dict[str, float]] = {"small": 8.0, "large": 12.0}
MOTIONS: Final = ("still", "left", "right", "up", "down", "orbit", "bounce", "grow", "shrink")
PLAIN_BACKGROUNDS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (26, 26, 30),
    "grey": (122, 124, 130),
    "navy": (22, 34, 84),
    "teal": (18, 80, 88),
    "brown": (92, 62, 46),
    "beige": (206, 190, 158),
}
SCENIC_BACKGROUNDS: Final = ("sky", "meadow", "night", "bricks")
BACKGROUNDS: Final = (*PLAIN_BACKGROUNDS, *SCENIC_BACKGROUNDS)
# What an edit may put behind the subjects; no scene is drawn with it by chance.
GREEN_SCREEN: Final = "green screen"
SCREENS: Final[dict[str, tuple[int, int, int]]] = {GREEN_SCREEN: (0, 214, 66)}
STYLES: Final = ("none", "outline", "mosaic", "sepia", "night", "blueprint")

TRAVEL_PX: Final = 26.0
ORBIT_RADIUS_PX: Final = 11.0
BOUNCE_HEIGHT_PX: Final = 18.0
BOUNCES: Final = 2
GROWTH: Final = 1.7
SHRINKAGE: Final = 0.5
MARGIN_PX: Final = 1.5
GAP: Final = 1.1
EVAL_SHARE: Final = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """A named shape; x grows to the right, y downwards, in pixels of the 64×64 picture."""

    shape: str
    color: str
    material: str
    size: str
    x: float
    y: float
    motion: str = "still"

    @property
    def radius(self) -> float:
        """Radius in the first frame, in pixels."""
        return SIZES[self.size]


@dataclass(frozen=True, slots=True)
class Creature:
    """A sprite without a name, known by its look alone; see `vogue.lab.world.creature` for what an identity means."""

    identity: int
    size: str
    x: float
    y: float
    motion: str = "still"

    @property
    def radius(self) -> float:
        """Radius in the first frame, in pixels."""
        return SIZES[self.size] + 2.0


Actor: TypeAlias = Subject | Creature


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip, before it is drawn; later subjects are drawn over earlier ones."""

    background: str
    style: str
    subjects: tuple[Actor, ...]


def trajectory(actor: Actor, num_frames: int) -> NDArray[np.float32]:
    """Centre and radius over a clip: [T, 3] of x, y, radius in pixels; a motion always spans the whole clip."""
    time = np.linspace(0.0, 1.0, num_frames) if num_frames > 1 else np.zeros(1)
    path = np.empty((num_frames, 3), np.float32)
    path[:, 0], path[:, 1], path[:, 2] = actor.x, actor.y, actor.radius
    motion = actor.motion
    if motion in ("left", "right"):
        path[:, 0] += TRAVEL_PX * time * (1 if motion == "right" else -1)
    elif motion in ("up", "down"):
        path[:, 1] += TRAVEL_PX * time * (1 if motion == "down" else -1)
    elif motion == "orbit":
        path[:, 0] += ORBIT_RADIUS_PX * np.sin(2 * math.pi * time)
        path[:, 1] += ORBIT_RADIUS_PX * (1 - np.cos(2 * math.pi * time))
    elif motion == "bounce":
        path[:, 1] -= BOUNCE_HEIGHT_PX * np.abs(np.sin(BOUNCES * math.pi * time))
    elif motion == "grow":
        path[:, 2] *= 1 + (GROWTH - 1) * time
    elif motion == "shrink":
        path[:, 2] *= 1 + (SHRINKAGE - 1) * time
    return path


def room(motion: str, radius: float) -> tuple[float, float, float, float]:
    """Where a subject may start so that it never leaves the picture: lowest x, highest x, lowest y, highest y."""
    reach = radius * (GROWTH if motion == "grow" else 1.0) + MARGIN_PX
    low_x = low_y = reach
    high_x = high_y = CANVAS_PX - reach
    if motion == "left":
        low_x += TRAVEL_PX
    elif motion == "right":
        high_x -= TRAVEL_PX
    elif motion == "up":
        low_y += TRAVEL_PX
    elif motion == "down":
        high_y -= TRAVEL_PX
    elif motion == "bounce":
        low_y += BOUNCE_HEIGHT_PX
    elif motion == "orbit":
        low_x, high_x = low_x + ORBIT_RADIUS_PX, high_x - ORBIT_RADIUS_PX
        high_y -= 2 * ORBIT_RADIUS_PX
    return low_x, high_x, low_y, high_y


def apart(actor: Actor, others: tuple[Actor, ...]) -> bool:
    """True when `actor` touches none of `others` in any frame."""
    path = trajectory(actor, CLIP_FRAMES)
    for other in others:
        gap = path - trajectory(other, CLIP_FRAMES)
        reach = GAP * (path[:, 2] + trajectory(other, CLIP_FRAMES)[:, 2])
        if np.any(gap[:, 0] ** 2 + gap[:, 1] ** 2 < reach**2):
            return False
    return True


def pick(rng: np.random.Generator, options: tuple[str, ...] | list[str]) -> str:
    """One of `options`, evenly."""
    return options[int(rng.integers(len(options)))]


def sample_place(rng: np.random.Generator, motion: str, radius: float) -> tuple[float, float]:
    """A start that keeps the motion inside the picture, on half pixels so that equal scenes compare equal."""
    low_x, high_x, low_y, high_y = room(motion, radius)
    x, y = low_x + (high_x - low_x) * rng.random(), low_y + (high_y - low_y) * rng.random()
    return round(2 * x) / 2, round(2 * y) / 2


def sample_subject(
    rng: np.random.Generator,
    others: tuple[Actor, ...] = (),
    *,
    motions: tuple[str, ...] = MOTIONS,
    sizes: tuple[str, ...] = tuple(SIZES),
    tries: int = 40,
) -> Subject | None:
    """A subject that touches none of `others` and shares neither its colour nor its shape with one; None if none fits.

    Distinct colours and shapes keep every instruction unambiguous, whichever of the two facts it names.
    """
    named = [other for other in others if isinstance(other, Subject)]
    shape = pick(rng, [s for s in SHAPES if all(s != o.shape for o in named)])
    color = pick(rng, [c for c in COLORS if all(c != o.color for o in named)])
    material = MATERIALS[(0, 0, 1, 2)[int(rng.integers(4))]]
    for attempt in range(tries):
        # When the picture is crowded, give up speed and size before giving up the subject.
        motion = pick(rng, motions) if attempt < tries // 2 else "still"
        size = pick(rng, sizes) if attempt < tries // 2 else sizes[0]
        x, y = sample_place(rng, motion, SIZES[size])
        subject = Subject(shape, color, material, size, x, y, motion)
        if apart(subject, others):
            return subject
    return None


def sample_scene(
    rng: np.random.Generator,
    *,
    num_subjects: int | None = None,
    motions: tuple[str, ...] = MOTIONS,
    style: str = "none",
) -> Scene:
    """A scene of 1 (60 %), 2 (30 %) or 3 (10 %) subjects that never touch; `num_subjects` fixes the number."""
    count = num_subjects or (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)[int(rng.integers(10))]
    sizes = tuple(SIZES) if count < 3 else ("small",)
    background = pick(rng, BACKGROUNDS)
    while True:
        subjects: tuple[Actor, ...] = ()
        while len(subjects) < count:
            subject = sample_subject(rng, subjects, motions=motions, sizes=sizes)
            if subject is None:
                break
            subjects = (*subjects, subject)
        if len(subjects) == count:
            return Scene(background, style, subjects)


def fingerprint(scene: Scene) -> int:
    """A stable number for a scene's facts and its places in cells of 4 px, whatever the order of its subjects."""
    facts = sorted(_facts(actor) for actor in scene.subjects)
    return zlib.crc32("|".join((scene.background, scene.style, *facts)).encode())


def reserved_for_evaluation(scene: Scene) -> bool:
    """True for the one scene in 64 that training never draws, so that no evaluation scene can be learned by heart."""
    return fingerprint(scene) % EVAL_SHARE == 0


def _facts(actor: Actor) -> str:
    cell = f"{int(actor.x) // 4},{int(actor.y) // 4}"
    if isinstance(actor, Creature):
        return f"creature {actor.identity} {actor.size} {actor.motion} {cell}"
    return f"{actor.shape} {actor.color} {actor.material} {actor.size} {actor.motion} {cell}"
