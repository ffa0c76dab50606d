"""Is the analyser right? Reads renders whose facts are known and counts; without this no score means anything.

python -m vogue.lab.world.validate [--count 256] [--seed 0] [--styles]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .analyse import ClipFacts, SubjectFacts, analyse
from .creature import IDENTITIES, line_up
from .render import render
from .scene import CLIP_FRAMES, MOTIONS, STYLES, Creature, Scene, Subject, sample_place, sample_scene

Clip = NDArray[np.uint8]
NEAR_PX = 3.0


@dataclass(frozen=True, slots=True)
class Tally:
    """How often each fact was read right."""

    right: Counter[str]
    asked: Counter[str]

    def rate(self, fact: str) -> float:
        """Share of right answers, 0–1."""
        return self.right[fact] / max(1, self.asked[fact])


def compare(scene: Scene, facts: ClipFacts, *, video: bool = True) -> Iterator[tuple[str, bool]]:
    """Each fact of a scene and whether it was read; subjects are paired by place."""
    yield "background", facts.background == scene.background
    yield "style", facts.style == scene.style
    yield "count", len(facts.subjects) == len(scene.subjects)
    unread = list(facts.subjects)
    for actor in scene.subjects:
        if not unread:
            yield "found", False
            continue
        seen = min(unread, key=lambda subject: np.hypot(subject.x - actor.x, subject.y - actor.y))
        unread.remove(seen)
        yield "found", True
        yield "place", bool(np.hypot(seen.x - actor.x, seen.y - actor.y) < NEAR_PX)
        if video:
            yield "motion", seen.motion == actor.motion
        yield from _named(actor, seen) if isinstance(actor, Subject) else _unnamed(actor, seen)


def tally(pairs: Iterable[tuple[Scene, Clip, tuple[int, ...]]]) -> Tally:
    """Analyse clips of known scenes; the third item of each is the line-up of creatures to tell apart."""
    result = Tally(Counter(), Counter())
    for scene, clip, creatures in pairs:
        for fact, right in compare(scene, analyse(clip, creatures), video=len(clip) > 1):
            result.asked[fact] += 1
            result.right[fact] += right
    return result


def named_scenes(count: int, seed: int, *, style: str = "none") -> Iterator[tuple[Scene, tuple[int, ...]]]:
    """Scenes of named shapes."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(7, STYLES.index(style)))))
    for _ in range(count):
        yield sample_scene(rng, style=style), ()


def creature_scenes(count: int, seed: int) -> Iterator[tuple[Scene, tuple[int, ...]]]:
    """Scenes of one creature, with a line-up of 16 that differ from it in one part or colour."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(8,))))
    for _ in range(count):
        identity = int(rng.integers(IDENTITIES))
        motion = MOTIONS[int(rng.integers(len(MOTIONS)))]
        creature = Creature(identity, "large", 0.0, 0.0, motion)
        x, y = sample_place(rng, motion, creature.radius)
        background = sample_scene(rng).background
        scene = Scene(background, "none", (Creature(identity, "large", x, y, motion),))
        yield scene, line_up(identity, 16, rng)


def report(title: str, result: Tally, emit: Callable[[str], object]) -> None:
    """One line a fact."""
    emit(f"{title}\n")
    for fact in result.asked:
        emit(f"  {fact:<12}{result.rate(fact):7.3f}  of {result.asked[fact]}\n")


def main(arguments: list[str] | None = None) -> int:
    """Print the table; exit 1 when a fact of a plain render is read right less than 99 times in 100."""
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.world.validate", description=__doc__)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--styles", action="store_true", help="also every style")
    chosen = parser.parse_args(arguments)
    emit = sys.stdout.write
    drawn = [
        (scene, render(scene, CLIP_FRAMES), creatures) for scene, creatures in named_scenes(chosen.count, chosen.seed)
    ]
    results = [tally(drawn)]
    report("videos of named shapes", results[0], emit)
    results.append(tally((scene, clip[:1], creatures) for scene, clip, creatures in drawn))
    report("pictures of named shapes", results[1], emit)
    results.append(tally((s, render(s, CLIP_FRAMES), c) for s, c in creature_scenes(chosen.count // 4, chosen.seed)))
    report("videos of creatures, line-up of 16", results[2], emit)
    for style in STYLES[1:] if chosen.styles else ():
        pairs = named_scenes(chosen.count // 4, chosen.seed, style=style)
        report(f"style {style}", tally((s, render(s, CLIP_FRAMES), c) for s, c in pairs), emit)
    return int(any(result.rate(fact) < 0.99 for result in results for fact in result.asked))


def _named(actor: Subject, seen: SubjectFacts) -> Iterator[tuple[str, bool]]:
    yield "shape", seen.shape == actor.shape
    yield "color", seen.color == actor.color
    yield "material", seen.material == actor.material
    yield "size", seen.size == actor.size


def _unnamed(actor: Creature, seen: SubjectFacts) -> Iterator[tuple[str, bool]]:
    yield "identity", seen.creature == actor.identity


if __name__ == "__main__":
    sys.exit(main())
