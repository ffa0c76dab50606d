"""`vogue doctor`: what is installed, which presets can run here, why the others cannot, and which command comes next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from vogue.schemas.errors import VogueError
from vogue.schemas.presets import PRESETS

from .exits import ExitCode
from .machine import Machine, look_around
from .session import JsonFlag, ServerOption, Session, session_of
from .weights import inspect_folder, weights_folder

__all__ = ["PresetFinding", "doctor", "judge"]

# Memory that the whole graph takes, and the GPU that 7B + 13B parameters in bfloat16 with their activations take.
_GRAPH_GIB = {"tiny": 4.0, "mini": 6.0}
_RELEASE_GPU_GIB = 75.0


@dataclass(frozen=True)
class PresetFinding:
    """Whether a preset can run here: `obstacles` is empty if it can. `next` is the command that leads on."""

    name: str
    weights: str | None
    obstacles: tuple[str, ...]
    notes: tuple[str, ...] = ()
    next: str = ""


def judge(name: str, machine: Machine, given_weights: Path | None) -> PresetFinding:
    """Whether a preset can run on a machine. The tiny preset is random: it needs no weights."""
    obstacles = []
    if machine.missing:
        obstacles.append(f"{', '.join(machine.missing)} not installed: pip install 'vogue-video[serve]'")
    if machine.ffmpeg is None:
        obstacles.append("no ffmpeg on PATH, and imageio-ffmpeg brings none")
    elif machine.ffmpeg_version is None:
        obstacles.append(f"{machine.ffmpeg} does not run")
    folder = None if name == "tiny" else weights_folder(name, given_weights)
    faults = inspect_folder(folder) if folder is not None else []
    obstacles += [f"weights: {fault}" for fault in faults]
    needed_gib = _GRAPH_GIB.get(name)
    if needed_gib is None:
        obstacles += _gpu_obstacles(machine)
    elif machine.memory_gib is not None and machine.memory_gib < needed_gib:
        obstacles.append(f"needs {needed_gib:g} GiB of memory, and this machine has {machine.memory_gib:.1f}")
    return PresetFinding(
        name,
        str(folder) if folder is not None else None,
        tuple(obstacles),
        _notes(machine) if needed_gib is None else (),
        _next(name, machine, given_weights, bool(faults), bool(obstacles)),
    )


def _gpu_obstacles(machine: Machine) -> list[str]:
    largest = max((gib for _, gib in machine.gpus), default=0.0)
    if largest < _RELEASE_GPU_GIB:
        here = f"the largest here has {largest:.0f}" if machine.gpus else "there is none here"
        return [f"needs an NVIDIA GPU with {_RELEASE_GPU_GIB:.0f} GiB, and {here}"]
    if machine.torch_is_cpu_build:
        return [f"torch {machine.serve['torch']} is a build without CUDA: make install TORCH_ANY=1"]
    return []


def _notes(machine: Machine) -> tuple[str, ...]:
    if machine.gpu.get("tensorrt") is not None:
        return ()
    return ("TensorRT is not installed (pip install 'vogue-video[gpu]'); without it PyTorch runs the networks",)


def _next(name: str, machine: Machine, given_weights: Path | None, lacks_weights: bool, obstructed: bool) -> str:
    """The command to run next, from what stands in the way first to serving."""
    if machine.missing:
        return "pip install 'vogue-video[serve]'"
    if name in _GRAPH_GIB:
        options = f" --weights-dir {given_weights}" if given_weights is not None and name != "tiny" else ""
        return "" if obstructed else f"vogue serve --preset {name}{options}"
    if lacks_weights:
        return f"vogue weights import SRC --preset {name} --out DIR   (docs/released-weights.md)"
    if obstructed:
        return f"vogue capacity --preset {name} --gpu h100-80g   (which cards would do)"
    return f"vogue weights verify {given_weights or weights_folder(name, None)}; vogue serve --config deploy/h100.yaml"


def doctor(
    ctx: typer.Context,
    weights: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Look for weights here, as the server's weights_dir.")
    ] = None,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Say what is installed, what can run here and why not, and whether a server answers."""
    session = session_of(ctx)
    machine = look_around()
    findings = [judge(name, machine, weights) for name in PRESETS]
    url, state = _server_state(session, server)
    usable = any(not finding.obstacles for finding in findings)
    document = {
        "machine": asdict(machine),
        "presets": [asdict(finding) for finding in findings],
        "server": {"url": url, "state": state},
    }
    session.answer(
        document, lines=[*_machine_lines(machine), "", *_preset_lines(findings), "", f"server   {url}: {state}"]
    )
    if not usable and state != "ready":
        raise typer.Exit(ExitCode.UNFORESEEN)


def _server_state(session: Session, server: str | None) -> tuple[str, str]:
    with session.connect(server) as client:
        try:
            return client.server, "ready" if client.is_ready() else "starting, or unwell"
        except VogueError:
            return client.server, "does not answer (start one with `vogue serve`)"


def _machine_lines(machine: Machine) -> list[str]:
    memory = f"{machine.memory_gib:.1f} GiB memory" if machine.memory_gib is not None else "memory unknown"
    gpus = ", ".join(f"{name} ({gib:.0f} GiB)" for name, gib in machine.gpus) or "no NVIDIA GPU"
    packages = {**machine.base, **machine.serve}
    return [
        f"machine  {machine.system}, {machine.cpus} CPUs, {memory}, {machine.free_disk_gib:.0f} GiB disk free, {gpus}",
        f"python   {machine.python}",
        f"ffmpeg   {machine.ffmpeg_version or 'none'}{f' at {machine.ffmpeg}' if machine.ffmpeg else ''}",
        "packages " + ", ".join(f"{name} {found or '(missing)'}" for name, found in packages.items()),
    ]


def _preset_lines(findings: list[PresetFinding]) -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"preset   {finding.name}: {'cannot run here' if finding.obstacles else 'can run here'}")
        lines += [f"         - {remark}" for remark in (*finding.obstacles, *finding.notes)]
        if finding.next:
            lines.append(f"         next: {finding.next}")
    return lines
