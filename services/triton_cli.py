"""`vogue engine serve`: a Triton server with the networks of a preset, on this machine.

Torch is loaded when the command runs, not when the command line is built.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from .config import AppConfig
from .options import PresetOption, StateOption, WeightsOption
from .speaking import speaker_of

__all__ = ["serve"]


def serve(
    ctx: typer.Context,
    preset: PresetOption = "mini",
    server: Annotated[Path, typer.Option(metavar="DIR", help="The unpacked server; `make triton` fetches one.")] = Path(
        "build/triton/pytriton/tritonserver"
    ),
    state_dir: StateOption = Path(".vogue"),
    weights_dir: WeightsOption = None,
    http_port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535)] = 8001,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each network.")] = 2,
    write_only: Annotated[
        bool, typer.Option("--write-only", help="Write the model repository and stop: for a server of your own.")
    ] = False,
) -> None:
    """Write a model repository of the preset's networks, and serve it on loopback until Ctrl-C."""
    speaker = speaker_of(ctx)
    from vogue.engines.compiled.triton_repository import write_repository
    from vogue.engines.compiled.triton_server import Ports, run_server

    from .workplace import Workplace

    state_dir.mkdir(parents=True, exist_ok=True)
    site = Workplace(AppConfig(preset=preset, state_dir=state_dir, weights_dir=weights_dir), threads).site
    repository = (state_dir / "triton" / preset).resolve()
    names = write_repository(repository, site)
    document = {"repository": str(repository), "models": names}
    if write_only:
        speaker.answer(document, lines=[f"{', '.join(names)} in {repository}"])
        return
    stopped = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stopped.set())
    with run_server(server, repository, Ports(http_port, grpc_port), repository.with_suffix(".log")):
        speaker.answer(
            document | {"http_port": http_port, "grpc_port": grpc_port},
            lines=[f"{', '.join(names)} on 127.0.0.1, HTTP {http_port}, gRPC {grpc_port}; Ctrl-C ends it"],
        )
        stopped.wait()
