"""Fake ports for the flow, over a store of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from vogue.graph.state import Ports
from vogue.services.blobs import BlobStore
from vogue.services.fakes import fake_ports

from .diaries import PRESET


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
async def ports(blobs: BlobStore) -> Ports:
    return fake_ports(PRESET, blobs)
