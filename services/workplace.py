"""What an engine service stands on: the state directory, the preset's weights, the action cache, and a thread for torch."""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import hashlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from vogue.engines.compiled.signatures import Network
from vogue.engines.registry import Site, identify
from vogue.schemas.config import Preset
from vogue.schemas.errors import EngineNotBuilt
from vogue.schemas.recipes import Maker
from vogue.schemas.stages import ActionCount

from .blobs import BlobStore
from .cache import ActionCache, ActionKey, code_version
from .config import AppConfig
from .weights import served_preset, shipped_folder

__all__ = ["TorchThread", "Workplace", "weights_digest", "weights_folder"]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_HASHED_BYTES = 256 * 1024 * 1024
"""Weight files up to this size enter the manifest with their content, larger ones with their size and time."""


def weights_folder(config: AppConfig) -> Path:
    """Where the preset's weights are; the tiny preset's random ones are written on first use.

    Raises:
        EngineNotBuilt: there are none.
    """
    if config.weights_dir is not None:
        folder = config.weights_dir
    elif config.preset == "tiny":
        folder = _tiny_weights(config.state_dir)
    else:
        folder = shipped_folder(config.preset)
    if not (folder / "mllm").is_dir():
        raise EngineNotBuilt(
            f"there are no weights of the preset {config.preset!r} in {folder}; name their folder as weights_dir"
        )
    return folder


def _tiny_weights(state_dir: Path) -> Path:
    from vogue.engines.tiny import write_tiny

    folder = state_dir / "weights" / f"tiny-{code_version()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Four services may come here at once; the first one writes.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "preset.json").is_file():
            write_tiny(folder)
    return folder


def weights_digest(folder: Path) -> str:
    """A digest of a weights folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        facts = path.stat()
        total.update(f"{path.relative_to(folder)}\0{facts.st_size}\0".encode())
        if facts.st_size <= _HASHED_BYTES:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        else:
            total.update(str(facts.st_mtime_ns).encode())
    return total.hexdigest()


class TorchThread:
    """The one thread of a process on which networks are loaded and run, so that its event loop stays free.

    OpenMP keeps helpers for every thread that computes, and lets all of them sleep between operations once they outnumber
    the cores together. Networks loaded on another thread than the one they run on take nearly twice as long for it.

    Args:
        threads: how many threads torch uses; without it, as many as it did.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="torch")
        if threads is not None:
            self.call(torch.set_num_threads, threads)

    def call(self, work: Callable[..., T], *args: Any) -> T:
        """Run one call after those that came before, and wait for it."""
        return self.executor.submit(work, *args).result()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """As `call`, for a coroutine."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self.executor, context.run, work, *args)


class Workplace:
    """Store, cache, weights and torch's thread of one service process."""

    def __init__(self, config: AppConfig, threads: int | None = None) -> None:
        self.config = config
        self.torch = TorchThread(threads)
        self.preset: Preset = served_preset(config)
        self.device = config.device
        self.dtype = torch.float32 if config.device == "cpu" else torch.bfloat16
        self.weights = weights_folder(config)
        self.blobs = BlobStore(config.state_dir / "store")
        self._cache = ActionCache(config.state_dir / "actions.sqlite", self.blobs)
        self.site = Site(
            preset=self.preset,
            weights=self.weights,
            weights_digest=weights_digest(self.weights),
            device=config.device,
            dtype=self.dtype,
            engine_dir=config.engine_dir or config.state_dir / "engines",
            threads=threads or torch.get_num_threads(),
        )

    @cached_property
    def maker(self) -> Maker:
        """What makes the pixels: the engines of the MMDiT and of the decoder, in one word where they are alike.

        Raises:
            EngineNotBuilt: one of them cannot run here.
        """
        engines = self.config.engines
        denoiser = identify(engines.denoiser, self.site, Network.MMDIT)
        decoder = identify(engines.decoder, self.site, Network.DECODER)
        return Maker(
            vogue=version("vogue-video"),
            preset=self.preset.name,
            weights=self.site.weights_digest,
            engine=denoiser if denoiser == decoder else f"{denoiser}+{decoder}",
            dtype=str(self.dtype).removeprefix("torch."),
            code=code_version(),
        )

    async def cached(
        self,
        operation: str,
        contract: type[M],
        parameters: dict[str, Any],
        inputs: tuple[str, ...],
        compute: Callable[[], Awaitable[M]],
    ) -> M:
        """The result of an operation on these inputs, computed at most once by this code with these weights."""
        return await self._cache.run(self._key(operation, parameters, inputs), contract, compute)

    def cached_here(
        self,
        operation: str,
        contract: type[M],
        parameters: dict[str, Any],
        inputs: tuple[str, ...],
        compute: Callable[[], M],
    ) -> M:
        """As `cached`, from a torch thread."""
        return self._cache.run_here(self._key(operation, parameters, inputs), contract, compute)

    def counts(self) -> list[ActionCount]:
        """How often each operation was computed and how often looked up, by all services of the state directory."""
        return self._cache.counts()

    def _key(self, operation: str, parameters: dict[str, Any], inputs: tuple[str, ...]) -> ActionKey:
        return ActionKey(
            operation=operation,
            code=code_version(),
            weights=self.site.weights_digest,
            # What is cached is read by the MLLM or encoded by the VAE, and both run on torch whatever denoises.
            engine=f"torch-{torch.__version__}-{self.device}",
            dtype=str(self.dtype).removeprefix("torch."),
            parameters={"preset": self.preset.model_dump(mode="json"), **parameters},
            inputs=inputs,
        )


def array_of(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor as it is stored: float32, in main memory."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array


def tensor_of(array: NDArray[Any]) -> Tensor:
    """A stored tensor for torch, which wants memory of its own that it may write to."""
    return torch.from_numpy(np.array(array))
