"""Reviews by oracles: each kind of mistake costs the score that it should."""

from __future__ import annotations

import numpy as np
import pytest

from vogue.lab.reviews import SPOILINGS, judge, spoil
from vogue.lab.world.exercises import sample_exercise


def _rng() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(1))


def test_each_mistake_costs_its_own_score() -> None:
    case = sample_exercise("i2i_wide", 4, "eval", kind="recolour")
    reviews = {how: judge(case, spoil(case, how, _rng())) for how in SPOILINGS}
    assert reviews["exact"].score == 10
    assert reviews["undone"].instruction_following == 0 and reviews["undone"].over_editing == 10
    assert reviews["worn"].quality < 10
    assert (reviews["overdone"].over_editing or 0) < 10 and reviews["overdone"].score < 10


def test_what_is_made_from_nothing_cannot_be_overdone() -> None:
    case = sample_exercise("t2i", 2, "eval")
    assert judge(case, case.target).over_editing is None and judge(case, case.target).score == 10
    assert judge(case, spoil(case, "other", _rng())).instruction_following < 10
    with pytest.raises(ValueError, match="none of"):
        spoil(case, "burnt", _rng())
