"""How much a second turn saves, on a running server: `python -m vogue.lab.second_turn --server URL`.

Each conversation brings in a clip that the server has never seen, edits it, edits the same clip with other words, edits the last
result, and does that turn again with another seed. Of each turn are measured the time before its first step, in which inputs are
read and encoded, and the time until its end; a ratio is that of the first turn's. How often the server computed and looked up
stands beside it, from its own counters.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

import httpx
import numpy as np

from vogue import Clip, Vogue
from vogue.blocking_sessions import SessionHandle, TurnHandle
from vogue.schemas.jobs import EventKind, JobEvent, Stage

__all__ = ["TURNS", "Took", "converse", "ratios"]

TURNS = ("the clip", "the same clip again", "the last result", "that with another seed")
_ENCODING = ("codec.prepare", "codec.encode", "understanding.look")


class Took(NamedTuple):
    """Seconds of a turn: before its first step, and in all."""

    before_s: float
    total_s: float


def took(events: Sequence[JobEvent]) -> Took:
    """From a finished job's log; time in the queue does not count.

    Raises:
        ValueError: the job did not come to its end, or made no media.
    """
    began = next((one.time_s for one in events if one.kind is EventKind.STAGE), None)
    stepped = next((one.time_s for one in events if one.stage is Stage.DENOISE), None)
    ended = next((one.time_s for one in events if one.kind is EventKind.COMPLETED), None)
    if began is None or stepped is None or ended is None:
        raise ValueError("the log has no beginning, no steps or no end")
    return Took(stepped - began, ended - began)


def converse(vogue: Vogue, clip: Clip, steps: int) -> tuple[list[Took], list[dict[str, int]]]:
    """One conversation: what each of `TURNS` took, and how often it made the server encode."""
    session: SessionHandle = vogue.sessions.create("second turns")
    times, counts = [], []
    before = _computed(vogue)

    def note(turn: TurnHandle) -> None:
        nonlocal before
        turn.wait()
        times.append(took(list(turn.events())))
        after = _computed(vogue)
        counts.append({name: after[name] - before[name] for name in _ENCODING})
        before = after

    note(session.say("make it blue", source=clip, steps=steps, seed=1))
    note(session.say("make video1 red", steps=steps, seed=2))
    note(session.say("now make it green", steps=steps, seed=3))
    note(session.replay(3, seed=4))
    return times, counts


def ratios(conversations: Sequence[Sequence[Took]]) -> list[dict[str, float | str]]:
    """Of each turn the medians over all conversations, and its times by those of the first turn."""
    rows: list[dict[str, float | str]] = []
    for index, name in enumerate(TURNS):
        before = statistics.median(one[index].before_s for one in conversations)
        total = statistics.median(one[index].total_s for one in conversations)
        before_ratio = statistics.median(one[index].before_s / one[0].before_s for one in conversations)
        total_ratio = statistics.median(one[index].total_s / one[0].total_s for one in conversations)
        rows.append(
            {
                "turn": name,
                "before_s": round(before, 3),
                "before_ratio": round(before_ratio, 3),
                "total_s": round(total, 3),
                "total_ratio": round(total_ratio, 3),
            }
        )
    return rows


def _computed(vogue: Vogue) -> dict[str, int]:
    answer = httpx.get(f"{vogue.server}/v1/counters", timeout=60)
    answer.raise_for_status()
    found = {one["operation"]: one["computed"] for one in answer.json()["data"]}
    return {name: found.get(name, 0) for name in _ENCODING}


def _clip(seed: int, num_frames: int, side_px: int) -> Clip:
    """A patch of noise that moves over noise: no two seeds give equal bytes."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(rng.integers(0, 255, (1, side_px, side_px, 3), dtype=np.uint8), num_frames, axis=0)
    patch = rng.integers(0, 255, (side_px // 4, side_px // 4, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        left = index * (side_px // 2) // num_frames
        frame[left : left + len(patch), left : left + len(patch)] = patch
    return Clip(frames, fps=8.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", help="by default VOGUE_SERVER, else this machine's port 8000")
    parser.add_argument("--conversations", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--side-px", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    with Vogue(chosen.server) as vogue:
        done = [
            converse(vogue, _clip(chosen.seed + n, chosen.frames, chosen.side_px), chosen.steps)
            for n in range(chosen.conversations)
        ]
        preset = vogue.models()[0]["id"]
    rows = ratios([times for times, _ in done])
    encoded = [{name: max(counts[n][name] for _, counts in done) for name in _ENCODING} for n in range(len(TURNS))]
    if chosen.json:
        found = {"preset": preset, "steps": chosen.steps, "turns": rows, "encoded": encoded}
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    lines = [
        f"{preset}, {chosen.steps} steps, {chosen.frames} frames of {chosen.side_px} px, {len(done)} conversations",
        f"{'turn edits':24} {'before the steps':>22} {'in all':>22}   computed: {', '.join(_ENCODING)}",
    ]
    for row, counts in zip(rows, encoded, strict=True):
        before, total = (f"{row[f'{what}_s']:8.3f} s  × {row[f'{what}_ratio']:5.2f}" for what in ("before", "total"))
        numbers = ", ".join(str(counts[name]) for name in _ENCODING)
        lines.append(f"{row['turn']:24} {before:>22} {total:>22}   {numbers}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
