"""A Triton server of our own on this machine: `python -m vogue.engines.compiled.triton_server --preset mini`.

The binary comes from NVIDIA's wheel `nvidia-pytriton`, which is unpacked beside the environment, never installed into it: it wants
NumPy 1. A server from NVIDIA's container serves the same repository.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from vogue.schemas.errors import EngineNotBuilt, ServiceError
from vogue.schemas.presets import get_preset

from ..registry import Site
from .triton_repository import write_repository

__all__ = ["WHEEL", "Ports", "main", "run_server", "unpack_server"]

WHEEL = "nvidia-pytriton==0.7.0"
"""55 MB packed, 150 MB unpacked."""

STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Ports:
    """Where a server listens on this machine's loopback."""

    http: int = 8000
    grpc: int = 8001

    @classmethod
    def free(cls) -> Ports:
        """Two ports that are free now."""
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            return cls(one.getsockname()[1], other.getsockname()[1])


def unpack_server(wheel: Path, folder: Path) -> Path:
    """Unpack a wheel's server under `folder`, its stub for this interpreter beside its Python backend; returns its folder.

    Raises:
        EngineNotBuilt: the wheel holds no server, or none for this version of Python.
    """
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    server = folder / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / STUB
    if not (server / "bin" / "tritonserver").is_file() or not stub.is_file():
        raise EngineNotBuilt(f"{wheel.name} holds no Triton server for Python {version}: fetch {WHEEL} for this machine")
    shutil.copyfile(stub, server / "backends" / "python" / STUB)
    for program in (server / "bin" / "tritonserver", server / "backends" / "python" / STUB):
        program.chmod(0o755)
    return server


@contextmanager
def run_server(server: Path, repository: Path, ports: Ports, log: Path, ready_within_s: float = 300.0) -> Iterator[None]:
    """Serve a repository on loopback until the block is left.

    Raises:
        EngineNotBuilt: there is no server.
        ServiceError: it ended before it was ready, or is not ready in time; the end of its log says why.
    """
    program = server / "bin" / "tritonserver"
    if not program.is_file():
        raise EngineNotBuilt(f"there is no Triton server at {program}: run `make triton`")
    command = [
        str(program),
        f"--model-repository={repository}",
        f"--backend-directory={server / 'backends'}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        "--allow-metrics=false",
        "--disable-auto-complete-config",
    ]
    libraries = [str(sysconfig.get_config_var("LIBDIR")), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = os.environ | {
        "PYTHONHOME": sys.base_prefix,  # the interpreter that the stub embeds finds its own library by this
        "LD_LIBRARY_PATH": ":".join(one for one in libraries if one),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
        try:
            _wait(process, ports, log, ready_within_s)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], ports: Ports, log: Path, within_s: float) -> None:
    import httpx

    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise ServiceError(f"the Triton server ended with {process.returncode}: {_end_of(log)}")
        try:
            if httpx.get(f"http://127.0.0.1:{ports.http}/v2/health/ready", timeout=5.0).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # it does not listen yet
        time.sleep(0.2)
    raise ServiceError(f"the Triton server is not ready after {within_s:g} s: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def main(arguments: list[str] | None = None) -> int:
    """Write a preset's model repository and serve it until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m vogue.engines.compiled.triton_server", description=__doc__)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--weights", type=Path, required=True, help="the preset's weights folder")
    parser.add_argument("--weights-digest", required=True, help="as `vogue weights verify` shows it")
    parser.add_argument("--server", type=Path, default=Path("build/triton/pytriton/tritonserver"), help="`make triton`")
    parser.add_argument("--repository", type=Path, default=Path(".vogue/triton"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--http-port", type=int, default=Ports.http)
    parser.add_argument("--grpc-port", type=int, default=Ports.grpc)
    options = parser.parse_args(arguments)
    site = Site(
        get_preset(options.preset), options.weights, options.weights_digest, options.device,
        getattr(torch, options.dtype), options.repository, options.threads,
    )  # fmt: skip
    names = write_repository(options.repository, site)
    ports = Ports(options.http_port, options.grpc_port)
    with run_server(options.server, options.repository, ports, options.repository / "server.log"):
        sys.stdout.write(f"serving {', '.join(names)} on 127.0.0.1, HTTP {ports.http}, gRPC {ports.grpc}\n")
        sys.stdout.flush()
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
