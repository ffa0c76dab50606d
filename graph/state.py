"""What a job's flow remembers and what it is given to work with.

The state is written to disk after every node, so it holds references and small JSON only, as plain values: contracts
go in with `dump` and come out with their `model_validate`. A checkpoint then survives a new version of the code and is read back
without importing anything. What cannot be stored, ports and the job's log, travels beside it as `Flow`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel
from typing_extensions import TypedDict  # typing's own cannot be put into a schema before Python 3.12

from vogue.schemas.config import Preset
from vogue.schemas.jobs import Asset, Stage, StoredAsset
from vogue.schemas.plan import Plan, Trial
from vogue.schemas.ports import Codec, Connector, Denoiser, Understanding
from vogue.schemas.references import Artifact, PreparedVisual
from vogue.schemas.requests import GenerationRequest, JobSpec
from vogue.schemas.stages import DecodedMedia, LatentCheckpoint

__all__ = [
    "Flow",
    "FlowState",
    "Journal",
    "Ports",
    "assets_of",
    "denoise_id",
    "dump",
    "initial_state",
    "prepared_of",
    "request_of",
    "spec_of",
]

Json = dict[str, Any]


class FlowState(TypedDict, total=False):
    """One job on its way. Each key is written by the node named in the comment."""

    job_id: str
    request: Json
    spec: Json  # route, once it is settled; review, with another seed
    uploads: dict[str, Json]  # upload id → StoredAsset
    prepared: list[Json]  # ingest, and route if the plan changed their part: PreparedVisual, in the request's order
    plan: Json  # plan, and approve if it was edited
    contexts: dict[str, Json]  # encode_instruction: pass → TensorRef
    latents: dict[str, Json]  # encode_visuals: tag → TensorRef
    denoised: Json  # denoise: TensorRef
    decoded: Json  # decode: DecodedMedia
    trials: list[Json]  # review: {trial, decoded} of each seed tried so far


class Journal(Protocol):
    """The job's own log. All calls raise when somebody else has taken the job over."""

    async def stage(self, stage: Stage) -> None:
        """A stage begins."""
        ...

    async def step(self, steps_done: int, steps_total: int) -> None:
        """So many steps are finished."""
        ...

    async def preview(self, picture: Artifact, height_px: int, width_px: int, steps_done: int) -> None:
        """What the result looks like after so many steps."""
        ...

    async def notice(self, message: str) -> None:
        """The owner should know this."""
        ...

    async def plan(self, plan: Plan) -> None:
        """This is the plan."""
        ...

    async def settle(self, spec: JobSpec) -> None:
        """This is carried out, whatever was expected before."""
        ...

    async def text(self, start: int, piece: str) -> None:
        """A piece of the answer, which begins after `start` characters; what was told before is no news."""
        ...

    async def answered(self) -> None:
        """The answer is told, and the job is over."""
        ...

    async def trial(self, trial: Trial) -> None:
        """A seed was tried, and scored."""
        ...

    async def resumed(self, steps_done: int) -> None:
        """A denoiser took the job up after so many steps; some may be done again."""
        ...

    async def save_checkpoint(self, checkpoint: LatentCheckpoint) -> None:
        """Latents from which the step loop can go on."""
        ...

    async def last_checkpoint(self) -> LatentCheckpoint | None:
        """The latest of them."""
        ...

    async def complete(self, spec: JobSpec, decoded: DecodedMedia) -> None:
        """The results are there, and the job is over."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The engine services, whoever implements them."""

    understanding: Understanding
    connector: Connector
    denoiser: Denoiser
    codec: Codec


@dataclass(frozen=True, slots=True)
class Flow:
    """What the nodes of one run are given beside the state."""

    preset: Preset
    ports: Ports
    journal: Journal


def dump(message: BaseModel) -> Json:
    """A contract as plain values."""
    values: Json = message.model_dump(mode="json")
    return values


def initial_state(
    job_id: str, request: GenerationRequest, spec: JobSpec, uploads: Sequence[StoredAsset] | Mapping[str, StoredAsset]
) -> FlowState:
    """The state that a job starts from."""
    stored = uploads.values() if isinstance(uploads, Mapping) else uploads
    return FlowState(
        job_id=job_id,
        request=dump(request),
        spec=dump(spec),
        uploads={one.asset.id: dump(one) for one in stored},
    )


def request_of(state: FlowState) -> GenerationRequest:
    """What was asked for."""
    return GenerationRequest.model_validate(state["request"])


def spec_of(state: FlowState) -> JobSpec:
    """What is carried out, as far as it is settled."""
    return JobSpec.model_validate(state["spec"])


def prepared_of(state: FlowState) -> list[PreparedVisual]:
    """The decoded inputs, in the request's order."""
    return [PreparedVisual.model_validate(one) for one in state["prepared"]]


def assets_of(state: FlowState) -> dict[str, Asset]:
    """What is known of each upload."""
    return {upload_id: StoredAsset.model_validate(one).asset for upload_id, one in state["uploads"].items()}


def denoise_id(job_id: str, trial: int) -> str:
    """What the denoiser calls a job's trial, counted from 0; to it each is a job of its own."""
    return job_id if trial == 0 else f"{job_id}.{trial}"
