"""A real browser before a real server: the gateway and the orchestrator as they are, a real codec, and fakes for the networks."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from vogue.schemas.ports import Denoiser
from vogue.schemas.presets import get_preset
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint
from vogue.services.codec import CodecService
from vogue.services.config import AppConfig, KeysConfig
from vogue.services.fakes import fake_ports
from vogue.services.workplace import Workplace

from ..live import CHROMIUM_FLAGS, Engines, gateway, on_a_port

PATIENCE_MS = 90_000
"""How long to wait for what must come; a busy machine needs it, a good run does not."""


@dataclass
class Gate:
    """A door that every job passes after its second step, where it can also be cancelled."""

    opened: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        self.opened.clear()

    def open(self) -> None:
        self.opened.set()


class GatedDenoiser:
    """A denoiser whose events stop at the gate."""

    def __init__(self, inner: Denoiser, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate
        self._cancelled: set[str] = set()

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        await self._inner.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        async for event in self._inner.events(job_id, after):
            yield event
            if event.kind != "step" or event.steps_done != 2:
                continue
            while not self._gate.opened.is_set():
                if job_id in self._cancelled:
                    yield event.model_copy(update={"kind": "cancelled"})
                    return
                await asyncio.sleep(0.01)

    async def room_bytes(self) -> int | None:
        return None

    async def cancel(self, job_id: str) -> None:
        self._cancelled.add(job_id)
        await self._inner.cancel(job_id)


@dataclass
class LiveStudio:
    """Where it listens, and what the tests hold."""

    url: str
    gate: Gate

    def api(self, path: str) -> dict[str, Any]:
        """What the server says, past the page."""
        answer = httpx.get(f"{self.url}/v1/{path}", timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@dataclass
class Visit:
    """What somebody does in every conversation."""

    page: Page
    studio: LiveStudio

    def say(self, words: str) -> None:
        """Type and send."""
        box = self.page.get_by_role("textbox", name="Instruction")
        box.fill(words)
        # Files may still be on their way up.
        expect(self.page.get_by_role("button", name="Send")).to_be_enabled()
        box.press("Enter")

    def result(self, number: int) -> Locator:
        """The picture of a turn's result in the conversation."""
        return self.page.get_by_role("button", name=f"Show the result of turn {number},")

    def session(self) -> dict[str, Any]:
        """The open conversation as the server has it."""
        address = parse_qs(self.page.url.partition("#")[2])
        return self.studio.api(f"sessions/{address['session'][0]}")


def fake_engines(state_dir: Path, gate: Gate) -> Engines:
    """Fakes, which can all that weights may have learnt, but a real codec: a browser shows real media only."""
    place = Workplace(AppConfig(preset="tiny", state_dir=state_dir))
    preset = get_preset("tiny").model_copy(update={"can_plan": True, "can_review": True})
    ports = fake_ports(preset, place.blobs)
    inner = ports.denoiser
    ports = replace(ports, codec=CodecService.load(place), denoiser=GatedDenoiser(inner, gate))
    return Engines(preset, place.blobs, ports, inner.close)  # type: ignore[attr-defined]


@contextmanager
def running(state_dir: Path, gate: Gate, port: int = 0, keys: KeysConfig | None = None) -> Iterator[LiveStudio]:
    """A server on fakes while the block lasts, at a port of its own or at the one given."""
    with on_a_port(lambda: gateway(state_dir, fake_engines(state_dir, gate), gate.open, keys), port) as url:
        yield LiveStudio(url, gate)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStudio]:
    """A server for all tests of the page."""
    gate = Gate()
    gate.open()
    with running(tmp_path_factory.mktemp("studio"), gate) as live:
        yield live


@pytest.fixture(scope="module")
def browser(require: Callable[[bool, str], None]) -> Iterator[Browser]:
    """Headless Chromium, for one module: while its driver runs, no test with an event loop of its own can."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    require(found is not None, "there is no chromium on PATH (Debian: apt-get install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=found, args=list(CHROMIUM_FLAGS), headless=True)
        yield made
        made.close()


@contextmanager
def opened(browser: Browser, studio: LiveStudio) -> Iterator[Page]:
    """The studio in a fresh profile. A script error, a refused resource or a page of another host fails the test."""
    studio.gate.open()
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    made = context.new_page()
    faults: list[str] = []
    made.on("pageerror", lambda error: faults.append(f"a script failed: {error}"))
    made.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    made.on("request", lambda sent: None if _is_own(sent.url, studio.url) else faults.append(f"asked for {sent.url}"))
    made.goto(f"{studio.url}/studio")
    yield made
    studio.gate.open()
    context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def page(browser: Browser, studio: LiveStudio) -> Iterator[Page]:
    """The studio of everybody's server; see `opened`."""
    with opened(browser, studio) as made:
        yield made


def _is_own(url: str, own: str) -> bool:
    return url.startswith((f"{own}/", f"blob:{own}/"))


@pytest.fixture
def visit(page: Page, studio: LiveStudio) -> Visit:
    """A conversation to be had."""
    return Visit(page, studio)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small picture: a yellow square on brown."""
    made = Image.new("RGB", (32, 32), (90, 60, 30))
    made.paste((250, 220, 40), (4, 8, 16, 20))
    made.save(tmp_path / "square.png")
    return tmp_path / "square.png"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Five frames of a square on its way."""
    frames = [Image.new("RGB", (32, 32), (90, 60, 30)) for _ in range(5)]
    for index, frame in enumerate(frames):
        frame.paste((250, 220, 40), (4 * index, 8, 4 * index + 12, 20))
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=125)
    return tmp_path / "moving.gif"
