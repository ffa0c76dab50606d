"""Drawings and plans in a real browser."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from .conftest import LiveStudio, Visit


MAGENTA, BLUE = (255, 0, 220), (44, 96, 232)


def drawn(studio: LiveStudio, turn: dict[str, Any]) -> tuple[dict[str, str], Image.Image]:
    """The roles of a turn's inputs by tag, and the visual prompt among them."""
    roles = {one["tag"]: one["role"] for one in turn["inputs"]}
    (asset,) = (one["asset_id"] for one in turn["inputs"] if one["role"] == "visual_prompt")
    content = httpx.get(f"{studio.url}/v1/assets/{asset}/content").content
    return roles, Image.open(io.BytesIO(content)).convert("RGB")


def test_an_arrow_is_drawn_on_an_upload(page: Page, visit: Visit, picture: Path) -> None:
    page.get_by_label("Files to add").set_input_files(picture)
    page.get_by_role("button", name="Draw on image1").click()
    canvas = page.get_by_role("application", name="Drawing on image1")
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.up()
    expect(page.get_by_role("list", name="Marks").get_by_role("listitem")).to_have_count(1)
    page.get_by_role("button", name="Use the drawing").click()
    box_of_words = page.get_by_role("textbox", name="Instruction")
    expect(box_of_words).to_have_value("do what is drawn on image2")
    box_of_words.press("Enter")
    expect(visit.result(1)).to_be_visible()
    roles, seen = drawn(visit.studio, visit.session()["turns"][0])
    assert roles == {"image1": "source", "image2": "visual_prompt"}
    assert seen.size == (512, 512)
    assert seen.getpixel((256, 256)) == MAGENTA
    assert seen.getpixel((40, 20)) == (90, 60, 30)


def test_marks_are_set_by_keys_and_taken_back(page: Page, visit: Visit) -> None:
    visit.say("a picture of a star")
    expect(visit.result(1)).to_be_visible()
    page.get_by_role("button", name="Draw on it").click()
    canvas = page.get_by_role("application", name="Drawing on turn1")
    page.get_by_role("radio", name="Ring").check()
    page.get_by_role("radio", name="blue").check()
    canvas.press("Enter")
    for _ in range(10):
        canvas.press("ArrowRight")
    canvas.press("Enter")
    marks = page.get_by_role("list", name="Marks").get_by_role("listitem")
    expect(marks).to_have_text(["blue ring at 50 %, 50 %"])
    page.get_by_role("radio", name="Cross").check()
    canvas.press("Enter")
    canvas.press("Escape")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(marks).to_have_count(1)
    page.get_by_role("radio", name="Text").check()
    page.get_by_role("textbox", name="Words").fill("<b>here</b>")
    canvas.press("Enter")
    expect(marks).to_have_count(2)
    page.get_by_role("button", name="Undo").last.click()
    expect(marks).to_have_count(1)
    page.get_by_label("The clean picture is").select_option("first_frame")
    page.get_by_role("button", name="Use the drawing").click()
    chips = page.get_by_role("list", name="Inputs of the next turn").get_by_role("listitem")
    expect(chips).to_have_count(2)
    expect(page.get_by_label("Part of turn1")).to_have_value("first_frame")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.get_by_role("button", name="Send").click()
    expect(visit.result(2)).to_be_visible()
    roles, seen = drawn(visit.studio, visit.session()["turns"][1])
    assert roles == {"turn1": "first_frame", "image1": "visual_prompt"}
    assert seen.getpixel((round(512 * 0.7), 256)) == BLUE


def test_a_plan_is_edited_and_approved(page: Page, visit: Visit) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Thinking").select_option("review")
    visit.say("a star")
    plan = page.get_by_role("form", name="Plan of turn 1")
    expect(plan.get_by_label("Prompt for the generator")).to_have_value("A STAR")
    expect(plan.get_by_role("button", name="Approve")).to_have_text("Approve")
    page.reload()
    expect(plan).to_be_visible()
    plan.get_by_label("Prompt for the generator").fill("a green star")
    plan.get_by_role("button", name="Add a step").click()
    plan.get_by_role("textbox", name="Step").last.fill("paint <it> green")
    plan.get_by_role("button", name="Approve with my changes").click()
    expect(visit.result(1)).to_be_visible()
    expect(plan).to_have_count(0)
    job = visit.session()["turns"][0]["job"]
    assert job["spec"]["instruction"] == "a green star"
    assert [step["action"] for step in job["plan"]["steps"]] == ["a star", "paint <it> green"]


def test_a_plan_that_cannot_be_carried_out_waits_on_and_is_rejected(page: Page, visit: Visit) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Thinking").select_option("review")
    visit.say("a star")
    plan = page.get_by_role("form", name="Plan of turn 1")
    plan.get_by_label("Task").select_option("v2v_edit")
    plan.get_by_label("Prompt for the generator").fill("a green star")
    plan.get_by_role("button", name="Approve with my changes").click()
    expect(plan.get_by_role("alert")).not_to_be_empty()
    expect(plan.get_by_label("Prompt for the generator")).to_have_value("a green star")
    plan.get_by_role("button", name="Reject").click()
    expect(page.locator(".outcome .fault")).to_be_visible()
