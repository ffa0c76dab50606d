"""What users write and what keys they have is in the answers they get, and in no log: neither when all goes well nor when it fails."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from vogue.services.config import LogConfig
from vogue.services.fakes import FakeCodec
from vogue.services.logs import set_up_logs

from .keyed import keyed_gateway, make, upload

PROMPT = "paint the unspeakable marmoset"
TITLE = "my secret garden"


@pytest.mark.parametrize("form", ["text", "json"])
async def test_neither_prompts_nor_keys_are_logged(
    tmp_path: Path, form: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours, root = logging.getLogger("vogue"), logging.getLogger()
    before = (ours.handlers[:], ours.level, ours.propagate)
    folder = tmp_path / "logs"
    set_up_logs("gateway", LogConfig(format=form, level="DEBUG", folder=folder))
    monkeypatch.setattr(root, "level", logging.DEBUG)
    async with keyed_gateway(tmp_path) as gateway:
        _, key = gateway.key()
        async with gateway.client(key) as client, gateway.client("vogue-" + "x" * 43) as stranger:
            assert (await make(client, instruction=PROMPT))["status"] == "completed"
            session = (await client.post("/v1/sessions", json={"title": TITLE})).json()["id"]
            await client.post(f"/v1/sessions/{session}/turns", json={"instruction": f"{PROMPT} on turn 7"})
            await upload(client)
            for body in ({"instruction": PROMPT, "steps": PROMPT}, {"instruction": PROMPT, "seed": -1}, [PROMPT]):
                assert (await client.post("/v1/jobs", json=body)).status_code == 400
            chat = {"messages": [{"role": "user", "content": f"draw: {PROMPT}"}], "temperature": PROMPT}
            assert (await client.post("/v1/chat/completions", json=chat)).status_code == 400
            assert (await stranger.get("/v1/jobs")).status_code == 401

            async def fails(*_: Any) -> Any:
                raise ValueError(f"cannot decode {PROMPT} with {key}")

            monkeypatch.setattr(FakeCodec, "decode", fails)
            failed = await make(client, instruction=PROMPT)
            assert failed["status"] == "failed"
            monkeypatch.setattr(type(gateway.orchestrator), "list", fails)
            assert (await client.get("/v1/jobs")).status_code == 500
    try:
        raise RuntimeError(f"no replica for {PROMPT}") from ValueError(key)
    except RuntimeError:
        for name in ("ray.serve", "uvicorn.error", "asyncio"):
            logging.getLogger(name).exception("Request failed.")
    for handler in ours.handlers[:]:
        ours.removeHandler(handler)
        handler.close()
    ours.handlers[:], ours.level, ours.propagate = before[0], before[1], before[2]
    written = "".join(path.read_text() for path in folder.iterdir())
    assert "job" in written and "ValueError" in written
    # What other libraries' loggers say goes by the root logger.
    told = written + caplog.text
    assert "test_reticence.py" in caplog.text and "Request failed." in caplog.text
    for secret in (PROMPT, "marmoset", TITLE, key, key[6:]):
        assert secret not in told, secret
