"""The one place where an engine is chosen: from a setting to something behind the engine port.

A setting is tried in order: its engine, then, only where it names one, its fallback. What was tried and why it did not run is
part of what comes back. Libraries are imported when their engine is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from vogue.schemas.config import Preset
from vogue.schemas.engines import EngineSetting, EngineSpec
from vogue.schemas.errors import EngineNotBuilt, ServiceError

from .compiled.signatures import Network
from .loading import LoadedVAE
from .port import Decoder, Engine

__all__ = ["Backend", "Opened", "Site", "backend_of", "identify", "open_decoder", "open_denoiser"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """Where an engine is opened: the preset, its weights and their digest, the device, and the folder of built engines."""

    preset: Preset
    weights: Path
    weights_digest: str
    device: str
    dtype: torch.dtype
    engine_dir: Path
    threads: int = 1


class Backend(Protocol):
    """What one library can do. Modules in `vogue.engines.backends` are such."""

    def identify(self, spec: Any, site: Site, network: Network) -> str:
        """What would run: kind, version and whatever else decides its results. Cheap: no weights are read.

        Raises:
            EngineNotBuilt: a library, a build or the hardware is missing; says what to do.
            ServiceError: a server that should run the network does not answer.
        """
        ...

    def open_denoiser(self, spec: Any, site: Site) -> Engine:
        """The preset's MMDiT, ready to run."""
        ...

    def open_decoder(self, spec: Any, site: Site, vae: LoadedVAE) -> Decoder:
        """The decoder of the preset's VAE, ready to run. The loaded VAE encodes, and knows how large clips are cut."""
        ...


@dataclass(frozen=True)
class Opened(Generic[T]):
    """An engine, what it is, and why the one that was asked for does not run, if it does not."""

    engine: T
    identity: str
    fell_back: str | None = None


def backend_of(spec: EngineSpec) -> Backend:
    """The module that runs engines of this kind."""
    match spec.kind:
        case "torch":
            from .backends import on_torch

            return on_torch
        case "onnxruntime":
            from .backends import on_onnxruntime

            return on_onnxruntime
        case "tensorrt":
            from .backends import on_tensorrt

            return on_tensorrt
        case "triton":
            from .backends import on_triton

            return on_triton


def open_denoiser(setting: EngineSetting, site: Site) -> Opened[Engine]:
    """The engine of the MMDiT.

    Raises:
        EngineNotBuilt: neither the engine nor a named fallback can run here.
        ServiceError: a Triton server does not answer, and no fallback is named.
        WeightsMismatch: weights do not fit the preset.
    """
    return _open(setting, site, Network.MMDIT, lambda spec: backend_of(spec).open_denoiser(spec, site))


def open_decoder(setting: EngineSetting, site: Site, vae: LoadedVAE) -> Opened[Decoder]:
    """The engine of the VAE's decoder. Raises as `open_denoiser`."""
    return _open(setting, site, Network.DECODER, lambda spec: backend_of(spec).open_decoder(spec, site, vae))


def identify(setting: EngineSetting, site: Site, network: Network) -> str:
    """What `open_denoiser` or `open_decoder` would run, found out without loading it. Raises as they do."""
    return _open(setting, site, network, lambda _: None).identity


def _open(setting: EngineSetting, site: Site, network: Network, work: Callable[[EngineSpec], T]) -> Opened[T]:
    try:
        return Opened(work(setting.engine), backend_of(setting.engine).identify(setting.engine, site, network))
    except (EngineNotBuilt, ServiceError) as error:
        if setting.fallback is None:
            raise
        reason = error.message
    fallback = setting.fallback
    opened = Opened(work(fallback), backend_of(fallback).identify(fallback, site, network), reason)
    logger.warning("%s runs on %s instead of %s: %s", network, fallback.kind, setting.engine.kind, reason)
    return opened
