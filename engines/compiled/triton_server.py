"""A Triton server of our own on this machine: what `vogue engine serve` starts.

The binary comes from NVIDIA's wheel `nvidia-pytriton`, which is unpacked beside the environment, never installed into it: it wants
NumPy 1. A server from NVIDIA's container serves the same repository.
"""

from __future__ import annotations

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

import httpx

from vogue.schemas.errors import EngineNotBuilt, ServiceError

__all__ = ["WHEEL", "Ports", "run_server", "unpack_server"]

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
        raise EngineNotBuilt(
            f"{wheel.name} holds no Triton server for Python {version}: fetch {WHEEL} for this machine"
        )
    shutil.copyfile(stub, server / "backends" / "python" / STUB)
    for program in (server / "bin" / "tritonserver", server / "backends" / "python" / STUB):
        program.chmod(0o755)
    return server


@contextmanager
def run_server(
    server: Path, repository: Path, ports: Ports, log: Path, ready_within_s: float = 300.0
) -> Iterator[None]:
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
