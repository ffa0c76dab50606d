"""Scenes to pixels: signed distances on a small window around each subject, composed over a cached background."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .background import draw_background
from .creature import paint_creature
from .scene import CANVAS_PX, CLIP_FRAMES, COLORS, Actor, Creature, Scene, Subject, trajectory
from .shape import distance
from .style import apply_style

Field = NDArray[np.floating[Any]]

_STRIPE_PERIOD_PX: Final = 9.0
_STRIPE_PX: Final = 2.8
_DOT_PERIOD_PX: Final = 7.0
_DOT_RADIUS_PX: Final = 1.9
INK_SHADE: Final = 0.48
# Shapes reach at most 1.2 radii from their centre, creatures' ears and feet 1.3.
_REACH: Final = 1.3


def render(scene: Scene, num_frames: int = CLIP_FRAMES, size: int = CANVAS_PX) -> NDArray[np.uint8]:
    """Draw a scene as uint8 [T, H, W, 3]; one frame is the picture at rest. The same scene gives the same bytes."""
    clip = np.empty((num_frames, size, size, 3), np.uint8)
    clip[:] = draw_background(scene.background, size)
    for actor in scene.subjects:
        compose(clip, actor)
    return apply_style(clip, scene.style)


def coverage(actor: Actor, num_frames: int = CLIP_FRAMES, size: int = CANVAS_PX) -> NDArray[np.bool_]:
    """Where a subject is drawn, bool [T, H, W], its soft edge included, whatever is drawn over it."""
    mask = np.zeros((num_frames, size, size), np.bool_)
    where, u, v, radius = _window(actor, num_frames, size)
    mask[where] = _paint(actor, u, v, radius, size / CANVAS_PX)[1] > 0
    return mask


def compose(clip: NDArray[np.uint8], actor: Actor) -> None:
    """Draw a subject into a clip [T, H, W, 3], in place."""
    num_frames, size = clip.shape[:2]
    # What does not move is drawn once.
    drawn_frames = 1 if actor.motion == "still" else num_frames
    where, u, v, radius = _window(actor, drawn_frames, size)
    colour, alpha = _paint(actor, u, v, radius, size / CANVAS_PX)
    if drawn_frames == 1:
        where = (slice(None), where[1][0], where[2][0])
    under = clip[where].astype(np.float32)  # [T, n, n, 3]
    clip[where] = (under + alpha[..., None] * (colour - under) + np.float32(0.5)).astype(np.uint8)


def _window(actor: Actor, num_frames: int, size: int) -> tuple[tuple, Field, Field, Field]:  # type: ignore[type-arg]
    """The index of a window that holds the subject in every frame, and pixel offsets from its centre, [T, n, n]."""
    path = trajectory(actor, num_frames) * np.float32(size / CANVAS_PX)  # [T, 3]
    side = min(size, 2 * int(np.ceil(path[:, 2].max() * _REACH + 1)) + 1)
    corner = np.clip(np.floor(path[:, :2]).astype(np.intp) - side // 2, 0, size - side)  # [T, 2]
    columns, rows = (corner[:, axis, None] + np.arange(side) for axis in (0, 1))  # [T, n]
    u = (columns + np.float32(0.5) - path[:, 0, None]).astype(np.float32)[:, None, :]  # [T, 1, n]
    v = (rows + np.float32(0.5) - path[:, 1, None]).astype(np.float32)[:, :, None]  # [T, n, 1]
    where = (np.arange(num_frames)[:, None, None], rows[:, :, None], columns[:, None, :])
    return where, u, v, path[:, 2, None, None]


def _paint(actor: Actor, u: Field, v: Field, radius: Field, scale: float) -> tuple[Field, Field]:
    """Colour [T, n, n, 3] (or [3]) and opacity [T, n, n] of a subject; offsets and radius in pixels of the output."""
    if isinstance(actor, Creature):
        return paint_creature(actor.identity, u / radius, v / radius, radius)
    alpha = np.clip(np.float32(0.5) - distance(actor.shape, u / radius, v / radius) * radius, 0, 1)
    return _surface(actor, u, v, scale), alpha


def ink(material: str, u: Field, v: Field, scale: float) -> Field:
    """How much of a material's ink covers each point, 0–1; offsets from the subject's centre in pixels of the output."""
    if material == "plain":
        return np.zeros((), np.float32)
    covered: Field
    if material == "striped":
        period = np.float32(_STRIPE_PERIOD_PX * scale)
        # Diagonal lines: a step of one pixel across is 1/√2 of a pixel's distance.
        off = np.abs(np.mod(u + v, period) - period / 2) * np.float32(0.7071)
        covered = np.float32(_STRIPE_PX * scale / 2 + 0.5) - off
    else:
        period = np.float32(_DOT_PERIOD_PX * scale)
        across, down = (np.mod(axis + period / 2, period) - period / 2 for axis in (u, v))
        covered = np.float32(_DOT_RADIUS_PX * scale + 0.5) - np.sqrt(across * across + down * down)
    return np.clip(covered, np.float32(0), np.float32(1))


def _surface(subject: Subject, u: Field, v: Field, scale: float) -> Field:
    colour = np.array(COLORS[subject.color], np.float32)
    if subject.material == "plain":
        return colour
    return colour * (1 - np.float32(1 - INK_SHADE) * ink(subject.material, u, v, scale)[..., None])
