"""VOGUE: understand, generate and edit images and videos from one multimodal instruction.

    from vogue import Vogue

    with Vogue() as vogue:
        job = vogue.generate("make the star blue", source="clip.mp4")
        job.wait(lambda event: ...).save("out.mp4")

This package is the client: it needs neither torch nor ray. `vogue serve` starts a server (install `vogue-video[serve]`).
"""

from vogue.schemas.config import Role, Task
from vogue.schemas.errors import (
    AssetNotFound,
    JobCancelled,
    JobNotFound,
    LimitExceeded,
    MediaUnreadable,
    RequestInvalid,
    ServiceError,
    ServiceOverloaded,
    ServiceTimeout,
    ShapeUnsupported,
    TaskUnsupported,
    VogueError,
)
from vogue.schemas.jobs import Asset, EventKind, Job, JobEvent, JobStatus
from vogue.schemas.requests import GenerationRequest, Thinking, VisualInput

from .asynchronous import AsyncVogue
from .blocking import AssetHandle, JobHandle, Vogue
from .handles import AsyncAssetHandle, AsyncJobHandle
from .retry import Retry

__all__ = [
    "Asset",
    "AssetHandle",
    "AssetNotFound",
    "AsyncAssetHandle",
    "AsyncJobHandle",
    "AsyncVogue",
    "EventKind",
    "GenerationRequest",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobHandle",
    "JobNotFound",
    "JobStatus",
    "LimitExceeded",
    "MediaUnreadable",
    "RequestInvalid",
    "Retry",
    "Role",
    "ServiceError",
    "ServiceOverloaded",
    "ServiceTimeout",
    "ShapeUnsupported",
    "Task",
    "TaskUnsupported",
    "Thinking",
    "VisualInput",
    "Vogue",
    "VogueError",
]
