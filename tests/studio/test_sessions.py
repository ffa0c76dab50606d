"""The list of conversations in a real browser: one is deleted after a question, and only that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from .conftest import LiveStudio, Visit


def test_a_conversation_is_deleted_after_a_question(page: Page, visit: Visit) -> None:
    visit.say("a star that goes")
    expect(visit.result(1)).to_be_visible()
    gone = visit.session()
    job_id = gone["turns"][0]["job_id"]
    page.locator("#open-sessions").click()
    dialog = page.get_by_role("dialog", name="Conversations")
    dialog.get_by_role("button", name="Delete “a star that goes”…").click()
    question = dialog.get_by_role("group", name="Delete “a star that goes”?")
    expect(question).to_contain_text("All of it is lost (1 turn)")
    expect(question).to_contain_text("Files that were made stay")
    expect(question.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(question).to_have_count(0)
    expect(dialog.get_by_role("button", name="Delete “a star that goes”…")).to_be_focused()
    assert visit.studio.api(f"sessions/{gone['id']}")["num_turns"] == 1
    page.set_viewport_size({"width": 400, "height": 760})
    page.keyboard.press("Enter")
    expect(question).to_be_visible()
    inside = "e => e.getBoundingClientRect().right <= innerWidth"
    assert question.evaluate(inside) and question.get_by_role("button", name="Delete it").evaluate(inside)
    question.get_by_role("button", name="Delete it").click()
    expect(dialog.get_by_role("button", name="a star that goes")).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text="“a star that goes” is deleted")).to_have_count(1)
    ids = {one["id"] for one in visit.studio.api("sessions?limit=200")["data"]}
    assert gone["id"] not in ids
    assert visit.studio.api(f"jobs/{job_id}")["assets"], "what was made stays"
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_text("What shall we make?")).to_be_visible()
    assert "session=" not in page.url


def test_one_with_a_turn_at_work_stays_and_says_why(page: Page, visit: Visit, studio: LiveStudio) -> None:
    studio.gate.close()
    visit.say("a star at work")
    expect(page.locator(".turn").get_by_text("Step 2 of 4")).to_be_visible()
    page.locator("#open-sessions").click()
    dialog = page.get_by_role("dialog", name="Conversations")
    dialog.get_by_role("button", name="Delete “a star at work”…").first.click()
    dialog.get_by_role("button", name="Delete it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("still at work")
    dialog.get_by_role("button", name="Keep it").click()
    dialog.get_by_role("button", name="Close").click()
    studio.gate.open()
    expect(visit.result(1)).to_be_visible()
