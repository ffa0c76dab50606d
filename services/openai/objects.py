"""From our words to OpenAI's: a job as a video, an asset as a file, the preset as a model."""

from __future__ import annotations

from math import ceil
from typing import Any

from vogue.graph.route import inputs_of
from vogue.schemas.config import Limits, Preset, Role, Task
from vogue.schemas.jobs import ErrorInfo, Job, JobStatus, StoredAsset
from vogue.schemas.requests import JobSpec

from .fields import seconds_of, size_of

__all__ = ["MODEL_SINCE_S", "file_object", "model_object", "page_object", "poll_after_ms", "progress", "video_object"]

MODEL_SINCE_S = 1_767_225_600
"""OpenAI's models say since when they exist; ours say 2026."""

_STATUSES = {
    JobStatus.QUEUED: "queued",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "failed",
}
_FIRST_POLL_MS, _LEAST_POLL_MS, _MOST_POLL_MS = 500, 100, 5000


def progress(job: Job) -> int:
    """Finished steps in percent; 100 is for finished jobs alone."""
    if job.status is JobStatus.COMPLETED:
        return 100
    return min(99, 100 * job.steps_done // job.steps_total) if job.steps_total else 0


def poll_after_ms(job: Job, now_s: float) -> int:
    """When it makes sense to ask again: a tenth of the time that the steps still take, as far as that is known."""
    if job.started_at_s is None or job.steps_done == 0:
        return _FIRST_POLL_MS
    left_s = (now_s - job.started_at_s) / job.steps_done * (job.steps_total - job.steps_done)
    return max(_LEAST_POLL_MS, min(_MOST_POLL_MS, round(left_s * 100)))


def _error(job: Job) -> dict[str, Any] | None:
    if job.status is JobStatus.CANCELLED:
        return {"code": "cancelled", "message": "the video was cancelled before it was finished"}
    if job.status is not JobStatus.FAILED:
        return None
    error = job.error or ErrorInfo(code="internal_error", message="the job failed without a reason")
    return {"code": error.code, "message": error.message, "type": error.type, "param": error.param}


def video_object(
    job: Job, preset: Preset, remixed_from: str | None = None, retention_s: float | None = None
) -> dict[str, Any]:
    """A job as a video. After `seed` come fields of our own."""
    finished_s = job.finished_at_s if job.status.final else None
    return {
        "id": job.id,
        "object": "video",
        "model": preset.name,
        "status": _STATUSES.get(job.status, "in_progress"),
        "progress": progress(job),
        "created_at": int(job.created_at_s),
        "completed_at": int(finished_s) if finished_s is not None else None,
        "expires_at": int(finished_s + retention_s) if finished_s is not None and retention_s is not None else None,
        "error": _error(job),
        "prompt": job.request.instruction,
        "remixed_from_video_id": remixed_from,
        "seconds": seconds_of(job.spec.num_frames, job.spec.fps),
        "size": size_of(job.spec.height_px, job.spec.width_px),
        "seed": job.spec.seed,
        **_details(job.spec),
        "steps_done": job.steps_done,
        "job_status": job.status.value,
        "notices": list(job.notices),
        "asset_ids": [asset.id for asset in job.assets],
    }


def _details(spec: JobSpec) -> dict[str, Any]:
    return {
        "task": spec.task.value,
        "steps": spec.steps,
        "tier": spec.tier.value,
        "guidance": spec.guidance,
        "image_guidance": spec.image_guidance,
        "num_frames": spec.num_frames,
        "fps": spec.fps,
    }


def file_object(stored: StoredAsset, retention_s: float | None = None) -> dict[str, Any]:
    """An asset as a file. After `status` come fields of our own."""
    asset = stored.asset
    expires = ceil(stored.created_at_s + retention_s) if retention_s is not None and stored.job_id is None else None
    return {
        "id": asset.id,
        "object": "file",
        "bytes": asset.num_bytes,
        "created_at": int(stored.created_at_s),
        "expires_at": expires,
        "filename": asset.filename,
        "purpose": "vision",
        "status": "processed",
        **asset.model_dump(
            mode="json", include={"kind", "media_type", "height_px", "width_px", "num_frames", "fps", "has_audio"}
        ),
    }


def model_object(preset: Preset) -> dict[str, Any]:
    """The preset as a model, with its limits. After `owned_by` come fields of our own."""
    limits = preset.limits
    return {
        "id": preset.name,
        "object": "model",
        "created": MODEL_SINCE_S,
        "owned_by": "vogue",
        **preset.model_dump(mode="json", include={"limits", "tasks", "fps", "area_px", "can_plan", "can_review"}),
        "sizes": {
            "default": {
                task.value: size_of(defaults.height_px, defaults.width_px) for task, defaults in preset.tasks.items()
            },
            "min_side_px": limits.min_side_px,
            "max_side_px": limits.max_side_px,
            "side_multiple_px": limits.side_multiple_px,
            "max_area_px": limits.max_area_px,
        },
        "frames": list(range(1, limits.max_frames + 1, 4)),
        "seconds_max": seconds_of(limits.max_frames, preset.fps),
        "steps_max": limits.max_steps,
        "requests": {task.value: _request_limits(task, preset) for task in (*preset.tasks, Task.UNDERSTAND)},
    }


def _request_limits(task: Task, preset: Preset) -> dict[str, Any]:
    """What a request of a task may hold. Each source gives a result of its own shape; visual prompts may join any task."""
    limits = preset.limits
    if task is Task.UNDERSTAND:
        said = {"makes": "text", "max_new_tokens": preset.mllm.max_new_tokens, "frames_looked_at": limits.max_frames}
        return said | {"inputs": [{"role": None, "kind": None, "min": 0, "max": limits.max_visuals}]}
    most = limits.max_frames if task.makes_video else 1
    return {
        "makes": "video" if task.makes_video else "image",
        "num_frames": list(range(1, most + 1, 4)),
        "steps": {"min": 1, "max": limits.max_steps},
        "guidance": {"max": limits.max_guidance},
        "sides_px": None if task.edits or task is Task.I2V else _sides(limits),
        "inputs": [
            {
                "role": role.value,
                "kind": kind.value,
                "min": 1,
                "max": limits.max_references if role is Role.REFERENCE else 1,
            }
            for role, kind in inputs_of(task)
        ],
    }


def _sides(limits: Limits) -> dict[str, int]:
    return {
        "min": limits.min_side_px,
        "max": limits.max_side_px,
        "multiple": limits.side_multiple_px,
        "max_area": limits.max_area_px,
    }


def page_object(found: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of a list, of which one more than `limit` was looked up."""
    shown = found[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(found) > limit,
    }
