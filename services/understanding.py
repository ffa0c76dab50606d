"""The `Understanding` port over the MLLM engine: tensors come and go as references."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vogue.engines.conditioning import Canvas, Visual, question, readings
from vogue.engines.generation import Sampling
from vogue.engines.loading import load_prompts
from vogue.engines.mllm import MLLM
from vogue.engines.mllm_loading import load_mllm
from vogue.engines.processor import Patches
from vogue.engines.thinking import (
    plan_instruction,
    plan_schema,
    read_plan,
    read_review,
    review_instruction,
    review_schema,
)
from vogue.schemas.config import Prompts, Role
from vogue.schemas.errors import ReviewUnavailable, ThinkingUnavailable
from vogue.schemas.plan import Plan, Review
from vogue.schemas.references import MediaKind, PreparedVisual, TensorRef
from vogue.schemas.stages import AnswerRequest, EncodeInstructionRequest, PassStates, PlanRequest, ReviewRequest

from .metrics import MLLM_TOKENS, operation
from .workplace import Workplace, array_of, tensor_of

__all__ = ["UnderstandingService"]

if TYPE_CHECKING:
    from .blobs import BlobStore


def visuals_of(prepared: tuple[PreparedVisual, ...], blobs: BlobStore) -> tuple[Visual, ...]:
    """Prepared visuals with their frames."""
    return tuple(
        Visual(one.role, one.kind, blobs.get_tensor(one.frames), made_here=one.latents is not None) for one in prepared
    )


def _count(read: int, written: int) -> None:
    MLLM_TOKENS.add(read, kind="read")
    MLLM_TOKENS.add(written, kind="written")


class UnderstandingService:
    """Reads instructions and pictures."""

    def __init__(self, mllm: MLLM, prompts: Prompts, place: Workplace) -> None:
        self._mllm = mllm
        self._prompts = prompts
        self._place = place
        self._thread = place.torch
        mllm.eyes = self._look
        mllm.count = _count

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
        with operation("understanding.answer"):
            pieces: Iterator[str] = await self._thread.run(self._answering, request)
            while (piece := await self._thread.run(next, pieces, None)) is not None:
                yield piece

    def _answering(self, request: AnswerRequest) -> Iterator[str]:
        config = self._place.preset.mllm
        reading = question(request.instruction, visuals_of(request.visuals, self._place.blobs), config)
        budget = min(request.max_new_tokens, config.max_new_tokens)
        return self._mllm.answer(reading, budget, Sampling(request.temperature, request.seed))

    async def plan(self, request: PlanRequest) -> Plan:
        """Let the MLLM write a plan, under a grammar that allows the request's choices only.

        Raises:
            ThinkingUnavailable: the weights have not learnt to.
        """
        if not self._place.preset.can_plan:
            raise ThinkingUnavailable(
                f"the weights of the preset {self._place.preset.name} have not learnt to write plans;"
                " send thinking as off or auto"
            )
        with operation("understanding.plan"):
            return await self._thread.run(self._plan, request)

    def _plan(self, request: PlanRequest) -> Plan:
        roles = {visual.tag: request.roles.get(visual.tag) for visual in request.visuals}
        visuals = visuals_of(request.visuals, self._place.blobs)
        asked = plan_instruction(self._prompts, roles)
        schema = plan_schema(request.choices, request.max_prompt_chars)
        return read_plan(self._write(request.instruction, visuals, asked, schema))

    async def review(self, request: ReviewRequest) -> Review:
        """Let the MLLM score a result, which it is shown after what it was made from.

        Raises:
            ReviewUnavailable: the weights have not learnt to.
        """
        if not self._place.preset.can_review:
            raise ReviewUnavailable(
                f"the weights of the preset {self._place.preset.name} have not learnt to score results"
            )
        with operation("understanding.review"):
            return await self._thread.run(self._review, request)

    def _review(self, request: ReviewRequest) -> Review:
        frames = self._place.blobs.get_tensor(request.frames)
        result = Visual(Role.SOURCE, MediaKind.VIDEO if len(frames) > 1 else MediaKind.IMAGE, frames)
        visuals = (*visuals_of(request.visuals, self._place.blobs), result)
        asked = review_instruction(self._prompts, request.task)
        return read_review(self._write(request.instruction, visuals, asked, review_schema(request.task)))

    def _write(self, text: str, visuals: tuple[Visual, ...], task_instruction: str, schema: dict[str, Any]) -> str:
        """A JSON value of the schema."""
        config = self._place.preset.mllm
        reading = question(text, visuals, config, task_instruction=task_instruction)
        return self._mllm.write([reading], [schema], config.max_plan_tokens)[0]

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
