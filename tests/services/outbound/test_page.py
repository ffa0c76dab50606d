"""The page about URLs and webhooks: its settings are accepted, and its receiver believes what the server sends."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml  # type: ignore[import-untyped]

from vogue.schemas.requests import GenerationRequest
from vogue.services.config import AppConfig
from vogue.services.webhooks import Delivery, Signer

from ...pages import blocks, parse


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_its_settings_are_accepted(page: str) -> None:
    (settings,) = blocks(page, "yaml")
    config = AppConfig.model_validate(yaml.safe_load(settings))
    assert config.url_inputs.enabled and config.jobs.webhooks.schemes == ("https",)
    assert not AppConfig().url_inputs.enabled and not AppConfig().jobs.webhooks.enabled


def test_its_receiver_believes_what_is_signed_and_nothing_else(page: str, tmp_path: Path) -> None:
    (receiver,), (event,) = blocks(page, "python"), blocks(page, "json")
    signer = Signer(tmp_path / "secret")
    names: dict[str, Any] = {"secret": signer.secret(None)}
    exec(compile(receiver, "docs/webhooks.md", "exec"), names)
    sent = Delivery("evt_1", "https://hooks.example.com/vogue", event, None, 0)
    assert names["receive"](event.encode(), signer.headers(sent)) == json.loads(event)["data"]["id"]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        names["receive"](event.replace("completed", "failed").encode(), signer.headers(sent))


def test_its_requests_are_requests(page: str) -> None:
    bodies = [json.loads(body) for body in re.findall(r"-d '(\{.*?\})'", page)]
    assert GenerationRequest.model_validate(bodies[1]).deadline_s == 60 and bodies[0]["url"].startswith("https://")


def test_its_command_lines_parse(page: str) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("vogue ")]
    named = re.findall(r"`(vogue [^`]+)`", page)
    assert len(lines) == 1 and named == ["vogue deliveries JOB"]
    for line in [*lines, *named]:
        parse(shlex.split(line)[1:])
