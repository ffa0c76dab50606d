"""Sessions: a conversation as a tree of turns. Each turn is one job; the head is the turn that the next one follows.

Every asset of a session has a tag that people can say: `turn2` is the result of the second turn, `image1` and `video1` are
files that were brought in. What an instruction refers to by them is settled in `referring.py`.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveInt, StringConstraints, model_validator

from .base import Contract, Message
from .config import Role
from .jobs import Asset, Job
from .references import Tag
from .requests import AssetId, GenerationRequest

__all__ = [
    "Comparison",
    "Difference",
    "HeadRequest",
    "ReplayTurnRequest",
    "Session",
    "SessionRequest",
    "SessionSummary",
    "SessionTag",
    "TaggedAsset",
    "Turn",
    "TurnInput",
    "TurnRequest",
    "TurnVisual",
    "UndoRequest",
]

SessionTag = Annotated[str, StringConstraints(pattern=r"^(turn|image|video)[1-9][0-9]{0,3}$")]
"""How people call an asset of a session: `turn3`, `image1`, `video2`."""

_TurnNumber = Annotated[int, Field(ge=0)]
"""A turn, or 0 for the start, before the first one."""


class SessionRequest(Message):
    """A new session."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""


class TurnInput(Contract):
    """Something a turn shall look at: an asset of the session by its tag, or an upload or result that is new to it.

    Without a role it is the source if nothing else is, and a reference beside one.
    """

    tag: SessionTag | None = None
    upload_id: AssetId | None = None
    role: Role | None = None

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        if (self.tag is None) is (self.upload_id is None):
            raise ValueError("name either a tag of the session or an upload_id")
        return self


class TurnRequest(GenerationRequest):
    """The next turn: a request whose visuals are found from what the instruction says.

    `now make it blue` edits the last result, `put the fox from turn 1 on it` shows an earlier one beside it. `inputs` says it
    explicitly and brings in new files; `visuals` stays empty. `parent` is the turn to follow instead of the head (0: none), which
    branches. With `expected_head` the turn is refused if another one came first.
    """

    inputs: Annotated[tuple[TurnInput, ...], Field(max_length=16)] = ()
    parent: _TurnNumber | None = None
    expected_head: _TurnNumber | None = None

    @model_validator(mode="after")
    def _visuals_are_inputs(self) -> Self:
        if self.visuals:
            raise ValueError("in a session, name visuals in `inputs`, by tag or upload_id")
        return self

    def outside(self) -> GenerationRequest:
        """The request without what belongs to the session."""
        known = {name: getattr(self, name) for name in GenerationRequest.model_fields if name in self.model_fields_set}
        return GenerationRequest(**known)


class TurnVisual(Contract):
    """What a turn looked at: its tag in the session, what the job's instruction calls it, and its part.

    `turn` is the turn that made it. `still` says that a clip was taken as its first picture.
    """

    tag: SessionTag
    called: Tag
    role: Role
    asset_id: AssetId
    turn: PositiveInt | None = None
    still: bool = False


class Turn(Message):
    """One turn. `parent` is the turn it followed; `inputs` are its other parents.

    The job holds the rest of the record: plan, seed, parameters, results. It is None once its owner has deleted it. `replay_of` is
    the turn that was done again with another seed.
    """

    session_id: str
    number: PositiveInt
    parent: PositiveInt | None
    instruction: str
    inputs: tuple[TurnVisual, ...] = ()
    replay_of: PositiveInt | None = None
    created_at_s: float
    job_id: str
    job: Job | None = None

    @property
    def result(self) -> Asset | None:
        """What it made, once it has."""
        return self.job.assets[0] if self.job is not None and self.job.assets else None


class TaggedAsset(Contract):
    """An asset of a session and what to call it."""

    tag: SessionTag
    asset: Asset
    turn: PositiveInt | None = None


class SessionSummary(Message):
    """A session in a list."""

    id: str
    title: str = ""
    created_at_s: float
    head: PositiveInt | None = None
    num_turns: Annotated[int, Field(ge=0)] = 0


class Session(SessionSummary):
    """A whole session: its turns by number, and every asset with its tag."""

    turns: tuple[Turn, ...] = ()
    assets: tuple[TaggedAsset, ...] = ()

    def turn(self, number: int) -> Turn | None:
        """The turn of that number."""
        return next((turn for turn in self.turns if turn.number == number), None)


class HeadRequest(Message):
    """Move the head to any turn, or to the start. With `expected_head`, only from there."""

    turn: _TurnNumber
    expected_head: _TurnNumber | None = None


class UndoRequest(Message):
    """Move the head to its parent. With `expected_head`, only from there."""

    expected_head: _TurnNumber | None = None


class ReplayTurnRequest(Message):
    """Do a turn again, with the seed given or a new one."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Difference(Contract):
    """A parameter that differs, as text; None where one turn does not have it."""

    name: str
    a: str | None
    b: str | None


class Comparison(Message):
    """Two turns: the parameters that differ, and how far apart their pixels are.

    `psnr_db` is over all frames, None where the pixels are equal (`identical`) or where sizes or lengths differ. With
    `has_picture` there is one of both, side by side.
    """

    session_id: str
    a: PositiveInt
    b: PositiveInt
    differences: tuple[Difference, ...] = ()
    identical: bool = False
    psnr_db: float | None = None
    has_picture: bool = False
