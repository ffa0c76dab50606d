"""Conversations in a real browser: uploads, edits, branches, cancels, reloads, comparisons."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, Route, expect

if TYPE_CHECKING:
    from .conftest import LiveStudio, Visit


DROP = """async ([name, type, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, {type}));
    for (const kind of ["dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
    }
}"""


def test_a_dropped_clip_is_edited_and_edited_again(page: Page, visit: Visit, clip: Path) -> None:
    page.evaluate(DROP, ["moving.gif", "image/gif", list(clip.read_bytes())])
    chip = page.get_by_role("list", name="Inputs of the next turn")
    expect(chip.get_by_text("video1")).to_be_visible()
    visit.say("make the square in video1 blue")
    expect(visit.result(1)).to_be_visible()
    expect(chip).to_be_hidden()
    expect(page.get_by_role("status").filter(has_text="Turn 1 is ready")).to_have_count(1)
    visit.say("now make it <b>red</b>")
    expect(visit.result(2)).to_be_visible()
    turns = visit.session()["turns"]
    assert [(turn["parent"], turn["inputs"][0]["tag"], turn["inputs"][0]["role"]) for turn in turns] == [
        (None, "video1", "source"),
        (1, "turn1", "source"),
    ]
    player = page.get_by_role("region", name="Player")
    video = player.get_by_label("Result of turn 2: now make it <b>red</b>")
    expect(video).to_have_js_property("videoWidth", 32)
    player.get_by_role("button", name="Next frame").click()
    expect(player.get_by_role("slider", name="Frame")).to_have_attribute("aria-valuetext", "frame 2 of 5")
    with page.expect_download() as saved:
        player.get_by_role("button", name="Download").click()
    assert saved.value.suggested_filename.endswith(".mp4")
    assert b"ftyp" in Path(saved.value.path()).read_bytes()[:32]


def test_branches_undo_and_another_seed_grow_a_tree(page: Page, visit: Visit) -> None:
    visit.say("a star")
    expect(visit.result(1)).to_be_visible()
    visit.say("make it red")
    expect(visit.result(2)).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".turn")).to_have_count(1)
    expect(page.get_by_text("Follows turn 1", exact=True)).to_be_visible()
    visit.say("make it green")
    expect(visit.result(3)).to_be_visible()
    page.locator('[data-turn="3"]').get_by_role("button", name="Another seed").click()
    expect(visit.result(4)).to_be_visible()
    page.get_by_role("button", name="Begin anew").click()
    visit.say("a ring")
    expect(visit.result(5)).to_be_visible()
    tree = page.get_by_role("tree", name="Lineage")
    expect(tree.get_by_role("treeitem")).to_have_count(6)
    tree.get_by_role("treeitem", name="Turn 2: make it red. Ready").click()
    page.get_by_role("region", name="Player").get_by_role("button", name="Branch from here").click()
    expect(page.get_by_text("Follows turn 2", exact=True)).to_be_visible()
    found = visit.session()
    assert [turn["parent"] for turn in found["turns"]] == [None, 1, 1, 1, None]
    assert (found["head"], found["turns"][3]["replay_of"]) == (2, 3)


def test_the_tier_is_chosen(page: Page, visit: Visit) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Tier").select_option("fast")
    visit.say("a quick star")
    expect(visit.result(1)).to_be_visible()
    page.get_by_label("Tier").select_option("")
    visit.say("make it blue")
    expect(visit.result(2)).to_be_visible()
    jobs = [turn["job"] for turn in visit.session()["turns"]]
    assert [(job["request"]["tier"], job["spec"]["tier"]) for job in jobs] == [("fast", "fast"), (None, "exact")]


def test_a_job_is_cancelled(page: Page, visit: Visit, studio: LiveStudio) -> None:
    studio.gate.close()
    visit.say("a star that takes its time")
    expect(page.locator(".turn").get_by_text("Step 2 of 4")).to_be_visible()
    page.locator(".turn").get_by_role("button", name="Cancel").click()
    expect(page.locator(".outcome").get_by_text("Cancelled.")).to_be_visible()
    assert visit.session()["turns"][0]["job"]["status"] == "cancelled"


def test_a_reload_in_the_middle_of_a_job_misses_nothing(page: Page, visit: Visit, studio: LiveStudio) -> None:
    studio.gate.close()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Steps per preview").fill("1")
    visit.say("a star that takes its time")
    expect(page.get_by_role("progressbar", name="Progress of turn 1")).to_have_js_property("value", 0.5)
    expect(page.get_by_role("img", name="A preview of the result on its way").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("progressbar", name="Progress of turn 1")).to_have_js_property("value", 0.5)
    expect(page.get_by_role("img", name="A preview of the result on its way").first).to_be_visible()
    studio.gate.open()
    expect(visit.result(1)).to_be_visible()


def test_a_broken_stream_is_taken_up_after_the_last_event(page: Page, visit: Visit) -> None:
    asked: list[str | None] = []

    def break_once(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        if len(asked) == 1:
            answer = route.fetch()
            first = answer.text().split("\n\n")[0]
            route.fulfill(status=200, content_type="text/event-stream", body=f"{first}\n\nid: 9\ndata: {{")
        else:
            route.continue_()

    page.route("**/v1/jobs/*/events", break_once)
    visit.say("a star")
    expect(visit.result(1)).to_be_visible()
    assert asked[:2] == [None, "1"]


def test_two_turns_are_compared(page: Page, visit: Visit) -> None:
    for number, words in enumerate(("a star", "make it blue"), 1):
        visit.say(words)
        expect(visit.result(number)).to_be_visible()
    page.get_by_role("region", name="Player").get_by_role("button", name="Compare").click()
    comparison = page.get_by_role("group", name="Comparison of two turns")
    expect(comparison.get_by_label("Left: result of turn 1, a star")).to_have_js_property("videoWidth", 32)
    expect(comparison.get_by_label("Right: result of turn 2, make it blue")).to_have_js_property("videoWidth", 32)
    expect(comparison.get_by_role("rowheader", name="asked")).to_be_visible()
    expect(comparison.get_by_role("status")).to_have_text(re.compile("PSNR|same"))
    comparison.get_by_label("Shown").select_option("over")
    comparison.get_by_role("slider", name="How much of the left one").fill("20")
    assert page.locator(".compare-place").evaluate("e => e.style.getPropertyValue('--wipe')") == "20%"
    comparison.get_by_role("button", name="Back").click()
    expect(comparison).to_have_count(0)


def test_a_question_is_answered_and_a_fault_loses_no_words(page: Page, visit: Visit, picture: Path) -> None:
    page.get_by_label("Files to add").set_input_files(picture)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Task").select_option("understand")
    visit.say("what is on image1?")
    expect(page.locator(".answer")).to_have_text("1 visuals")
    page.get_by_label("Task").select_option("")
    visit.say("put image9 on it")
    expect(page.get_by_role("alert").filter(has_text="there is no image9")).to_be_visible()
    expect(page.get_by_role("textbox", name="Instruction")).to_have_value("put image9 on it")
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_label("Files to add").set_input_files(
        {"name": "<i>.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    expect(page.get_by_role("alert").filter(has_text="<i>.png: ")).to_be_visible()
    expect(page.get_by_role("list", name="Inputs of the next turn")).to_be_hidden()


def test_conversations_are_found_again(page: Page, visit: Visit) -> None:
    visit.say("a star to come back to")
    expect(visit.result(1)).to_be_visible()
    page.get_by_role("button", name="a star to come back to").click()
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_text("What shall we make?")).to_be_visible()
    page.get_by_role("button", name="New conversation").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^a star to come back to")).first.click()
    expect(visit.result(1)).to_be_visible()


PARSED = """async (pieces) => {
    const {EventParser} = await import("./studio/events.js");
    const parser = new EventParser();
    return pieces.flatMap((piece) => parser.push(piece)).map(({id, data}) => [id, data]);
}"""


@pytest.mark.parametrize("cut", [lambda text: [text], list], ids=["at once", "by characters"])
def test_event_streams_are_read_whatever_the_pieces(page: Page, cut: Callable[[str], list[str]]) -> None:
    stream = ": still here\n\nid: 1\nevent: step\ndata: {a\ndata:b: c}\n\nid: 2\r\ndata: d\r\n\r\nid: 3\ndata: cut off"
    assert page.evaluate(PARSED, cut(stream)) == [["1", "{a\nb: c}"], ["2", "d"]]
