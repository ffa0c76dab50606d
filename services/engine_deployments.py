"""The four Ray Serve deployments with networks: thin shells that put each service into a process of its own.

Nothing is decided here.
"""

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

from .batching import batches
from .config import AppConfig
from .shells import EngineShell

__all__ = ["CodecDeployment", "ConnectorDeployment", "DenoiserDeployment", "UnderstandingDeployment"]


class UnderstandingDeployment(EngineShell):
    """The MLLM."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.understanding)
        from .understanding import UnderstandingService

        self._service = self.place.torch.call(UnderstandingService.load, self.place)

    async def answer(self, request: AnswerRequest) -> AsyncIterator[str]:
        """See `Understanding.answer`."""
        async for piece in self._service.answer(request):
            yield piece

    async def plan(self, request: PlanRequest) -> Plan:
        """See `Understanding.plan`."""
        return await self._service.plan(request)

    async def review(self, request: ReviewRequest) -> Review:
        """See `Understanding.review`."""
        return await self._service.review(request)

    async def encode(self, request: EncodeInstructionRequest) -> PassStates:
        """See `Understanding.encode`."""
        return await self._service.encode(request)


class ConnectorDeployment(EngineShell):
    """The connector."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.connector)
        from .connector import ConnectorService

        self._service = self.place.torch.call(ConnectorService.load, self.place)

    async def project(self, request: ProjectRequest) -> PassStates:
        """See `Connector.project`."""
        return await self._service.project(request)


class DenoiserDeployment(EngineShell):
    """The MMDiT and its step loop."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.denoiser)
        from .denoiser import DenoiserService
        from .stepping import free_bytes, load_loop, straight_on
        from .turns import Turns

        own = config.denoiser
        loop = self.place.torch.call(load_loop, self.place)
        self._service = DenoiserService(
            loop,
            self.place.blobs,
            foresee=straight_on(self.place.preset.schedule),
            worker=self.place.torch.executor,
            turns=Turns(own.max_rows, own.max_bytes or free_bytes(self.place.device)),
        )

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        """See `Denoiser.start`."""
        await self._service.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[tuple[DenoiseEvent, ...]]:
        """See `Denoiser.events`. Latents to go on from must not wait: what is done after them is done again."""
        events = self._service.events(job_id, after)
        async for batch in batches(events, lambda event: event.kind != "step"):
            yield batch

    async def cancel(self, job_id: str) -> None:
        """See `Denoiser.cancel`."""
        await self._service.cancel(job_id)

    async def room_bytes(self) -> int | None:
        """See `Denoiser.room_bytes`."""
        return await self._service.room_bytes()

    async def __del__(self) -> None:
        await self._service.close()


class CodecDeployment(EngineShell):
    """The VAE and ffmpeg."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.codec)
        from .codec import CodecService

        self._service = self.place.torch.call(CodecService.load, self.place)

    async def probe(self, request: ProbeRequest) -> MediaFacts:
        """See `Codec.probe`."""
        return await self._service.probe(request)

    async def prepare(self, request: PrepareRequest) -> PreparedVisual:
        """See `Codec.prepare`."""
        return await self._service.prepare(request)

    async def encode(self, request: EncodeVisualRequest) -> TensorRef:
        """See `Codec.encode`."""
        return await self._service.encode(request)

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        """See `Codec.decode`."""
        return await self._service.decode(request)

    async def preview(self, request: PreviewRequest) -> Artifact:
        """See `Codec.preview`."""
        return await self._service.preview(request)

    async def maker(self) -> Maker:
        """See `Codec.maker`."""
        return await self._service.maker()

    async def compare(self, a: TensorRef, b: TensorRef) -> FrameComparison:
        """See `Codec.compare`."""
        return await self._service.compare(a, b)

    async def sheet(self, original: Artifact) -> Artifact:
        """See `Codec.sheet`."""
        return await self._service.sheet(original)
