"""Whether others can reach the server, and that it does not stand open to them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from vogue.schemas.errors import RequestInvalid

from ..config import AppConfig
from ..database import Database
from .store import KeyStore

__all__ = ["bound_host", "guarded", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bound_host() -> str | None:
    """Where Serve listens in the cluster of this process; None if nobody has started it."""
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    if not ray.is_initialized():
        return None
    try:
        controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    except ValueError:
        return None
    options: Any = ray.get(controller.get_http_config.remote(), timeout=30)
    # Without a host, Serve listens nowhere.
    return options.host or "127.0.0.1"


def guarded(config: AppConfig, host: str | None) -> bool:
    """Whether requests need keys.

    Args:
        host: where the server listens, as far as that is known.

    Raises:
        RequestInvalid: others could reach the server, and it would let everybody in, or nobody.
    """
    outside = host is not None and not is_loopback(host)
    # A server with other names is called from elsewhere, through a proxy on this machine.
    reached = outside or not all(is_loopback(name) for name in config.hosts)
    required = reached if config.keys.required is None else config.keys.required
    if outside and not required:
        raise RequestInvalid(
            f"the server would listen on {host}, where others reach it, and ask for no keys: leave `keys.required` out of the"
            f" configuration (or set it to true) and make a key with `vogue keys create NAME --state-dir {config.state_dir}`,"
            " or listen on 127.0.0.1",
            param="keys.required",
        )
    if required and not _any_key(config.state_dir):
        raise RequestInvalid(
            f"the server would ask for keys, and there are none: make one with"
            f" `vogue keys create NAME --state-dir {config.state_dir}`, then start it again",
            param="keys",
        )
    return required


def _any_key(state_dir: Path) -> bool:
    path = state_dir / "jobs.sqlite"
    if not path.is_file():
        return False
    database = Database(path)
    try:
        return KeyStore(database).any_usable()
    finally:
        database.close()
