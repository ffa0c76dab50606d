"""Settings of calls to other servers: which URLs that users name are called, if any, and how long and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, IPvAnyNetwork, PositiveFloat, PositiveInt, StringConstraints

from vogue.schemas.base import Contract

__all__ = ["OutboundConfig", "UrlInputConfig", "WebhookConfig"]

_HostName = Annotated[
    str, StringConstraints(pattern=r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=253)
]


class OutboundConfig(Contract):
    """Which URLs this server calls for its users: none, unless `enabled`. Addresses that are not public it never calls."""

    enabled: bool = False
    schemes: Annotated[tuple[Literal["https", "http"], ...], Field(min_length=1)] = ("https", "http")
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(min_length=1)] = (443, 80)
    hosts: tuple[_HostName, ...] = ()
    """Names that may be called, or `*.name` for all below one; without any, every public host."""
    blocked_networks: tuple[IPvAnyNetwork, ...] = ()
    """Public networks that must not be called either, such as the operator's own, `192.0.2.0/24`."""
    timeout_s: PositiveFloat = 30.0
    """For a whole fetch with all its redirects, or for one delivery."""


class UrlInputConfig(OutboundConfig):
    """Inputs that are named by URL and fetched."""

    max_bytes: PositiveInt | None = None
    """The largest file; by default what the preset takes as an upload."""
    max_redirects: Annotated[int, Field(ge=0, le=20)] = 3
    max_at_once: PositiveInt = 8
    """Fetches of one gateway process; further ones wait, within their time."""


class WebhookConfig(OutboundConfig):
    """Messages to the URL that a job's request names."""

    timeout_s: PositiveFloat = 15.0
    secret_file: Path | None = None
    """Holds the secret that signatures are made with, `whsec_` and base64; by default one is made in the state directory."""
    max_attempts: PositiveInt = 10
    first_delay_s: PositiveFloat = 5.0
    """Before the second attempt. Each further delay is three times as long, up to `max_delay_s`."""
    max_delay_s: PositiveFloat = 21_600.0
    max_at_once: PositiveInt = 8

    def at_home(self) -> Self:
        """The same with a path that means the same place from every folder."""
        path = self.secret_file.expanduser().resolve() if self.secret_file is not None else None
        return self.model_copy(update={"secret_file": path})
