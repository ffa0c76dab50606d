"""A server that goes away while the page is open, and comes back: nothing is lost, and nobody has to reload."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from .conftest import Gate, Visit, opened, running


def test_a_server_that_goes_away_in_the_middle_of_a_job_and_comes_back(browser: Browser, tmp_path: Path) -> None:
    gate = Gate()
    gate.open()
    with running(tmp_path, gate) as studio:
        port = int(studio.url.rpartition(":")[2])
        leaving = opened(browser, studio)
        page = leaving.__enter__()
        visit = Visit(page, studio)
        visit.say("a star")
        expect(visit.result(1)).to_be_visible()
        gate.close()
        visit.say("make it blue")
        expect(page.locator('[data-turn="2"]').get_by_text("Step 2 of 4")).to_be_visible()
    try:
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("button", name="Settings").click()
        with running(tmp_path, gate, port) as again:
            gate.open()
            expect(visit.result(2)).to_be_visible()
            expect(page.get_by_text("Reconnecting…")).to_be_hidden()
            assert Visit(page, again).session()["num_turns"] == 2
        box = page.get_by_role("textbox", name="Instruction")
        box.fill("now make it green")
        box.press("Enter")
        expect(page.locator(".toast")).to_contain_text("cannot be reached; it may be restarting")
        expect(box).to_have_value("now make it green")
        with running(tmp_path, gate, port) as again:
            gate.open()
            expect(page.get_by_role("button", name="Send")).to_be_enabled()
            page.get_by_role("button", name="Send").click()
            expect(visit.result(3)).to_be_visible()
            assert Visit(page, again).session()["num_turns"] == 3
    finally:
        leaving.__exit__(None, None, None)
