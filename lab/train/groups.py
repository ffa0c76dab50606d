"""What the generator trains on: groups of cases whose sequences are equally long, so that no batch is padded with frames.

A group's cases have one task, one number of frames and one number of references. Texts differ in length by a few tokens only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vogue.lab.labels import right_plan
from vogue.lab.world.cases import Case, Split
from vogue.lab.world.exercises import sample_exercise
from vogue.schemas.config import Task

__all__ = ["GROUPS", "Group", "draw_case", "learnt_tasks"]

DENSE_SHARE: Final = 0.15
_TRIES: Final = 32


@dataclass(frozen=True)
class Group:
    """Exercises drawn evenly (a name twice counts twice), of which only cases with `references` references count.

    `mixing` is the share of training batches, `batch` their size: short sequences come in larger batches, which cost no more.
    """

    task: Task
    names: tuple[str, ...]
    mixing: float
    batch: int
    references: int = 0

    @property
    def held(self) -> int:
        """Target frames that are given: an image-to-video's first."""
        return int(self.task is Task.I2V)


GROUPS: Final[dict[str, Group]] = {
    "t2i": Group(Task.T2I, ("t2i", "t2i", "t2i_related"), 0.22, 192),
    "t2v": Group(Task.T2V, ("t2v", "t2v", "t2v", "t2v_related"), 0.34, 64),
    "i2v": Group(Task.I2V, ("i2v",), 0.12, 64),
    "i2i_edit": Group(Task.I2I_EDIT, ("i2i_edit", "i2i_wide"), 0.09, 96),
    "v2v_edit": Group(Task.V2V_EDIT, ("v2v_edit", "v2v_edit", "v2v_wide"), 0.12, 64),
    "ref_i2i": Group(Task.REF_I2I_EDIT, ("ref_i2i_edit", "ref_i2i_edit", "ref_i2i_style"), 0.03, 96, references=1),
    "ref_v2v": Group(Task.REF_V2V_EDIT, ("ref_v2v_edit",), 0.03, 48, references=1),
    "ref2i_1": Group(Task.MULTIID, ("ref2i",), 0.015, 96, references=1),
    "ref2i_2": Group(Task.MULTIID, ("ref2i",), 0.008, 96, references=2),
    "multiid_1": Group(Task.MULTIID, ("multiid_one",), 0.014, 64, references=1),
    "multiid_2": Group(Task.MULTIID, ("multiid", "multiid_views"), 0.006, 64, references=2),
    "multiid_3": Group(Task.MULTIID, ("multiid", "multiid_views"), 0.004, 48, references=3),
    "multiid_4": Group(Task.MULTIID, ("multiid", "multiid_views"), 0.003, 48, references=4),
}


def learnt_tasks() -> frozenset[Task]:
    """The tasks that some group trains."""
    return frozenset(group.task for group in GROUPS.values())


def draw_case(group: Group, seed: int, split: Split = "train") -> tuple[Case, str]:
    """A case of a group, always the same for a seed, and its prompt: now and then the dense prompt of its plan.

    In thinking mode the generator follows dense prompts, so it must have read some.
    """
    rng = np.random.default_rng((seed, 773))
    for attempt in range(_TRIES):
        name = group.names[int(rng.integers(len(group.names)))]
        case = sample_exercise(name, seed * _TRIES + attempt, split)
        if len(case.references) == group.references:
            break
    else:
        raise ValueError(f"no case with {group.references} references among {_TRIES} of {', '.join(group.names)}")
    dense = split == "train" and rng.random() < DENSE_SHARE
    return case, right_plan(case).dense_prompt if dense else case.prompt
