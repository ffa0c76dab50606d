"""Two keys before one server, each in a browser of its own: neither sees anything of the other, and a wrong key says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from vogue.schemas.access import Scope
from vogue.services.config import KeysConfig
from vogue.services.database import Database
from vogue.services.keys.store import KeyStore

from .conftest import Gate, LiveStudio, opened, running


class Guarded(NamedTuple):
    """A server that asks for keys, and two of them."""

    studio: LiveStudio
    mine: str
    theirs: str
    readers: str


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    gate = Gate()
    gate.open()
    database = Database(tmp_path / "jobs.sqlite")
    keys = KeyStore(database)
    made = [keys.create(name, scope)[1] for name, scope in (("a", Scope.WRITE), ("b", Scope.WRITE), ("c", Scope.READ))]
    database.close()
    with running(tmp_path, gate, keys=KeysConfig(required=True)) as studio:
        yield Guarded(studio, *made)


def _enter(page: Page, key: str) -> None:
    dialog = page.get_by_role("dialog", name="API key")
    dialog.get_by_label("API key").last.fill(key)
    dialog.get_by_label("API key").last.press("Enter")


def _say(page: Page, words: str) -> None:
    box = page.get_by_role("textbox", name="Instruction")
    box.fill(words)
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    box.press("Enter")


FETCHED = """async ([path, key]) => (await fetch(`/v1/${path}`, {headers: {authorization: `Bearer ${key}`}})).status"""


def test_a_stranger_sees_nothing_of_another_ones_conversation(browser: Browser, guarded: Guarded) -> None:
    with opened(browser, guarded.studio) as page:
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog).to_be_visible()
        _enter(page, "vogue_of-nobody-at-all")
        expect(dialog.get_by_role("alert")).to_contain_text("key")
        said = dialog.get_by_role("alert").inner_text()
        assert "unknown" in said and ("vogue keys" in said or "whoever" in said or "ask" in said), said
        _enter(page, guarded.mine)
        expect(dialog).to_have_count(0)
        _say(page, "a star of mine")
        expect(page.get_by_role("button", name="Show the result of turn 1,")).to_be_visible()
        address = page.url
        session = address.partition("session=")[2].partition("&")[0]
        assert page.evaluate(FETCHED, [f"sessions/{session}", guarded.mine]) == 200

    with opened(browser, guarded.studio) as page:
        _enter(page, guarded.theirs)
        page.goto(address)
        page.reload()
        expect(page.locator(".toast")).to_contain_text("no session")
        expect(page.get_by_text("What shall we make?")).to_be_visible()
        page.locator("#open-sessions").click()
        expect(page.get_by_role("dialog", name="Conversations")).to_contain_text("There are none yet.")
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        assert page.evaluate(FETCHED, [f"sessions/{session}", guarded.theirs]) == 404
        assert "a star of mine" not in page.content()
        _say(page, "a star of theirs")
        expect(page.get_by_role("button", name="Show the result of turn 1,")).to_be_visible()
        page.locator("#open-sessions").click()
        expect(page.get_by_role("dialog").get_by_role("button", name="a star of theirs").first).to_be_visible()
        assert "a star of mine" not in page.content()


def test_a_key_that_only_reads_says_so_and_loses_no_words(browser: Browser, guarded: Guarded) -> None:
    with opened(browser, guarded.studio) as page:
        _enter(page, guarded.readers)
        _say(page, "a star")
        expect(page.locator(".toast")).to_contain_text("write")
        expect(page.get_by_role("textbox", name="Instruction")).to_have_value("a star")
