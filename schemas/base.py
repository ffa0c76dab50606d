"""The base of every contract: frozen, closed to unknown fields, versioned where it travels."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["SCHEMA_VERSION", "Contract", "Message"]

SCHEMA_VERSION = 1


class Contract(BaseModel):
    """A value both sides agree on: immutable, no unknown fields, no NaN or infinity in numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
    )


class Message(Contract):
    """A contract that crosses a process border, so it says which version of the words it speaks."""

    schema_version: int = SCHEMA_VERSION
