"""The pictures of docs/studio.md: `python tests/studio/screenshots.py docs`.

A gateway, an orchestrator and the mini model in one process, and a real Chromium before them. Where the weights have not learnt to
plan, the plan in `studio-plan.png` is written by the fake of `vogue.services.fakes`; everything else is the model's.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from vogue.graph.state import Ports
from vogue.services.codec import CodecService
from vogue.services.config import AppConfig
from vogue.services.connector import ConnectorService
from vogue.services.denoiser import DenoiserService
from vogue.services.fakes import FakeUnderstanding
from vogue.services.stepping import load_loop
from vogue.services.understanding import UnderstandingService
from vogue.services.workplace import Workplace

PATIENCE_MS = 300_000
MOST_BYTES = 300_000
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 400, "height": 780}


def _live() -> ModuleType:
    """The server that the tests use."""
    spec = importlib.util.spec_from_file_location("live", Path(__file__).parents[1] / "live.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("live.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["live"] = module
    spec.loader.exec_module(module)
    return module


def _learnt(live: ModuleType, preset: str, state_dir: Path) -> Any:
    """The networks of a preset."""
    place = Workplace(AppConfig(preset=preset, state_dir=state_dir))
    loop, understanding = load_loop(place), UnderstandingService.load(place)
    denoiser = DenoiserService(loop, place.blobs)
    known = place.preset
    if not known.can_plan:
        known = known.model_copy(update={"can_plan": True})
        understanding.plan = FakeUnderstanding(known, place.blobs).plan  # type: ignore[method-assign]
    ports = Ports(understanding, ConnectorService.load(place), denoiser, CodecService.load(place))
    return live.Engines(known, place.blobs, ports, denoiser.close)


@contextmanager
def serving(state_dir: Path, preset: str) -> Iterator[str]:
    """A server with the networks of a preset."""
    live = _live()
    with live.on_a_port(lambda: live.gateway(state_dir, _learnt(live, preset, state_dir), release=lambda: None)) as url:
        yield url


def shoot(page: Page, folder: Path, name: str) -> None:
    """Write a screenshot, with fewer colours if it would be too large."""
    path = folder / f"studio-{name}.png"
    page.wait_for_timeout(600)  # what fades in has come in
    page.screenshot(path=path)
    with Image.open(path) as taken:
        picture = taken.convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        picture.quantize(255).save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; at most {MOST_BYTES} are wanted")


def say(page: Page, words: str, number: int) -> None:
    """The next turn, until it is over."""
    box = page.get_by_role("textbox", name="Instruction")
    box.fill(words)
    box.press("Enter")
    expect(page.get_by_role("button", name=f"Show the result of turn {number},")).to_be_visible()


def converse(page: Page, folder: Path) -> None:
    """A conversation worth showing, photographed on its way."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Steps per preview").fill("1")
    page.get_by_role("button", name="Settings").click()
    say(page, "a large yellow star moves left on a brown background", 1)
    say(page, "now make it blue", 2)
    page.get_by_role("button", name="Undo").click()
    say(page, "paint the star in purple", 3)
    page.get_by_role("region", name="Player").get_by_role("button", name="Pause").click()
    shoot(page, folder, "light")
    page.get_by_role("region", name="Player").get_by_role("button", name="Compare").click()
    page.get_by_role("combobox", name="Left").select_option("2")
    expect(page.locator(".verdict")).not_to_be_empty()
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    shoot(page, folder, "dark")
    page.get_by_role("button", name="Back", exact=True).click()
    page.get_by_role("button", name="Draw on it").click()
    canvas = page.get_by_role("application")
    box = canvas.bounding_box()
    if box is None:
        raise ValueError("there is nothing to draw on")
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.up()
    shoot(page, folder, "draw")
    page.get_by_role("button", name="Use the drawing").click()
    expect(page.get_by_role("list", name="Inputs of the next turn").get_by_role("listitem")).to_have_count(2)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Thinking").select_option("review")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("form", name="Plan of turn 4")).to_be_visible()
    shoot(page, folder, "plan")
    page.get_by_role("region", name="Conversation").get_by_role("button", name="Reject").click()
    expect(page.locator(".outcome .fault")).to_be_visible()
    page.get_by_role("treeitem", name="Turn 3").click()
    page.set_viewport_size(NARROW)
    page.get_by_role("button", name="Player", exact=True).click()
    shoot(page, folder, "narrow")


def main() -> int:
    """Write the pictures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="mini")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("there is no chromium on PATH")
    expect.set_options(timeout=PATIENCE_MS)
    with (
        tempfile.TemporaryDirectory() as state,
        serving(Path(state), arguments.preset) as url,
        sync_playwright() as driver,
    ):
        flags = list(sys.modules["live"].CHROMIUM_FLAGS)
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_context(viewport=WIDE, device_scale_factor=1).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}/studio")
        converse(page, arguments.folder)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
