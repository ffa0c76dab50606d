"""Settings of the served application: what `serve_config.yaml` may say under `args`, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from vogue.schemas.access import TenantLimits
from vogue.schemas.base import Contract
from vogue.schemas.engines import EnginesConfig

from .outbound import UrlInputConfig, WebhookConfig

__all__ = ["AppConfig", "DenoiserConfig", "DeploymentConfig", "KeysConfig", "LogConfig", "OrchestratorConfig"]

# As a browser writes it: no path, and no wildcard, which would open every key's things to every page that learns a key.
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.\-\[\]:]+$", max_length=300)]


class DeploymentConfig(Contract):
    """How many replicas of a service there are, and what each claims.

    `num_cpus` is a scheduling claim, fractional so that six services fit two cores; `threads` is what torch really uses.
    Set by hand, because Ray gives a process with a fractional claim one thread.
    """

    num_replicas: PositiveInt = 1
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
    num_gpus: Annotated[float, Field(ge=0)] = 0.0
    threads: PositiveInt = 1
    max_ongoing_requests: PositiveInt = 64


class DenoiserConfig(DeploymentConfig):
    """What one tick may hold: jobs of one shape share it (`turns.py`)."""

    threads: PositiveInt = 2
    max_ongoing_requests: PositiveInt = 1024
    max_rows: PositiveInt = 32
    """Rows, that is guidance passes of jobs; a single job with more has a tick to itself."""
    max_bytes: PositiveInt | None = None
    """Memory of its rows; by default 0.9 of what a GPU has left beside the weights, or half of what this machine has left."""


class LogConfig(Contract):
    """What the services write down. Neither form holds prompts or keys."""

    format: Literal["text", "json"] = "text"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    folder: Path | None = None
    """Beside standard error, each service appends to a file here."""


class OrchestratorConfig(Contract):
    """Admission, leases and housekeeping."""

    max_open_jobs: PositiveInt = 16
    """Jobs waiting or at work; one more is refused with 429."""
    max_waiting_plans: PositiveInt = 32
    """Jobs that wait for their owner's word on a plan, or will; one more that asks for a review is refused with 429."""
    max_running_jobs: PositiveInt = 8
    """Jobs at work at once: those of one shape are stepped together, while others are prepared or decoded."""
    lease_ttl_s: PositiveFloat = 6.0
    """A worker that has not been heard of for so long is thought dead."""
    max_attempts: PositiveInt = 5
    """Workers that may die on a job without a new checkpoint, before it fails."""
    sweep_every_s: PositiveFloat = 3600.0
    blob_retention_s: PositiveFloat = 86_400.0
    media_retention_s: PositiveFloat | None = None
    """Finished jobs with all they delivered, and uploads, are deleted at this age; by default they stay until they are deleted."""
    webhooks: WebhookConfig = WebhookConfig()


class KeysConfig(Contract):
    """Who may use the server (docs/security.md). Keys are made with `vogue keys create`."""

    required: bool | None = None
    """Whether every request needs a key. By default yes as soon as others can reach the server, and no on the loopback interface."""
    origins: tuple[Origin, ...] = ()
    """Web pages of these origins, such as `https://app.example.com`, may use the server from a browser."""
    limits: TenantLimits = TenantLimits()
    """What each key may have at once; keys that see the same things share it."""


def _engine(threads: int = 1) -> DeploymentConfig:
    return DeploymentConfig(threads=threads)


def _listened_to() -> DeploymentConfig:
    # Each listener holds one request open for as long as its job takes.
    return DeploymentConfig(max_ongoing_requests=1024)


class AppConfig(Contract):
    """The whole application. `weights_dir` overrides where the preset's weights are looked for."""

    preset: str = "mini"
    state_dir: Path = Path(".vogue")
    weights_dir: Path | None = None
    device: str = "cpu"
    engines: EnginesConfig = EnginesConfig()
    """What runs the MMDiT and the VAE's decoder; docs/engines.md goes through it."""
    engine_dir: Path | None = None
    """Where `vogue engine build` keeps what it builds; by default `engines` under `state_dir`."""
    hosts: tuple[str, ...] = ()
    """Names under which the gateway is reached beside this machine's own; it refuses requests for any other."""
    keys: KeysConfig = KeysConfig()
    understanding: DeploymentConfig = Field(default_factory=lambda: _engine(2))
    connector: DeploymentConfig = Field(default_factory=_engine)
    denoiser: DenoiserConfig = DenoiserConfig()
    codec: DeploymentConfig = Field(default_factory=lambda: _engine(2))
    orchestrator: DeploymentConfig = Field(default_factory=_listened_to)
    gateway: DeploymentConfig = Field(default_factory=_listened_to)
    jobs: OrchestratorConfig = OrchestratorConfig()
    url_inputs: UrlInputConfig = UrlInputConfig()
    logs: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _fits_a_local_store(self) -> Self:
        if self.orchestrator.num_replicas > 1:
            raise ValueError(
                f"orchestrator.num_replicas is {self.orchestrator.num_replicas}, and must be 1: jobs in SQLite allow"
                " one orchestrator only; Postgres and a shared store will lift that"
            )
        return self
