"""The ports of the services with networks, over Ray Serve handles."""

from __future__ import annotations

from collections.abc import AsyncIterator

from vogue.schemas.plan import Plan, Review
from vogue.schemas.recipes import Maker
from vogue.schemas.references import Artifact, PreparedVisual, TensorRef
from vogue.schemas.stages import (
    AnswerRequest,
    DecodedMedia,
    DecodeRequest,
    DenoiseEvent,
    DenoiseJob,
    EncodeInstructionRequest,
    EncodeVisualRequest,
    FrameComparison,
    LatentCheckpoint,
    MediaFacts,
    PassStates,
    PlanRequest,
    PrepareRequest,
    PreviewRequest,
    ProbeRequest,
    ProjectRequest,
    ReviewRequest,
)

from .remote import Remote

__all__ = ["RemoteCodec", "RemoteConnector", "RemoteDenoiser", "RemoteUnderstanding"]


class RemoteUnderstanding(Remote):
    """`Understanding` in another process."""

    def answer(self, request: AnswerRequest) -> AsyncIterator[str]:
        """Stream the answer's text in pieces."""
        return self._stream("answer", request)

    async def plan(self, request: PlanRequest) -> Plan:
        """Turn an instruction into a plan."""
        plan: Plan = await self._call("plan", request)
        return plan

    async def review(self, request: ReviewRequest) -> Review:
        """Score a result."""
        review: Review = await self._call("review", request)
        return review

    async def encode(self, request: EncodeInstructionRequest) -> PassStates:
        """Hidden states [L, D] for each pass asked for."""
        states: PassStates = await self._call("encode", request)
        return states


class RemoteConnector(Remote):
    """`Connector` in another process."""

    async def project(self, request: ProjectRequest) -> PassStates:
        """Context [L, D'] for each pass given."""
        states: PassStates = await self._call("project", request)
        return states


class RemoteDenoiser(Remote):
    """`Denoiser` in another process; each job has one replica (see `routing.py`)."""

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        """Begin a job."""
        await self._call("start", job, resume_from, session_id=job.job_id)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        """Events with `seq > after`, until the final one."""
        async for batch in self._stream("events", job_id, after, session_id=job_id):
            for event in batch:
                yield event

    async def cancel(self, job_id: str) -> None:
        """Stop stepping within one step."""
        await self._call("cancel", job_id, session_id=job_id)

    async def room_bytes(self) -> int | None:
        """Memory for rows beside the weights."""
        room: int | None = await self._call("room_bytes")
        return room


class RemoteCodec(Remote):
    """`Codec` in another process."""

    async def probe(self, request: ProbeRequest) -> MediaFacts:
        """Look at an upload."""
        facts: MediaFacts = await self._call("probe", request)
        return facts

    async def prepare(self, request: PrepareRequest) -> PreparedVisual:
        """Decode an upload once."""
        prepared: PreparedVisual = await self._call("prepare", request)
        return prepared

    async def encode(self, request: EncodeVisualRequest) -> TensorRef:
        """Latents of a prepared visual."""
        ref: TensorRef = await self._call("encode", request)
        return ref

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        """Frames, file and poster of latents."""
        decoded: DecodedMedia = await self._call("decode", request)
        return decoded

    async def preview(self, request: PreviewRequest) -> Artifact:
        """A small picture of latents on the way."""
        artifact: Artifact = await self._call("preview", request)
        return artifact

    async def maker(self) -> Maker:
        """What makes the pixels."""
        maker: Maker = await self._call("maker")
        return maker

    async def compare(self, a: TensorRef, b: TensorRef) -> FrameComparison:
        """Hold two results' frames against each other."""
        seen: FrameComparison = await self._call("compare", a, b)
        return seen

    async def sheet(self, original: Artifact) -> Artifact:
        """A grid of a clip's frames."""
        artifact: Artifact = await self._call("sheet", original)
        return artifact
