"""VOGUE: understand, generate and edit images and videos from one multimodal instruction.

    from vogue import Vogue

    with Vogue() as vogue:
        job = vogue.generate("make the star blue", source="clip.mp4")
        job.wait(lambda event: ...).save("out.mp4")

This package is the client: it needs neither torch nor ray. `vogue serve` starts a server (install `vogue-video[serve]`).
"""

from vogue.schemas.access import Account, MediaDeletion
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import (
    AccessDenied,
    AssetNotFound,
    ClarificationNeeded,
    JobCancelled,
    JobNotFound,
    KeyInvalid,
    LimitExceeded,
    MediaUnreadable,
    PlanConflict,
    PlanError,
    PlanInvalid,
    PlanRejected,
    ReplayMismatch,
    RequestInvalid,
    ReviewUnavailable,
    ScopeMissing,
    ServiceError,
    ServiceOverloaded,
    ServiceTimeout,
    SessionNotFound,
    ShapeUnsupported,
    TagUnresolved,
    TaskUnsupported,
    ThinkingUnavailable,
    TurnConflict,
    TurnNotFound,
    VogueError,
)
from vogue.schemas.jobs import Asset, EventKind, Job, JobEvent, JobStatus
from vogue.schemas.plan import Plan, PlanDecision, PlanStep, Review, Trial
from vogue.schemas.recipes import Recipe
from vogue.schemas.requests import GenerationRequest, SelfReview, Thinking, VisualInput
from vogue.schemas.sessions import Comparison, Session, Turn

from .assets import AsyncAssetHandle
from .asynchronous import AsyncVogue
from .blocking import AssetHandle, JobHandle, Vogue
from .blocking_sessions import SessionHandle, TurnHandle
from .conversation import AsyncSessionHandle, AsyncTurnHandle
from .handles import AsyncJobHandle
from .pixels import Clip
from .recipes import read_recipe
from .retry import Retry

__all__ = [
    "AccessDenied",
    "Account",
    "Asset",
    "AssetHandle",
    "AssetNotFound",
    "AsyncAssetHandle",
    "AsyncJobHandle",
    "AsyncSessionHandle",
    "AsyncTurnHandle",
    "AsyncVogue",
    "ClarificationNeeded",
    "Clip",
    "Comparison",
    "EventKind",
    "GenerationRequest",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobHandle",
    "JobNotFound",
    "JobStatus",
    "KeyInvalid",
    "LimitExceeded",
    "MediaDeletion",
    "MediaUnreadable",
    "Plan",
    "PlanConflict",
    "PlanDecision",
    "PlanError",
    "PlanInvalid",
    "PlanRejected",
    "PlanStep",
    "Recipe",
    "ReplayMismatch",
    "RequestInvalid",
    "Retry",
    "Review",
    "ReviewUnavailable",
    "Role",
    "ScopeMissing",
    "SelfReview",
    "ServiceError",
    "ServiceOverloaded",
    "ServiceTimeout",
    "Session",
    "SessionHandle",
    "SessionNotFound",
    "ShapeUnsupported",
    "TagUnresolved",
    "Task",
    "TaskUnsupported",
    "Thinking",
    "ThinkingUnavailable",
    "Trial",
    "Turn",
    "TurnConflict",
    "TurnHandle",
    "TurnNotFound",
    "VisualInput",
    "Vogue",
    "VogueError",
    "read_recipe",
]
