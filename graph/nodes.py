"""The nodes of the flow, in the order in which a job meets them. Each reads references, calls a port, returns references."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from langgraph.runtime import Runtime

from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import (
    JobCancelled,
    JobNotFound,
    ServiceError,
    ShapeUnsupported,
    VogueError,
    error_from_body,
)
from vogue.schemas.jobs import Stage, StoredAsset
from vogue.schemas.plan import Plan
from vogue.schemas.recipes import Recipe, RecipeInput
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
    PrepareRequest,
    ProjectRequest,
)

from .deciding import best_trial
from .previews import Previews
from .resolve import settle
from .route import passes, route
from .shapes import looking_size
from .state import Flow, FlowState, assets_of, denoise_id, dump, prepared_of, request_of, spec_of
from .thinking import planned

__all__ = [
    "decode",
    "deliver",
    "denoise",
    "encode_instruction",
    "encode_visuals",
    "ingest",
    "route_task",
]


async def ingest(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Decode each upload once; everything after reads these frames."""
    flow = runtime.context
    await flow.journal.stage(Stage.INGEST)
    prepared = await _prepare(state, request_of(state), spec_of(state), flow)
    return FlowState(prepared=[dump(visual) for visual in prepared])


async def _prepare(state: FlowState, request: GenerationRequest, spec: JobSpec, flow: Flow) -> list[PreparedVisual]:
    """The request's inputs as the job at hand needs them."""
    looks = spec.task is Task.UNDERSTAND

    async def prepare(visual: VisualInput) -> PreparedVisual:
        stored = StoredAsset.model_validate(state["uploads"][visual.upload_id])
        size = looking_size(stored.asset, flow.preset) if looks else (spec.height_px, spec.width_px)
        return await flow.ports.codec.prepare(
            PrepareRequest(
                visual=visual.model_copy(update={"role": visual.role or Role.SOURCE}),
                original=stored.artifact,
                lossless=stored.lossless,
                height_px=size[0],
                width_px=size[1],
                max_frames=spec.num_frames if spec.makes_video or looks else 1,
            )
        )

    prepared = await asyncio.gather(*(prepare(visual) for visual in request.visuals))
    for notice in dict.fromkeys(notice for visual in prepared for notice in visual.notices):
        await flow.journal.notice(notice)
    return prepared


async def route_task(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Settle what is carried out: from the plan, if there is one, else from what the inputs turned out to be."""
    flow, spec = runtime.context, spec_of(state)
    await flow.journal.stage(Stage.ROUTE)
    if "plan" not in state:
        inputs = [(visual.role, visual.kind) for visual in prepared_of(state)]
        route(spec.task, inputs, spec.num_frames == 1, flow.preset)
        return FlowState()
    plan = Plan.model_validate(state["plan"])
    request = planned(request_of(state), plan)
    settled, notices = settle(request_of(state), plan, flow.preset, assets_of(state), spec.seed)
    for notice in notices:
        await flow.journal.notice(notice)
    settled = settled.model_copy(update={"thinking": spec.thinking})
    await flow.journal.settle(settled)
    # A part or a size that changed changes the frames; what stays the same is a lookup.
    prepared = await _prepare(state, request, settled, flow)
    return FlowState(spec=dump(settled), prepared=[dump(visual) for visual in prepared])


def _seen(state: FlowState) -> list[PreparedVisual]:
    """The inputs that the result is made from. Visual prompts were read for the plan, and their marks shall not show."""
    return [visual for visual in prepared_of(state) if visual.role is not Role.VISUAL_PROMPT]


async def encode_instruction(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Instruction and pictures → hidden states → context, for each pass that guidance needs."""
    flow, spec = runtime.context, spec_of(state)
    await flow.journal.stage(Stage.ENCODE)
    read = await flow.ports.understanding.encode(
        EncodeInstructionRequest(
            task=spec.task,
            instruction=spec.instruction,
            negative_prompt=spec.negative_prompt,
            visuals=tuple(_seen(state)),
            passes=passes(spec),
            height_px=spec.height_px,
            width_px=spec.width_px,
        )
    )
    projected = await flow.ports.connector.project(ProjectRequest(states=read.states))
    return FlowState(contexts={name.value: dump(ref) for name, ref in projected.states.items()})


async def encode_visuals(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Prepared frames → latents. Runs beside `encode_instruction`."""
    flow, spec = runtime.context, spec_of(state)
    await flow.journal.stage(Stage.ENCODE)

    async def encode(visual: PreparedVisual) -> TensorRef:
        if visual.latents is not None:
            return visual.latents
        return await flow.ports.codec.encode(
            EncodeVisualRequest(visual=visual, height_px=spec.height_px, width_px=spec.width_px)
        )

    visuals = _seen(state)
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
    spec = spec_of(state)
    latents: dict[Role, list[TensorRef]] = {role: [] for role in Role}
    for visual in _seen(state):
        latents[visual.role].append(TensorRef.model_validate(state["latents"][visual.tag]))
    return DenoiseJob(
        job_id=denoise_id(state["job_id"], len(state.get("trials", ()))),
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
        tier=spec.tier,
        checkpoint_every_steps=preset.checkpoint_every_steps,
        preview_every_steps=spec.preview_every_steps,
    )


async def denoise(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Noise → latents, step by step. After a crash on either side it goes on from the last latents kept."""
    flow = runtime.context
    await flow.journal.stage(Stage.DENOISE)
    job = _denoise_job(state, flow.preset)
    kept = await flow.journal.last_checkpoint()
    # The latents of an earlier trial are of another seed.
    await flow.ports.denoiser.start(job, kept if kept is not None and kept.job_id == job.job_id else None)
    before = job.steps * len(state.get("trials", ()))
    try:
        async with Previews(spec_of(state), flow) as previews:
            async for event in flow.ports.denoiser.events(job.job_id):
                if event.kind == "preview":
                    previews.show(event, before)
                    continue
                final = await _follow(event, flow, before)
                if final is not None:
                    return FlowState(denoised=dump(final))
    except JobNotFound as error:
        raise ServiceError(f"the denoiser no longer knows job {job.job_id}; it was restarted") from error
    raise ServiceError(f"the denoiser stopped talking about job {job.job_id} before it was over")


async def _follow(event: DenoiseEvent, flow: Flow, before: int) -> TensorRef | None:
    """Log an event, after so many steps of earlier trials; the latents of the `completed` one are the result."""
    if event.kind == "failed":
        raise error_from_body(event.error.body()) if event.error else VogueError("the denoiser failed without a reason")
    if event.kind == "cancelled":
        raise JobCancelled(f"job {event.job_id} was cancelled after {event.steps_done} of {event.steps_total} steps")
    if event.kind == "step":
        if event.seq == 1 and event.steps_done > 1:
            await flow.journal.resumed(before + event.steps_done - 1)
        await flow.journal.step(before + event.steps_done, before + event.steps_total)
    elif event.latents is None:
        raise ServiceError(f"the denoiser sent a {event.kind} event without latents")
    elif event.kind == "checkpoint":
        await flow.journal.save_checkpoint(
            LatentCheckpoint(
                job_id=event.job_id, steps_done=event.steps_done, latents=event.latents, memory=event.memory
            )
        )
    return event.latents if event.kind == "completed" else None


def _first(visuals: Iterable[PreparedVisual], role: Role) -> PreparedVisual | None:
    return next((visual for visual in visuals if visual.role is role), None)


def _audio_source(state: FlowState, spec: JobSpec) -> PreparedVisual | None:
    """The clip whose sound the result keeps: an edited video's own."""
    source = _first(_seen(state), Role.SOURCE)
    return source if source is not None and source.has_audio and source.original and spec.makes_video else None


def _recipe(state: FlowState, spec: JobSpec) -> Recipe:
    """How the result was made, as far as the flow knows it."""
    request = request_of(state)
    ids = {visual.tag: visual.upload_id for visual in request.visuals}
    return Recipe(
        asked=request.instruction,
        plan=Plan.model_validate(state["plan"]) if "plan" in state else None,
        spec=spec.model_copy(update={"preview_every_steps": 0}),
        inputs=tuple(
            RecipeInput(tag=visual.tag, role=visual.role, kind=visual.kind, asset_id=ids[visual.tag])
            for visual in _seen(state)
        ),
    )


async def decode(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Latents → frames and a file that plays."""
    flow, spec = runtime.context, spec_of(state)
    await flow.journal.stage(Stage.DECODE)
    sound = _audio_source(state, spec)
    latents = TensorRef.model_validate(state["denoised"])
    decoded = await flow.ports.codec.decode(
        DecodeRequest(
            latents=latents,
            kind=MediaKind.VIDEO if spec.makes_video else MediaKind.IMAGE,
            fps=spec.fps,
            audio_from=sound.original if sound is not None else None,
            recipe=_recipe(state, spec),
        )
    )
    for notice in decoded.notices:
        await flow.journal.notice(notice)
    return FlowState(decoded=dump(decoded.model_copy(update={"latents": latents})))


async def deliver(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Hand the results over: the best, where several seeds were tried."""
    flow, spec = runtime.context, spec_of(state)
    await flow.journal.stage(Stage.DELIVER)
    decoded = DecodedMedia.model_validate(state["decoded"])
    if state.get("trials"):
        trial, decoded = best_trial(state)
        spec = spec.model_copy(update={"seed": trial.seed})
        await flow.journal.settle(spec)
    await flow.journal.complete(spec, decoded)
    return FlowState()
