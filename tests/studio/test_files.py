"""The files of the page, without a browser: what is sent with them, and what must not be in them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib.resources import files

import httpx
import pytest
from fastapi import FastAPI

from vogue.services.http_errors import answer_errors
from vogue.services.studio import STUDIO_POLICY, serve_studio

PAGE = {place.name: place.read_text(encoding="utf-8") for place in (files("vogue.services.studio") / "page").iterdir()}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    answer_errors(app)
    serve_studio(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as made:
        yield made


async def test_every_file_is_served_under_a_strict_policy(client: httpx.AsyncClient) -> None:
    answers = {name: await client.get(f"/studio/{name}") for name in PAGE}
    answers["/"] = await client.get("/studio")
    assert {answer.status_code for answer in answers.values()} == {200}
    assert {answer.headers["content-security-policy"] for answer in answers.values()} == {STUDIO_POLICY}
    assert {answer.headers["x-content-type-options"] for answer in answers.values()} == {"nosniff"}
    assert answers["/"].headers["content-type"].startswith("text/html")
    assert answers["app.js"].headers["content-type"].startswith("text/javascript")
    for loophole in ("unsafe", "http:", "https:", "*"):
        assert loophole not in STUDIO_POLICY


async def test_a_browser_that_has_a_file_is_told_so(client: httpx.AsyncClient) -> None:
    first = await client.get("/studio/app.js")
    again = await client.get("/studio/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await client.get("/studio/app.js", headers={"if-none-match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2f__init__.py", "%2e%2e/__init__.py", "__init__.py"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/studio/{name}")).status_code == 404


@pytest.mark.parametrize("name", sorted(name for name in PAGE if name.endswith(".js")))
def test_scripts_make_no_markup_of_strings_and_know_no_other_host(name: str) -> None:
    script = PAGE[name]
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert sink not in script
    assert set(re.findall(r"https?://[^\"'` ]+", script)) <= {"http://www.w3.org/2000/svg"}


def test_the_page_names_no_other_host_and_holds_no_script_of_its_own() -> None:
    assert "http" not in PAGE["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)", PAGE["index.html"]) == []
    assert re.findall(r"\s(?:on\w+|style)=", PAGE["index.html"]) == []
    for name in PAGE:
        if name.endswith(".css"):
            assert "url(" not in PAGE[name] and "@import" not in PAGE[name]


def test_every_module_that_is_imported_is_there() -> None:
    for name, script in PAGE.items():
        if name.endswith(".js"):
            assert set(re.findall(r'from "\./([\w.]+)"', script)) <= set(PAGE), name
    assert set(re.findall(r'"\./studio/([\w.]+)"', PAGE["index.html"])) <= set(PAGE)
