"""The nodes of the flow, in the order in which a job meets them. Each reads references, calls a port, returns references."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import (
    JobCancelled,
    JobNotFound,
    PlanRejected,
    ServiceError,
    ShapeUnsupported,
    VogueError,
    error_from_body,
)
from vogue.schemas.jobs import Stage, StoredAsset
from vogue.schemas.plan import Plan
from vogue.schemas.references import MediaKind, PreparedVisual, TensorRef
from vogue.schemas.requests import GenerationRequest, JobSpec, VisualInput
from vogue.schemas.stages import (
    DecodedMedia,
    DecodeRequest,
    DenoiseEvent,
    DenoiseJob,
    EncodeInstructionRequest,
    EncodeVisualRequest,
    LatentCheckpoint,
    Pass,
    PlanRequest,
    PrepareRequest,
    ProjectRequest,
)

from .route import passes, route
from .state import Flow, FlowState, dump

__all__ = [
    "approve",
    "decode",
    "deliver",
    "denoise",
    "encode_instruction",
    "encode_visuals",
    "ingest",
    "plan",
    "route_task",
]


def _spec(state: FlowState) -> JobSpec:
    return JobSpec.model_validate(state["spec"])


def _prepared(state: FlowState) -> list[PreparedVisual]:
    return [PreparedVisual.model_validate(one) for one in state["prepared"]]


async def ingest(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Decode each upload once; everything after reads these frames."""
    flow, spec = runtime.context, _spec(state)
    await flow.journal.stage(Stage.INGEST)
    request = GenerationRequest.model_validate(state["request"])

    async def prepare(visual: VisualInput) -> PreparedVisual:
        stored = StoredAsset.model_validate(state["uploads"][visual.upload_id])
        return await flow.ports.codec.prepare(
            PrepareRequest(
                visual=visual,
                original=stored.artifact,
                lossless=stored.lossless,
                height_px=spec.height_px,
                width_px=spec.width_px,
                max_frames=spec.num_frames if spec.task.makes_video else 1,
            )
        )

    prepared = await asyncio.gather(*(prepare(visual) for visual in request.visuals))
    for notice in dict.fromkeys(notice for visual in prepared for notice in visual.notices):
        await flow.journal.notice(notice)
    return FlowState(prepared=[dump(visual) for visual in prepared])


async def plan(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Thinking mode: let the MLLM make the request explicit, and generate from its words."""
    flow, spec = runtime.context, _spec(state)
    await flow.journal.stage(Stage.PLAN)
    request = PlanRequest(instruction=spec.instruction, visuals=tuple(_prepared(state)))
    decided = await flow.ports.understanding.plan(request)
    if decided.clarification is not None:
        raise PlanRejected(f"the request cannot be met as it is: {decided.clarification}", param="instruction")
    if decided.dense_prompt:
        spec = spec.model_copy(update={"instruction": decided.dense_prompt})
    return FlowState(plan=dump(decided), spec=dump(spec))


async def approve(state: FlowState) -> FlowState:
    """Wait for the owner's word on the plan. A node of its own, because a resumed interrupt runs its node from the top."""
    if not interrupt({"plan": state["plan"]}):
        raise PlanRejected("the plan was not approved; change the request and submit it again")
    return FlowState()


async def route_task(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Settle the task from what the inputs turned out to be; a plan may not ask for one that they do not fit."""
    flow, spec = runtime.context, _spec(state)
    await flow.journal.stage(Stage.ROUTE)
    named = Plan.model_validate(state["plan"]).task if "plan" in state else spec.task
    inputs = [(visual.role, visual.kind) for visual in _prepared(state)]
    task = route(named, inputs, spec.num_frames == 1, flow.preset)
    if task.makes_video is not spec.task.makes_video:
        raise PlanRejected(f"the plan asks for {task}, but the request was accepted as {spec.task}; name the task")
    return FlowState(spec=dump(spec.model_copy(update={"task": task})))


async def encode_instruction(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Instruction and pictures → hidden states → context, for each pass that guidance needs."""
    flow, spec = runtime.context, _spec(state)
    await flow.journal.stage(Stage.ENCODE)
    read = await flow.ports.understanding.encode(
        EncodeInstructionRequest(
            task=spec.task,
            instruction=spec.instruction,
            negative_prompt=spec.negative_prompt,
            visuals=tuple(_prepared(state)),
            passes=passes(spec),
            height_px=spec.height_px,
            width_px=spec.width_px,
        )
    )
    projected = await flow.ports.connector.project(ProjectRequest(states=read.states))
    return FlowState(contexts={name.value: dump(ref) for name, ref in projected.states.items()})


async def encode_visuals(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Prepared frames → latents. Runs beside `encode_instruction`."""
    flow, spec = runtime.context, _spec(state)
    await flow.journal.stage(Stage.ENCODE)

    async def encode(visual: PreparedVisual) -> TensorRef:
        if visual.latents is not None:
            return visual.latents
        return await flow.ports.codec.encode(
            EncodeVisualRequest(visual=visual, height_px=spec.height_px, width_px=spec.width_px)
        )

    visuals = _prepared(state)
    latents = await asyncio.gather(*(encode(visual) for visual in visuals))
    return FlowState(latents={visual.tag: dump(ref) for visual, ref in zip(visuals, latents, strict=True)})


def latent_shape(spec: JobSpec, preset: Preset) -> tuple[int, int, int, int]:
    """The target's [C, T, h, w]: the first frame alone, then groups."""
    vae = preset.vae
    if spec.num_frames % vae.temporal_compression_ratio != 1 % vae.temporal_compression_ratio:
        raise ShapeUnsupported(f"{spec.num_frames} frames are not 1 + a multiple of {vae.temporal_compression_ratio}")
    return (
        vae.latent_channels,
        (spec.num_frames - 1) // vae.temporal_compression_ratio + 1,
        spec.height_px // vae.spatial_compression_ratio,
        spec.width_px // vae.spatial_compression_ratio,
    )


def _denoise_job(state: FlowState, preset: Preset) -> DenoiseJob:
    spec = _spec(state)
    latents: dict[Role, list[TensorRef]] = {role: [] for role in Role}
    for visual in _prepared(state):
        latents[visual.role].append(TensorRef.model_validate(state["latents"][visual.tag]))
    return DenoiseJob(
        job_id=state["job_id"],
        task=spec.task,
        contexts={Pass(name): TensorRef.model_validate(ref) for name, ref in state["contexts"].items()},
        references=tuple(latents[Role.REFERENCE]),
        source=next(iter(latents[Role.SOURCE]), None),
        first_frame=next(iter(latents[Role.FIRST_FRAME]), None),
        latent_shape=latent_shape(spec, preset),
        steps=spec.steps,
        guidance=spec.guidance,
        image_guidance=spec.image_guidance,
        seed=spec.seed,
        checkpoint_every_steps=preset.checkpoint_every_steps,
    )


async def denoise(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Noise → latents, step by step. After a crash on either side it goes on from the last latents kept."""
    flow = runtime.context
    await flow.journal.stage(Stage.DENOISE)
    job = _denoise_job(state, flow.preset)
    await flow.ports.denoiser.start(job, await flow.journal.last_checkpoint())
    try:
        async for event in flow.ports.denoiser.events(job.job_id):
            final = await _follow(event, flow)
            if final is not None:
                return FlowState(denoised=dump(final))
    except JobNotFound as error:
        raise ServiceError(f"the denoiser no longer knows job {job.job_id}; it was restarted") from error
    raise ServiceError(f"the denoiser stopped talking about job {job.job_id} before it was over")


async def _follow(event: DenoiseEvent, flow: Flow) -> TensorRef | None:
    """Log an event; the latents of the `completed` one are the result."""
    if event.kind == "failed":
        raise error_from_body(event.error.body()) if event.error else VogueError("the denoiser failed without a reason")
    if event.kind == "cancelled":
        raise JobCancelled(f"job {event.job_id} was cancelled after {event.steps_done} of {event.steps_total} steps")
    if event.kind == "step":
        if event.seq == 1 and event.steps_done > 1:
            await flow.journal.resumed(event.steps_done - 1)
        await flow.journal.step(event.steps_done, event.steps_total)
    elif event.latents is None:
        raise ServiceError(f"the denoiser sent a {event.kind} event without latents")
    elif event.kind == "checkpoint":
        await flow.journal.save_checkpoint(
            LatentCheckpoint(job_id=event.job_id, steps_done=event.steps_done, latents=event.latents)
        )
    return event.latents if event.kind == "completed" else None


def _first(visuals: Iterable[PreparedVisual], role: Role) -> PreparedVisual | None:
    return next((visual for visual in visuals if visual.role is role), None)


def _audio_source(state: FlowState, task: Task) -> PreparedVisual | None:
    """The clip whose sound the result keeps: an edited video's own."""
    source = _first(_prepared(state), Role.SOURCE)
    return source if source is not None and source.has_audio and source.original and task.makes_video else None


async def decode(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Latents → frames and a file that plays."""
    flow, spec = runtime.context, _spec(state)
    await flow.journal.stage(Stage.DECODE)
    sound = _audio_source(state, spec.task)
    latents = TensorRef.model_validate(state["denoised"])
    decoded = await flow.ports.codec.decode(
        DecodeRequest(
            latents=latents,
            kind=MediaKind.VIDEO if spec.task.makes_video else MediaKind.IMAGE,
            fps=spec.fps,
            audio_from=sound.original if sound is not None else None,
            comment=f"VOGUE {flow.preset.name} {spec.task} seed {spec.seed}",
        )
    )
    return FlowState(decoded=dump(decoded.model_copy(update={"latents": latents})))


async def deliver(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Hand the results over."""
    flow, spec = runtime.context, _spec(state)
    await flow.journal.stage(Stage.DELIVER)
    has_audio = _audio_source(state, spec.task) is not None
    await flow.journal.complete(spec, DecodedMedia.model_validate(state["decoded"]), has_audio)
    return FlowState()
