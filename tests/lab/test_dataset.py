"""The JSONL bridge: what is written is read back, and a bad line is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vogue.lab.dataset import read_examples, write_cases
from vogue.lab.scoring import psnr
from vogue.lab.world.cases import sample_case
from vogue.schemas.errors import MediaUnreadable, RequestInvalid


def test_cases_survive_as_files(tmp_path: Path, ffmpeg_path: Path) -> None:
    cases = [sample_case(task, 3) for task in ("t2i", "i2v", "v2v_edit")]  # type: ignore[arg-type]
    examples = list(read_examples(write_cases(cases, tmp_path)))
    for case, example in zip(cases, examples, strict=True):
        assert (example.task, example.prompt) == (case.task, case.prompt)
        assert psnr(example.read_target(17), case.target) > 25
        given = case.source if case.source is not None else case.first_frame
        read = example.read_condition(17)
        assert (read is None) == (given is None)
        if read is not None and given is not None:
            assert read.shape == given.shape and psnr(read, given) > 25
    assert np.array_equal(examples[0].read_target(1), cases[0].target)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[]", "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "a", "task": "t2x"}, "t2x"),
        ({"prompt": "a", "task": "t2i"}, "target_image"),
        ({"prompt": "a", "task": "t2i", "target_image": "a.png", "target_video": "a.mp4"}, "both"),
        ({"prompt": "a", "task": "t2i", "target_image": 3}, "path"),
        ({"prompt": "a", "task": "t2i", "target_image": "a.png", "ref_images": "b.png"}, "list"),
        ({"prompt": "a", "task": "t2i", "target_image": "a.png", "mask": "b.png"}, "mask"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, why: str) -> None:
    index = tmp_path / "data.jsonl"
    index.write_text("\n" + (line if isinstance(line, str) else json.dumps(line)) + "\n")
    with pytest.raises(RequestInvalid, match=rf"line 2: .*{why}"):
        list(read_examples(index))


def test_a_missing_file_is_a_typed_error(tmp_path: Path) -> None:
    index = tmp_path / "data.jsonl"
    index.write_text(json.dumps({"task": "t2i", "prompt": "a star", "target_image": "gone.png"}) + "\n")
    with pytest.raises(MediaUnreadable):
        next(read_examples(index)).read_target(1)
