"""One server for all tests of this folder: starting six processes takes its time."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from .cluster import Server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`vogue serve` with the tiny preset."""
    started = Server(tmp_path_factory.mktemp("serve"))
    yield started
    started.stop()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """Plain HTTP."""
    with httpx.Client(base_url=server.url, timeout=300.0) as made:
        yield made
