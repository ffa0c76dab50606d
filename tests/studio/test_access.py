"""Whom the page serves: keyboards, screen readers, narrow screens, dark rooms, keys; and what strangers type into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Page, Route, expect

if TYPE_CHECKING:
    from .conftest import Visit


NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a, [role], img, progress")]
    .filter((one) => one.checkVisibility() && !one.closest("[aria-hidden=true]") && one.getAttribute("alt") !== "")
    .filter((one) => !(one.computedName ?? one.getAttribute("aria-label") ?? one.getAttribute("aria-labelledby")
        ?? one.getAttribute("alt") ?? (one.labels?.[0]?.textContent || one.textContent.trim() || null)))
    .filter((one) => !["status", "alert"].includes(one.getAttribute("role")))
    .map((one) => one.outerHTML.slice(0, 120))"""
WIDE = """() => [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
    .filter((one) => !one.closest(".hidden, .tree-scroll, .table-scroll"))
    .map((one) => one.outerHTML.slice(0, 120))"""
CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d");
    const rgb = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((one) => one / 255)
            .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    };
    const light = (color) => rgb(color).reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
    const probe = document.body.appendChild(document.createElement("i"));
    const value = (name) => ((probe.style.color = `var(--${name})`), light(getComputedStyle(probe).color));
    const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const pairs = [["ink", "surface"], ["soft", "surface"], ["soft", "ground"], ["accent", "surface"], ["accent", "accent-wash"],
        ["on-accent", "accent-ground"], ["tag", "tag-wash"], ["bad", "surface"], ["bad", "bad-wash"], ["ink", "accent-wash"]];
    return Object.fromEntries(pairs.map(([a, b]) => [`${a} on ${b}`, ratio(value(a), value(b))]));
}"""


def test_everything_can_be_done_by_keys(page: Page, visit: Visit) -> None:
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the instruction")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("textbox", name="Instruction")).to_be_focused()
    keys.type("a star")
    keys.press("Shift+Enter")
    keys.type("in the night")
    keys.press("Enter")
    expect(visit.result(1)).to_be_visible()
    expect(page.get_by_role("textbox", name="Instruction")).to_be_focused()
    keys.type("make it blue")
    keys.press("Enter")
    expect(visit.result(2)).to_be_visible()
    node = page.get_by_role("treeitem", name="Turn 2: make it blue")
    for _ in range(40):
        keys.press("Tab")
        if node.evaluate("e => e === document.activeElement"):
            break
    expect(node).to_be_focused()
    keys.press("ArrowLeft")
    keys.press("Enter")
    expect(page.get_by_role("treeitem", name="Turn 1: a star")).to_have_attribute("aria-selected", "true")
    branch = page.get_by_role("region", name="Player").get_by_role("button", name="Branch from here")
    for _ in range(40):
        keys.press("Shift+Tab")
        if branch.evaluate("e => e === document.activeElement"):
            break
    keys.press("Enter")
    expect(page.get_by_text("Follows turn 1", exact=True)).to_be_visible()
    found = visit.session()
    assert (found["head"], found["turns"][0]["instruction"]) == (1, "a star\nin the night")


def test_everything_has_a_name(page: Page, visit: Visit, picture: Path) -> None:
    page.get_by_label("Files to add").set_input_files(picture)
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_role("button", name="Draw on image1")).to_be_visible()
    assert page.evaluate(NAMELESS) == []
    page.get_by_role("button", name="Draw on image1").click()
    # It opens once the picture is there.
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate(NAMELESS) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    visit.say("edit image1")
    expect(visit.result(1)).to_be_visible()
    assert page.evaluate(NAMELESS) == []


def test_400_px_are_enough(page: Page, visit: Visit, picture: Path) -> None:
    page.set_viewport_size({"width": 400, "height": 760})
    page.get_by_label("Files to add").set_input_files(picture)
    page.get_by_role("button", name="Draw on image1").click()
    assert page.evaluate(WIDE) == []
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Settings").click()
    assert page.evaluate(WIDE) == []
    page.get_by_role("button", name="Settings").click()
    visit.say("edit image1 in averyveryveryveryveryveryveryveryveryveryveryveryverylongword")
    expect(visit.result(1)).to_be_visible()
    assert page.evaluate(WIDE) == []
    visit.result(1).click()
    expect(page.get_by_role("region", name="Player")).to_be_visible()
    expect(page.get_by_role("region", name="Conversation")).to_be_hidden()
    assert page.evaluate(WIDE) == []
    page.get_by_role("button", name="Lineage").click()
    expect(page.get_by_role("treeitem")).to_have_count(2)
    assert page.evaluate(WIDE) == []


def test_dark_and_light(page: Page) -> None:
    body = expect(page.locator("body"))
    light, dark = ("background-color", "rgb(244, 241, 236)"), ("background-color", "rgb(18, 16, 21)")
    body.to_have_css(*light)
    ratios = page.evaluate(CONTRAST)
    page.emulate_media(color_scheme="dark")
    body.to_have_css(*dark)
    ratios |= {f"{name} in the dark": ratio for name, ratio in page.evaluate(CONTRAST).items()}
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}
    page.get_by_role("button", name="Colours: as the system").click()
    body.to_have_css(*light)
    page.reload()
    body.to_have_css(*light)
    page.get_by_role("button", name="Colours: light").click()
    body.to_have_css(*dark)
    page.emulate_media(color_scheme="light")
    body.to_have_css(*dark)


def test_what_is_typed_stays_text(page: Page, visit: Visit, picture: Path) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>{{7*7}} "\' javascript:alert(1)'
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_label("Files to add").set_input_files(
        {"name": "<img src=x onerror=alert(1)>.png", "mimeType": "image/png", "buffer": picture.read_bytes()}
    )
    expect(page.get_by_text("<img src=x onerror=alert(1)>.png")).to_be_visible()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Thinking").select_option("review")
    visit.say(evil)
    plan = page.get_by_role("form", name="Plan of turn 1")
    expect(plan.get_by_label("Prompt for the generator")).to_have_value(evil.upper())
    plan.get_by_role("button", name="Approve").click()
    expect(visit.result(1)).to_be_visible()
    expect(page.locator(".asked")).to_have_text(evil)
    expect(page.locator("#session-title")).to_have_text(evil[:60])
    page.reload()
    expect(page.locator(".asked")).to_have_text(evil)
    page.get_by_role("button", name="Conversations").or_(page.locator("#open-sessions")).first.click()
    expect(page.get_by_role("dialog").get_by_text(evil[:60]).first).to_be_visible()
    assert page.locator("img[src='x'], body script").count() == 0
    assert asked == []
    assert page.title().startswith("<img")
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false; } catch { return true; } }"
    )
    assert refused


def test_a_key_is_asked_for_and_sent_with_everything(page: Page, visit: Visit) -> None:
    seen: dict[str, set[str]] = {}

    def guard(route: Route) -> None:
        request = route.request
        kind = request.url.split("/v1/")[1].split("/")[0] + request.url.rpartition("/")[2]
        if request.headers.get("authorization") == "Bearer sesame":
            seen.setdefault("let in", set()).add(kind)
            route.continue_()
        else:
            body = {"error": {"message": "this server asks for a key", "code": "key_invalid", "param": None}}
            route.fulfill(status=401, content_type="application/json", body=json.dumps(body))

    page.route("**/v1/**", guard)
    page.reload()
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog.get_by_text("this server asks for a key")).to_be_visible()
    dialog.get_by_label("API key").last.fill("sesame")
    dialog.get_by_label("API key").last.press("Enter")
    expect(dialog).to_have_count(0)
    visit.say("a star")
    expect(visit.result(1)).to_be_visible()
    expect(page.get_by_role("region", name="Player").get_by_label("Result of turn 1")).to_have_js_property(
        "videoWidth", 32
    )
    assert {"jobsevents", "assetscontent", "modelsmodels", "sessionssessions"} <= seen["let in"]
    assert page.evaluate("() => [Object.keys(localStorage), Object.keys(sessionStorage)]") == [[], ["vogue-key"]]
