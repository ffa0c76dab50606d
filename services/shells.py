"""What the deployments are made of: a process each, with a sign of life, logs and metrics, and maybe networks.

Constructors run in the replica's process, so weights are loaded where they are used.
"""

from __future__ import annotations

import atexit
import os

import ray

from vogue.schemas.errors import ServiceError

from .carrying import receiving
from .config import AppConfig, DeploymentConfig
from .logs import set_up_logs
from .metrics import METERS

__all__ = ["EngineShell", "Shell"]


class Shell:
    """What every deployment has: a process of its own, a sign of life, logs and metrics."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        receiving(cls)

    def __init__(self, config: AppConfig) -> None:
        # In Serve's local testing mode all six would share the driver's process, and one crash would take all of them.
        if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
            raise ServiceError("VOGUE's services run as processes of their own; Serve's local testing mode is refused")
        from .ray_metrics import RayMirror

        set_up_logs(type(self).__name__.removesuffix("Deployment").lower(), config.logs)
        METERS.mirrors = [RayMirror()]
        METERS.keep_in(config.state_dir / "metrics.sqlite")
        atexit.register(METERS.close)

    async def ready(self) -> int:
        """The id of the process that answers."""
        return os.getpid()


class EngineShell(Shell):
    """A deployment with networks: threads are set by hand, since Ray gives a fractional claim one."""

    def __init__(self, config: AppConfig, own: DeploymentConfig) -> None:
        super().__init__(config)
        from .workplace import Workplace

        self.place = Workplace(config, own.threads)
