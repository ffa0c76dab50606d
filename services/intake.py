"""What is looked over before it is stored: files that come, requests before they are jobs, plans before they are approved."""

from __future__ import annotations

import asyncio
import logging
import secrets

from vogue.graph.resolve import resolve, settle
from vogue.graph.state import Ports
from vogue.schemas.config import Preset
from vogue.schemas.errors import PlanInvalid, RequestInvalid, VogueError
from vogue.schemas.jobs import Asset, Job, StoredAsset
from vogue.schemas.plan import Plan
from vogue.schemas.references import Artifact
from vogue.schemas.requests import GenerationRequest, JobSpec
from vogue.schemas.stages import ProbeRequest

from .costing import check_fits
from .database import new_id
from .estimating import Estimator
from .jobs import JobStore
from .metrics import UPLOADED

__all__ = ["Intake"]

logger = logging.getLogger(__name__)


class Intake:
    """Looks things over for one orchestrator."""

    def __init__(self, jobs: JobStore, ports: Ports, preset: Preset, estimator: Estimator) -> None:
        self._jobs = jobs
        self._ports = ports
        self._preset = preset
        self._estimator = estimator
        self._room_bytes: int | None = None

    async def upload(self, original: Artifact, filename: str) -> Asset:
        """Probe a stored file and give its owner an id for it."""
        facts = await self._ports.codec.probe(ProbeRequest(original=original, filename=filename))
        asset = Asset(
            id=new_id("upload"),
            kind=facts.kind,
            media_type=facts.media_type,
            num_bytes=original.num_bytes,
            filename=filename,
            height_px=facts.height_px,
            width_px=facts.width_px,
            num_frames=facts.num_frames,
            fps=facts.fps,
            has_audio=facts.has_audio,
        )
        UPLOADED.add(asset.num_bytes, kind=asset.kind)
        stored = StoredAsset(asset=asset, artifact=original.model_copy(update={"media_type": facts.media_type}))
        return await asyncio.to_thread(self._jobs.add_asset, stored)

    async def request(self, request: GenerationRequest) -> tuple[JobSpec, tuple[str, ...], float | None]:
        """What a request comes to: nothing left open, notices of what was chosen, and its seconds of the machine, if they can be told.

        Raises:
            RequestInvalid: it cannot be carried out, or not here.
        """
        assets = {}
        for index, visual in enumerate(request.visuals):
            try:
                assets[visual.upload_id] = await self._asset(visual.upload_id)
            except VogueError as error:
                raise type(error)(error.message, param=f"visuals.{index}.upload_id") from error
        spec, notices = resolve(request, self._preset, assets, secrets.randbelow(2**31))
        cost = self._estimator.cost(spec, request)
        check_fits(cost, await self._room())
        return spec, notices, self._estimator.seconds(cost)

    async def plan(self, job: Job, plan: Plan) -> None:
        """Refuse an edited plan that cannot be carried out.

        Raises:
            PlanInvalid: it cannot.
        """
        if plan.task is None or plan.clarification is not None:
            raise PlanInvalid("an approved plan names its task and asks nothing back", param="plan.clarification")
        assets = {visual.upload_id: await self._asset(visual.upload_id) for visual in job.request.visuals}
        try:
            settle(job.request, plan, self._preset, assets, job.spec.seed)
        except RequestInvalid as error:
            raise PlanInvalid(f"the plan cannot be carried out: {error.message}", param="plan") from error

    async def _asset(self, asset_id: str) -> Asset:
        return (await asyncio.to_thread(self._jobs.asset, asset_id)).asset

    async def _room(self) -> int | None:
        """Memory of the denoiser for one row, asked for once; None while it cannot be told."""
        if self._room_bytes is None:
            try:
                self._room_bytes = await self._ports.denoiser.room_bytes()
            except VogueError as error:
                logger.warning("the denoiser does not say how much memory it has: %s", error)
        return self._room_bytes
