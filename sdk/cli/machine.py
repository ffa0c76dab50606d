"""What this machine has: packages, ffmpeg, memory, accelerators. Nothing heavy is imported to find out."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version

__all__ = ["Machine", "look_around"]

_DISTRIBUTION = "vogue-video"
_GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """The findings. A package that is not installed has no version; memory is None where it cannot be read."""

    python: str
    system: str
    cpus: int
    memory_gib: float | None
    free_disk_gib: float
    gpus: tuple[tuple[str, float], ...]
    """(name, GiB) of each NVIDIA device."""
    ffmpeg: str | None
    ffmpeg_version: str | None
    base: dict[str, str | None]
    serve: dict[str, str | None]
    gpu: dict[str, str | None] = field(default_factory=dict)
    """Packages of the `gpu` extra."""

    @property
    def torch_is_cpu_build(self) -> bool:
        """Whether the installed torch cannot use a GPU: its version says which build it is."""
        return (self.serve.get("torch") or "").endswith("+cpu")

    @property
    def missing(self) -> list[str]:
        """Packages of the `serve` extra that are not installed."""
        return [name for name, found in self.serve.items() if found is None]


def look_around() -> Machine:
    """Inspect this machine."""
    ffmpeg = _find_ffmpeg()
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=_memory_gib(),
        free_disk_gib=shutil.disk_usage(".").free / _GIB,
        gpus=_gpus(),
        ffmpeg=ffmpeg,
        ffmpeg_version=_ffmpeg_version(ffmpeg),
        base=_versions(None),
        serve=_versions("serve"),
        gpu=_versions("gpu"),
    )


def _versions(extra: str | None) -> dict[str, str | None]:
    """Installed versions of what the distribution asks for, with or without an extra."""
    found: dict[str, str | None] = {}
    for line in requires(_DISTRIBUTION) or []:
        requirement, _, condition = line.partition(";")
        wanted = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", condition)
        if (wanted[1] if wanted else None) != extra:
            continue
        name = re.match(r"[\w.-]+", requirement.strip())
        if name is None:
            continue
        try:
            found[name[0]] = version(name[0])
        except PackageNotFoundError:
            found[name[0]] = None
    return found


def _find_ffmpeg() -> str | None:
    """The binary on PATH, else the one in imageio-ffmpeg's wheel, as the server does."""
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        return on_path
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def _output(*command: str) -> str | None:
    """What a program prints, or None if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _ffmpeg_version(binary: str | None) -> str | None:
    text = _output(binary, "-hide_banner", "-version") if binary is not None else None
    found = re.match(r"ffmpeg version (\S+)", text or "")
    return found[1] if found else None


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> tuple[tuple[str, float], ...]:
    text = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits") or ""
    rows = [line.rpartition(",") for line in text.splitlines() if "," in line]
    return tuple((name.strip(), float(mib) / 1024) for name, _, mib in rows if mib.strip().isdigit())
