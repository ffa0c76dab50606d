"""The application: six deployments and how they are wired. `serve run serve_config.yaml` and `vogue serve` both call `build`."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from vogue.schemas.wire import validate

from .config import AppConfig, DeploymentConfig
from .deployments import GatewayDeployment, OrchestratorDeployment
from .engine_deployments import CodecDeployment, ConnectorDeployment, DenoiserDeployment, UnderstandingDeployment
from .keys.exposure import bound_host, guarded
from .weights import served_preset

__all__ = ["APP_NAME", "build"]

APP_NAME = "vogue"

_SHUTDOWN_S = 10.0
"""Enough to finish a step. Jobs need no longer: they go on after the next start."""


def build(args: dict[str, Any] | AppConfig) -> Application:
    """Check the settings and wire the deployments.

    Args:
        args: `AppConfig`, or its fields as `serve_config.yaml` gives them.

    Raises:
        RequestInvalid: an unknown field or preset, a setting that cannot work here, or a server that would stand open to others.
    """
    config = args if isinstance(args, AppConfig) else validate(AppConfig, args)
    served_preset(config)
    # Replicas start in folders of their own, where a relative path would mean another place.
    config = config.model_copy(
        update={
            "state_dir": config.state_dir.expanduser().resolve(),
            "weights_dir": config.weights_dir.expanduser().resolve() if config.weights_dir is not None else None,
            "jobs": config.jobs.model_copy(update={"webhooks": config.jobs.webhooks.at_home()}),
            "engine_dir": config.engine_dir.expanduser().resolve() if config.engine_dir is not None else None,
            "logs": config.logs.model_copy(
                update={"folder": config.logs.folder.expanduser().resolve() if config.logs.folder is not None else None}
            ),
        }
    )
    # Prompts, files and digests of keys are nothing for other users of the machine.
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    required = guarded(config, bound_host())
    config = config.model_copy(update={"keys": config.keys.model_copy(update={"required": required})})

    understanding = _deploy(UnderstandingDeployment, "Understanding", config.understanding).bind(config)
    connector = _deploy(ConnectorDeployment, "Connector", config.connector).bind(config)
    denoiser = _deploy(
        DenoiserDeployment, "Denoiser", config.denoiser, "vogue.services.routing:JobAffinityRouter"
    ).bind(config)
    codec = _deploy(CodecDeployment, "Codec", config.codec).bind(config)
    orchestrator = _deploy(OrchestratorDeployment, "Orchestrator", config.orchestrator).bind(
        config, understanding, connector, denoiser, codec
    )
    engines = {"understanding": understanding, "connector": connector, "denoiser": denoiser, "codec": codec}
    gateway: Application = _deploy(GatewayDeployment, "Gateway", config.gateway).bind(config, orchestrator, engines)
    return gateway


def _deploy(shell: type, name: str, own: DeploymentConfig, router: str | None = None) -> serve.Deployment:
    """A deployment with what it claims. Dead replicas are noticed within two seconds."""
    routing = RequestRouterConfig.model_validate({"request_router_class": router} if router is not None else {})
    deployment: serve.Deployment = serve.deployment(
        name=name,
        num_replicas=own.num_replicas,
        max_ongoing_requests=own.max_ongoing_requests,
        ray_actor_options={"num_cpus": own.num_cpus, "num_gpus": own.num_gpus},
        graceful_shutdown_timeout_s=_SHUTDOWN_S,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=2.0,
        health_check_timeout_s=30.0,
        request_router_config=routing,
    )(shell)
    return deployment
