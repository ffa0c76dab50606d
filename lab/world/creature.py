"""Creatures: symmetric sprites without a name, so that identity can come only from a picture.

An identity is a number; its mixed-radix digits choose the parts and the colours. Line-ups of creatures that differ in
one part or in one colour are therefore made by changing one digit (`relative`).
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]

BODIES: Final = ("round", "block", "egg", "drop")
EARS: Final = ("tuft", "pointed", "round", "long", "horns")
EYES: Final = ("two", "one", "wide")
FEET: Final = ("none", "two", "broad")
BELLIES: Final = ("none", "patch", "band")
FURS: Final[tuple[tuple[int, int, int], ...]] = (
    (214, 58, 60), (240, 142, 44), (236, 204, 60), (74, 168, 84),
    (60, 110, 220), (148, 74, 190), (238, 132, 178), (96, 196, 200),
)  # fmt: skip
PARTS: Final[dict[str, int]] = {
    "body": len(BODIES), "ears": len(EARS), "eyes": len(EYES), "feet": len(FEET), "belly": len(BELLIES),
    "fur": len(FURS), "trim": len(FURS) - 1,
}  # fmt: skip
IDENTITIES: Final = int(np.prod(list(PARTS.values())))
_EYE_WHITE: Final = (250, 250, 246)
_PUPIL: Final = (24, 22, 30)


def parts(identity: int) -> dict[str, int]:
    """The choice made for each part. Raises ValueError for an identity outside 0 ≤ identity < IDENTITIES."""
    if not 0 <= identity < IDENTITIES:
        raise ValueError(f"creature identity {identity} is outside 0..{IDENTITIES - 1}")
    chosen = {}
    for name, radix in PARTS.items():
        identity, chosen[name] = divmod(identity, radix)
    return chosen


def identity_of(chosen: dict[str, int]) -> int:
    """The inverse of `parts`."""
    identity = 0
    for name, radix in reversed(PARTS.items()):
        identity = identity * radix + chosen[name]
    return identity


def relative(identity: int, part: str, step: int) -> int:
    """The creature that differs in one part only; `step` moves along that part's choices."""
    chosen = parts(identity)
    chosen[part] = (chosen[part] + step) % PARTS[part]
    return identity_of(chosen)


def line_up(identity: int, count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """`count` different creatures, `identity` at a random place, the others one part or colour away from it."""
    near = [relative(identity, name, step) for name, radix in PARTS.items() for step in range(1, radix)]
    if count - 1 > len(near):
        raise ValueError(f"a line-up of {count} needs {count - 1} relatives, there are {len(near)}")
    others = rng.permutation(near)[: count - 1].tolist()
    place = int(rng.integers(count))
    return (*others[:place], identity, *others[place:])


def reserved_creature(identity: int) -> bool:
    """True for the one creature in 8 that training never has to make, so that identities must come from pictures."""
    return zlib.crc32(f"creature {identity}".encode()) % 8 == 0


def paint_creature(identity: int, u: Field, v: Field, radius: Field | np.float32) -> tuple[Field, Field]:
    """Colour [T, n, n, 3] and opacity [T, n, n] at points (u, v) in radii around the centre; `radius` is in pixels."""
    chosen = parts(identity)
    fur = FURS[chosen["fur"]]
    trim = FURS[(chosen["fur"] + 1 + chosen["trim"]) % len(FURS)]
    side = np.abs(u)
    body = _body(BODIES[chosen["body"]], side, v)
    layers: list[tuple[Field, tuple[int, int, int]]] = []
    # Every kind of ears shows the trim colour, so no two identities look alike.
    ears, feet = EARS[chosen["ears"]], FEET[chosen["feet"]]
    layers.append((_ears(ears, side, v), trim))
    if feet != "none":
        wide = (0.24, 0.20) if feet == "two" else (0.44, 0.17)
        layers.append((_ellipse(side - 0.38, v - 0.86, *wide), trim))
    layers.append((body, fur))
    belly = BELLIES[chosen["belly"]]
    if belly == "patch":
        layers.append((np.maximum(_ellipse(u, v - 0.48, 0.42, 0.32), body), trim))
    elif belly == "band":
        layers.append((np.maximum(np.abs(v - np.float32(0.40)) - np.float32(0.15) + 0 * u, body), trim))
    layers += _eyes(EYES[chosen["eyes"]], u, side, v)
    colour = np.zeros((*body.shape, 3), np.float32)
    alpha = np.zeros(body.shape, np.float32)
    for depth, paint in layers:
        cover = np.clip(np.float32(0.5) - depth * radius, 0, 1).astype(np.float32)
        colour = colour + cover[..., None] * (np.array(paint, np.float32) - colour)
        alpha = np.maximum(alpha, cover)
    return _unmix(colour, alpha), alpha


def _unmix(colour: Field, alpha: Field) -> Field:
    """Colours were built over black: divide by the opacity, or soft edges would be dark."""
    return np.minimum(colour / np.maximum(alpha, np.float32(1e-3))[..., None], np.float32(255))


def _ellipse(x: Field, y: Field, half_width: float, half_height: float) -> Field:
    stretch = np.sqrt((x / np.float32(half_width)) ** 2 + (y / np.float32(half_height)) ** 2)
    return (stretch - 1) * np.float32(min(half_width, half_height))


def _body(kind: str, side: Field, v: Field) -> Field:
    if kind == "round":
        return _ellipse(side, v - 0.12, 0.80, 0.74)
    if kind == "block":
        corner = np.float32(0.22)
        a, b = np.maximum(side - 0.72 + corner, 0), np.maximum(np.abs(v - 0.14) - 0.68 + corner, 0)
        result: Field = np.sqrt(a * a + b * b) - corner
        return result
    if kind == "egg":
        return _ellipse(side * (1 - 0.22 * (v - 0.1)), v - 0.10, 0.62, 0.80)
    return _ellipse(side * (1 - 0.42 * np.minimum(v - 0.2, 0.6)), v - 0.12, 0.74, 0.76)


def _ears(kind: str, side: Field, v: Field) -> Field:
    if kind == "pointed":
        return _wedge(side - 0.50, v + 0.92)
    if kind == "round":
        return _ellipse(side - 0.54, v + 0.62, 0.30, 0.30)
    if kind == "tuft":
        return _ellipse(side, v + 0.72, 0.24, 0.32)
    if kind == "long":
        return _ellipse(side - 0.34, v + 0.78, 0.17, 0.48)
    stalk = np.maximum(np.abs(side - 0.30) - 0.07, np.abs(v + 0.72) - 0.34)
    result: Field = np.minimum(stalk, _ellipse(side - 0.30, v + 1.04, 0.20, 0.20))
    return result


def _wedge(x: Field, y: Field) -> Field:
    result: Field = np.maximum((np.abs(x) * 1.9 - (y + 0.22)) * np.float32(0.466), y - 0.62)
    return result


def _eyes(kind: str, u: Field, side: Field, v: Field) -> list[tuple[Field, tuple[int, int, int]]]:
    if kind == "one":
        return [(_ellipse(u, v + 0.10, 0.36, 0.34), _EYE_WHITE), (_ellipse(u, v + 0.08, 0.17, 0.18), _PUPIL)]
    if kind == "two":
        return [
            (_ellipse(side - 0.30, v + 0.10, 0.24, 0.25), _EYE_WHITE),
            (_ellipse(side - 0.27, v + 0.08, 0.12, 0.14), _PUPIL),
        ]
    return [(_ellipse(side - 0.38, v + 0.10, 0.17, 0.19), _PUPIL)]
