"""A Ray cluster of one machine around the application: started here, stopped here.

HTTP is on the loopback interface unless another host is named, and Ray's own ports, through which code can be run, always are. The
ports between replicas are Serve's choice and lie on all interfaces; like Ray's they ask for a token that is made anew for each start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import yaml  # type: ignore[import-untyped]

from vogue.schemas.errors import RequestInvalid, ServiceError
from vogue.schemas.wire import validate

from .config import AppConfig
from .keys.exposure import guarded, is_loopback

__all__ = ["local_cluster", "serve_here"]

_OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Tensors travel as references to files, so Ray's own store stays nearly empty."""
LOOPBACK = "127.0.0.1"
_EVERYWHERE = ("0.0.0.0", "::")
_SERVE_ON_ONE_MACHINE = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
}
"""Each wake-up of another thread or process takes time from the steps, which use all cores. Our services do nothing slow on their
event loops, so Serve's own work may share those; and a replica that died is found half a second later at most."""
_FOLDER = "vogue-ray-"
_OWNER = "owner.lock"


@contextmanager
def local_cluster(port: int, *, host: str = LOOPBACK, quiet: bool = True) -> Iterator[None]:
    """Ray on the loopback interface and HTTP on the host's, without a dashboard, behind a token that only child processes know."""
    # Ray takes a loopback address for a mistake and replaces it by the machine's own, unless it is told that no other
    # machine will join, by a variable that is meant for laptops. It is read when Ray is imported.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # Ray asks for a token by default on a cluster that it starts itself, but would keep it in the home directory.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for name, value in _SERVE_ON_ONE_MACHINE.items():
        os.environ.setdefault(name, value)
    import ray
    from ray import serve

    with ray_folder(Path("/tmp")) as folder:
        try:
            _start_ray(folder, quiet)
            # Serve tells of every start; the services' own logs are in Ray's folder, or shown when asked for.
            logging.getLogger("ray.serve").setLevel(logging.ERROR)
            serve.start(
                proxy_location="HeadOnly",
                http_options={"host": host, "port": port},
                logging_config={"log_level": "WARNING", "enable_access_log": False},
            )
            yield
        finally:
            try:
                if ray.is_initialized():
                    serve.shutdown()
            finally:
                ray.shutdown()


@contextmanager
def ray_folder(parent: Path) -> Iterator[str]:
    """A new folder for Ray's sockets and logs; those that killed servers left behind are removed before.

    A lock tells who lives: the kernel drops it with the process that holds it, however that ends. A path is short, because
    those of Unix sockets may have 107 bytes only.
    """
    for left in parent.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError):
            facts = left.lstat()
            # Everybody may write to /tmp: what others put there under our name is not followed.
            if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and (left / _OWNER).is_file():
                with _locked(left / _OWNER):
                    shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=parent))
    try:
        with _locked(folder / _OWNER):
            yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start_ray(folder: str, quiet: bool) -> None:
    """Start Ray's own processes; on a very busy machine they may miss Ray's patience of 30 seconds once.

    Raises:
        ServiceError: they missed it again.
    """
    import ray

    for last in (False, True):
        try:
            ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
                object_store_memory=_OBJECT_STORE_BYTES,
                logging_level=logging.ERROR,
                log_to_driver=not quiet,
            )
            return
        # Ray raises a bare Exception here.
        except Exception as error:
            ray.shutdown()
            if last:
                raise ServiceError(f"Ray could not be started: {error}") from error


def read_config(path: Path | None, **overrides: Any) -> AppConfig:
    """The application's settings from a Serve configuration file, with options of the command line on top.

    Raises:
        RequestInvalid: the file is not one, or a setting is wrong.
    """
    args: dict[str, Any] = {}
    if path is not None:
        try:
            (application,) = yaml.safe_load(path.read_text(encoding="utf-8"))["applications"]
            args = dict(application.get("args", {}))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise RequestInvalid(f"{path} is not a Serve configuration of one application: {error}") from error
    return validate(AppConfig, args | {name: value for name, value in overrides.items() if value is not None})


def serve_here(
    preset: Annotated[str | None, typer.Option(help="tiny, mini, univideo-hidden or univideo-queries.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own need keys (`vogue keys create`).")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    state_dir: Annotated[Path | None, typer.Option(help="Jobs and files are kept here.")] = None,
    weights_dir: Annotated[Path | None, typer.Option(help="Folder with the preset's weights.")] = None,
    config: Annotated[Path | None, typer.Option(help="A Serve configuration, such as serve_config.yaml.")] = None,
    verbose: Annotated[bool, typer.Option(help="Show what the services log.")] = False,
) -> None:
    """Serve VOGUE on this machine until Ctrl-C."""
    settings = named_after(read_config(config, preset=preset, state_dir=state_dir, weights_dir=weights_dir), host)
    # Before anything starts; `build` asks again where Serve really listens.
    guarded(settings, host)
    _check_port(host, port)
    stopped = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    # Until everything stands, SIGTERM unwinds as Ctrl-C does, so that no half-started cluster stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _alone(settings.state_dir), local_cluster(port, host=host, quiet=not verbose):
        # After Ray, which installs handlers of its own.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        from ray import serve

        from .app import APP_NAME, build

        application = build(settings)
        typer.echo(f"starting {settings.preset}; jobs and files are kept in {settings.state_dir}", err=True)
        serve.run(application, name=APP_NAME, route_prefix="/", blocking=False)
        typer.echo(f"ready: http://{LOOPBACK if host in _EVERYWHERE else host}:{port}")
        stopped.wait()
        typer.echo("stopping; unfinished jobs go on after the next start", err=True)


def named_after(config: AppConfig, host: str) -> AppConfig:
    """The settings, with the address listened on as a name of the server, so that whoever calls it by that is answered."""
    if host in _EVERYWHERE or is_loopback(host) or host in config.hosts:
        return config
    return config.model_copy(update={"hosts": (*config.hosts, f"[{host}]" if ":" in host else host)})


def _check_port(host: str, port: int) -> None:
    """Find out now rather than from a proxy that never gets ready.

    Raises:
        ServiceError: somebody listens there already.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceError(
                f"port {port} cannot be used on {host} ({error.strerror}); choose another --port"
            ) from error


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Hold the state directory: two servers on one SQLite file would take each other's jobs.

    Raises:
        ServiceError: another server holds it.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(state_dir / "server.lock"))
        except BlockingIOError as error:
            raise ServiceError(f"another server already uses {state_dir}; choose another --state-dir") from error
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file, made if it is missing.

    Raises:
        BlockingIOError: another process holds it.
    """
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
