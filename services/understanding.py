"""The `Understanding` port over the MLLM engine: tensors come and go as references."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from vogue.engines.conditioning import Canvas, Visual, question, readings
from vogue.engines.loading import load_prompts
from vogue.engines.mllm import MLLM
from vogue.engines.mllm_loading import load_mllm
from vogue.engines.processor import Patches
from vogue.schemas.config import Prompts
from vogue.schemas.errors import ReviewUnavailable, ThinkingUnavailable
from vogue.schemas.plan import Plan, Review
from vogue.schemas.references import PreparedVisual, TensorRef
from vogue.schemas.stages import AnswerRequest, EncodeInstructionRequest, PassStates, PlanRequest, ReviewRequest

from .workplace import TorchThread, Workplace, array_of, tensor_of

__all__ = ["UnderstandingService"]

if TYPE_CHECKING:
    from .blobs import BlobStore


def visuals_of(prepared: tuple[PreparedVisual, ...], blobs: BlobStore) -> tuple[Visual, ...]:
    """Prepared visuals with their frames."""
    return tuple(
        Visual(one.role, one.kind, blobs.get_tensor(one.frames), made_here=one.latents is not None) for one in prepared
    )


class UnderstandingService:
    """Reads instructions and pictures."""

    def __init__(self, mllm: MLLM, prompts: Prompts, place: Workplace) -> None:
        self._mllm = mllm
        self._prompts = prompts
        self._place = place
        self._thread = TorchThread("mllm")
        mllm.eyes = self._look

    @classmethod
    def load(cls, place: Workplace) -> UnderstandingService:
        """Load the preset's MLLM."""
        prompts = load_prompts(place.weights, place.preset)
        overlaid = place.weights / "mllm.ckpt"
        mllm = load_mllm(
            place.weights / "mllm",
            place.preset.mllm,
            prompts.system,
            place.device,
            place.dtype,
            overlaid=overlaid if overlaid.is_file() else None,
        )
        return cls(mllm, prompts, place)

    async def answer(self, request: AnswerRequest) -> AsyncIterator[str]:
        """Stream the answer's text in pieces."""
        pieces: Iterator[str] = await self._thread.run(self._answering, request)
        while (piece := await self._thread.run(next, pieces, None)) is not None:
            yield piece

    def _answering(self, request: AnswerRequest) -> Iterator[str]:
        config = self._place.preset.mllm
        reading = question(request.instruction, visuals_of(request.visuals, self._place.blobs), config)
        return self._mllm.answer(reading, min(request.max_new_tokens, config.max_new_tokens))

    async def plan(self, request: PlanRequest) -> Plan:
        """Not yet: no preset's weights have learnt to plan.

        Raises:
            ThinkingUnavailable: always.
        """
        raise ThinkingUnavailable(
            f"the preset {self._place.preset.name} has not learnt to write plans; send thinking as off or auto"
        )

    async def review(self, request: ReviewRequest) -> Review:
        """Not yet: no preset's weights have learnt to score.

        Raises:
            ReviewUnavailable: always.
        """
        raise ReviewUnavailable(f"the weights of the preset {self._place.preset.name} have not learnt to score results")

    def _look(self, patches: Patches) -> Tensor:
        """The vision tower's states of a picture, which another instruction about it finds here again."""

        def look() -> TensorRef:
            return self._place.blobs.put_tensor(array_of(self._mllm.look(patches)))

        seen = self._place.cached_here("understanding.look", TensorRef, {}, (patches.digest,), look)
        return tensor_of(self._place.blobs.get_tensor(seen))

    async def encode(self, request: EncodeInstructionRequest) -> PassStates:
        """Hidden states [L, D] for each pass asked for."""
        parameters = request.model_dump(mode="json", exclude={"visuals"})
        parameters["prompts"] = self._prompts.model_dump(mode="json")
        parameters["visuals"] = [[one.role, one.kind, one.latents is not None] for one in request.visuals]
        inputs = tuple(one.frames.sha256 for one in request.visuals)

        async def compute() -> PassStates:
            return await self._thread.run(self._encode, request)

        return await self._place.cached("understanding.encode", PassStates, parameters, inputs, compute)

    def _encode(self, request: EncodeInstructionRequest) -> PassStates:
        made = readings(
            request.task,
            request.instruction,
            request.negative_prompt,
            visuals_of(request.visuals, self._place.blobs),
            Canvas(request.height_px, request.width_px, self._place.preset.area_px),
            request.passes,
            self._prompts,
            self._place.preset.mllm,
        )
        encoded = self._mllm.encode(list(made.values()))
        states = zip(made, encoded, strict=True)
        return PassStates(states={name: self._place.blobs.put_tensor(array_of(rows)) for name, rows in states})
