"""Training examples as files: JSONL with the keys of the release's training example, so that real data takes the same road.

One line is one example: `task`, `prompt`, `target_video` or `target_image`, and where the task has them `cond_video` or
`cond_image` (the source, or the first frame of i2v) and `ref_images`. Paths are relative to the file, or absolute.

    python -m vogue.lab.dataset FOLDER [--task T]… [--count 64] [--seed 0]     writes cases of the mini world
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vogue.engines.media import read_image, read_video, write_image, write_video
from vogue.schemas.config import Task
from vogue.schemas.errors import RequestInvalid

from .world.cases import TASKS, Case, sample_case
from .world.scene import CLIP_FPS, CLIP_FRAMES

Clip = NDArray[np.uint8]
_Refuse = Callable[[str], RequestInvalid]

_KEYS: Final = frozenset(
    {"task", "prompt", "target_video", "target_image", "cond_video", "cond_image", "ref_images"},
)


@dataclass(frozen=True, slots=True)
class Example:
    """One line, its files not yet read. Paths are as usable from here."""

    task: Task
    prompt: str
    target: Path
    condition: Path | None
    references: tuple[Path, ...]
    target_is_video: bool
    condition_is_video: bool

    def read_target(self, max_frames: int) -> Clip:
        """Frames [T, H, W, 3]. Raises MediaUnreadable, LimitExceeded."""
        return _read(self.target, self.target_is_video, max_frames)

    def read_condition(self, max_frames: int) -> Clip | None:
        """Frames [T, H, W, 3] of the source or first frame. Raises MediaUnreadable, LimitExceeded."""
        return None if self.condition is None else _read(self.condition, self.condition_is_video, max_frames)

    def read_references(self) -> list[Clip]:
        """Each reference [1, H, W, 3]. Raises MediaUnreadable, LimitExceeded."""
        return [_read(path, False, 1) for path in self.references]


def write_cases(cases: Iterable[Case], folder: Path) -> Path:
    """Write cases as `data.jsonl` with mp4 and png files beside it; returns the path of the JSONL."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "data.jsonl"
    with index.open("w", encoding="utf-8") as lines:
        for number, case in enumerate(cases):
            stem = f"{number:06d}-{case.task}"
            line: dict[str, object] = {"task": case.task, "prompt": case.prompt}
            line |= _write("target", case.target, folder, stem)
            condition = case.source if case.source is not None else case.first_frame
            if condition is not None:
                line |= _write("cond", condition, folder, stem)
            if case.references:
                names = [f"{stem}-ref{at}.png" for at in range(len(case.references))]
                for name, reference in zip(names, case.references, strict=True):
                    write_image(reference, folder / name)
                line["ref_images"] = names
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    return index


def read_examples(index: Path) -> Iterator[Example]:
    """Read a JSONL line by line.

    Raises:
        RequestInvalid: a line is no example; the message names file, line and key.
    """
    with index.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _parse(line, index, number)


def _parse(line: str, index: Path, number: int) -> Example:
    def refuse(why: str) -> RequestInvalid:
        return RequestInvalid(f"{index}, line {number}: {why}")

    try:
        told = json.loads(line)
    except ValueError as error:
        raise refuse(f"not JSON ({error})") from error
    if not isinstance(told, dict) or not isinstance(told.get("prompt"), str) or not told["prompt"].strip():
        raise refuse("an example is an object with a `prompt`")
    if unknown := sorted(set(told) - _KEYS):
        raise refuse(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}")
    try:
        task = Task(str(told.get("task")))
    except ValueError as error:
        raise refuse(f"unknown task {told.get('task')!r}") from error
    target, target_is_video = _one_of(told, "target", index, refuse)
    condition, condition_is_video = _one_of(told, "cond", index, refuse)
    if target is None:
        raise refuse("neither `target_video` nor `target_image`")
    references = told.get("ref_images", [])
    if not isinstance(references, list) or not all(isinstance(path, str) and path for path in references):
        raise refuse("`ref_images` is a list of paths")
    paths = tuple(index.parent / path for path in references)
    return Example(task, told["prompt"].strip(), target, condition, paths, target_is_video, condition_is_video)


def _one_of(told: Mapping[str, object], what: str, index: Path, refuse: _Refuse) -> tuple[Path | None, bool]:
    given = {kind: told[f"{what}_{kind}"] for kind in ("video", "image") if told.get(f"{what}_{kind}") is not None}
    if len(given) > 1:
        raise refuse(f"both `{what}_video` and `{what}_image`")
    for kind, path in given.items():
        if not isinstance(path, str) or not path:
            raise refuse(f"`{what}_{kind}` is a path, not {path!r}")
        return index.parent / path, kind == "video"
    return None, False


def _write(what: str, clip: Clip, folder: Path, stem: str) -> dict[str, object]:
    if len(clip) > 1:
        name = f"{stem}-{what}.mp4"
        write_video(clip, CLIP_FPS, folder / name)
        return {f"{what}_video": name}
    name = f"{stem}-{what}.png"
    write_image(clip, folder / name)
    return {f"{what}_image": name}


def _read(path: Path, video: bool, max_frames: int) -> Clip:
    return read_video(path, max_frames=max_frames).frames if video else read_image(path)[None]


def main(arguments: list[str] | None = None) -> int:
    """Write training cases of the mini world as files."""
    parser = argparse.ArgumentParser(
        prog="python -m vogue.lab.dataset", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--count", type=int, default=64, help="examples of each task")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    tasks = options.task or TASKS
    cases = (sample_case(task, options.seed + at) for at in range(options.count) for task in tasks)
    index = write_cases(cases, options.folder)
    sys.stdout.write(f"{index}: {options.count * len(tasks)} examples, clips of {CLIP_FRAMES} frames\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
