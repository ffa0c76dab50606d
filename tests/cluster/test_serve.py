"""The whole application on Ray Serve, started as a user starts it: separate processes that survive each other's death."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from langchain_core.messages import ToolMessage
from mcp import Client
from PIL import Image

from vogue.lab.agent import converse, transcript
from vogue.schemas.jobs import EventKind
from vogue.schemas.presets import get_preset

from .cluster import LONG, SERVICES, Server, family, finish, submit, until_step

# Two starts of six processes each take their time where other work goes on.
pytestmark = pytest.mark.timeout(900)

EVERY = get_preset("tiny").checkpoint_every_steps


def test_six_processes(server: Server, client: httpx.Client) -> None:
    pids = server.pids()
    assert pids.keys() == SERVICES
    assert len({*pids.values(), os.getpid(), server.process.pid}) == len(SERVICES) + 2
    ready = client.get("/readyz")
    assert ready.json() == {"ready": True, "services": {name.lower(): True for name in SERVICES - {"Gateway"}}}


def test_nobody_outside_can_reach_http_or_ray(server: Server) -> None:
    # Serve opens one port in each replica for other replicas, on all interfaces, and asks for the cluster's token there.
    inodes = set()
    for pid in family(server.process.pid) - set(server.pids().values()):
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(link.readlink().name)
            except OSError:
                continue
    open_to_all = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address = fields[1].rpartition(":")[0]
                if address not in ("0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"):
                    open_to_all.append(fields[1])
    assert open_to_all == []


def test_a_sentence_becomes_an_mp4(client: httpx.Client) -> None:
    job, told = finish(client, submit(client, steps=4))
    assert job.status == "completed", job.error
    assert [event.steps_done for event in told if event.kind is EventKind.STEP] == [1, 2, 3, 4]
    path = f"/v1/assets/{job.assets[0].id}/content"
    whole = client.get(path)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.content[4:8] == b"ftyp"
    part = client.get(path, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")


def test_an_upload_in_and_an_edit_out(client: httpx.Client, tmp_path: Path, ffmpeg_path: Path) -> None:
    from vogue.engines.media.samples import write_sample

    clip = write_sample("sound.mp4", tmp_path)
    upload = client.post("/v1/uploads", files={"file": ("sound.mp4", clip.read_bytes())}).json()
    visual = {"tag": "video1", "role": "source", "upload_id": upload["id"]}
    answer = client.post("/v1/jobs", json={"instruction": "make it blue", "visuals": [visual], "steps": 2})
    job, _ = finish(client, answer.json()["id"])
    assert job.status == "completed", job.error
    assert job.assets[0].has_audio
    assert (job.spec.fps, job.assets[0].width_px > job.assets[0].height_px) == (upload["fps"], True)


def test_bad_input_leaves_no_job(client: httpx.Client) -> None:
    before = client.get("/v1/jobs").json()["data"]
    answer = client.post("/v1/jobs", json=LONG | {"steps": 10_000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "limit_exceeded")
    answer = client.post("/v1/uploads", files={"file": ("x.mp4", b"nothing")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "media_unreadable")
    assert client.get("/v1/jobs").json()["data"] == before


def test_cancel(client: httpx.Client) -> None:
    job_id = submit(client)
    until_step(client, job_id, 3)
    client.post(f"/v1/jobs/{job_id}/cancel")
    job, _ = finish(client, job_id)
    assert job.status == "cancelled"
    assert 3 <= job.steps_done < 64


async def test_agents_come_in_by_mcp(server: Server) -> None:
    heard: list[float] = []

    async def hear(progress: float, *_: object) -> None:
        heard.append(progress)

    async with Client(f"{server.url}/mcp", read_timeout_seconds=300) as agent:
        made = await agent.call_tool("generate", {"instruction": "a red star", "seed": 1}, progress_callback=hear)
        assert made.structured_content["status"] == "completed"
        assert {"text", "resource_link", "image"} == {block.type for block in made.content}
        assert heard == sorted(heard) and len(heard) > made.structured_content["steps_total"]
        refused = await agent.call_tool("edit", {"instruction": "x", "source": "upload_0123456789abcdef"})
        assert refused.is_error


def test_an_agent_edits_a_clip_in_three_turns(client: httpx.Client, server: Server, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), (50 * k, 0, 0)) for k in range(5)]
    frames[0].save(tmp_path / "star.gif", save_all=True, append_images=frames[1:], duration=125)
    client.post("/v1/uploads", files={"file": ("star.gif", (tmp_path / "star.gif").read_bytes())}).raise_for_status()
    messages = converse(server.url)
    (tmp_path / "transcript").write_text(transcript(messages))
    made = [one.artifact for one in messages if isinstance(one, ToolMessage) and getattr(one.artifact, "results", ())]
    assert [report.status for report in made] == ["completed"] * 3
    sources = [client.get(f"/v1/jobs/{one.job_id}").json()["request"]["visuals"][0]["upload_id"] for one in made]
    assert sources[1:] == [report.results[0].asset_id for report in made[:2]]


@pytest.fixture(scope="module")
def undisturbed(server: Server) -> bytes:
    """What the long job comes to when nobody dies."""
    with httpx.Client(base_url=server.url, timeout=300.0) as client:
        job, _ = finish(client, submit(client))
        return client.get(f"/v1/assets/{job.assets[0].id}/content").content


def _check_survival(client: httpx.Client, job_id: str, undisturbed: bytes) -> None:
    job, told = finish(client, job_id)
    assert job.status == "completed", job.error
    assert [event.steps_done for event in told if event.kind is EventKind.STEP] == list(range(1, 65))
    known = 0
    for event in told:
        if event.kind is EventKind.RESUMED and event.stage == "denoise":
            assert known - event.steps_done <= EVERY
        known = max(known, event.steps_done)
    assert client.get(f"/v1/assets/{job.assets[0].id}/content").content == undisturbed


@pytest.mark.parametrize("name", ["Denoiser", "Orchestrator"])
def test_a_killed_service_costs_one_checkpoint_interval_at_most(
    server: Server, client: httpx.Client, undisturbed: bytes, name: str
) -> None:
    job_id = submit(client)
    until_step(client, job_id, 5)
    old = server.pids()[name]
    os.kill(old, signal.SIGKILL)
    _check_survival(client, job_id, undisturbed)
    assert server.pids()[name] != old


def test_a_killed_server_finishes_its_job_after_the_next_start(server: Server, undisturbed: bytes) -> None:
    with httpx.Client(base_url=server.url, timeout=300.0) as client:
        job_id = submit(client)
        until_step(client, job_id, 5)
        server.kill()
    server.start_again()
    with httpx.Client(base_url=server.url, timeout=300.0) as client:
        _check_survival(client, job_id, undisturbed)
