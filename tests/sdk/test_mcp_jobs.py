"""Jobs over MCP: progress and previews on the way, cancel, patience, and how results come."""

from __future__ import annotations

import asyncio
import base64
import re
from io import BytesIO
from typing import Any

import anyio
import pytest
from mcp_types import ImageContent, ResourceLink
from PIL import Image

from vogue import AsyncVogue, JobEvent, JobStatus
from vogue.mcp.content import THUMBNAIL_BYTES, THUMBNAIL_SIDE_PX, thumbnail
from vogue.mcp.server import _teller
from vogue.schemas.references import MediaKind
from vogue.testing import FakeServer

from .mcp_worlds import World, refusal


async def test_results_come_as_links_with_a_small_picture(world: World) -> None:
    async with world.connect() as client:
        result = await client.call_tool("generate", {"instruction": "a red star"})
        links = [block for block in result.content if isinstance(block, ResourceLink)]
        clip, poster = result.structured_content["results"]
        assert [link.uri for link in links] == [f"vogue://assets/{one['asset_id']}" for one in (clip, poster)]
        assert links[0].mime_type == clip["media_type"] and links[0].size == clip["num_bytes"]
        pictures = [block for block in result.content if isinstance(block, ImageContent)]
        assert len(pictures) == 1
        small = base64.b64decode(pictures[0].data)
        assert len(small) <= THUMBNAIL_BYTES
        with Image.open(BytesIO(small)) as opened:
            assert max(opened.size) <= THUMBNAIL_SIDE_PX and Image.MIME[opened.format or ""] == pictures[0].mime_type

        (read,) = (await client.read_resource(links[0].uri)).contents
        async with AsyncVogue(world.live.url) as vogue:
            content = await (await vogue.assets.get(clip["asset_id"])).read()
        assert base64.b64decode(read.model_dump()["blob"]) == content
        assert clip["url"] == f"{world.live.url}/v1/assets/{clip['asset_id']}/content"
        assert links[0].uri in [str(one.uri) for one in (await client.list_resources()).resources]
        assert (await client.list_resource_templates()).resource_templates[0].uri_template.startswith("vogue://")


async def test_progress_grows_from_queued_to_completed(world: World) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with world.connect() as client:
        await client.call_tool("generate", {"instruction": "a red star", "steps": 6}, progress_callback=hear)
    counts = [progress for progress, _, _ in seen]
    assert counts == sorted(set(counts)), "progress has to grow"
    assert {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0} <= set(counts) and seen[-1][:2] == (7.0, 7.0)
    assert "queued" in str(seen[0][2]) and "3 of 6 steps" in " ".join(str(message) for *_, message in seen)


async def test_a_preview_on_the_way_is_named_and_can_be_read(world: World) -> None:
    said: list[str] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        said.append(message or "")

    async with world.connect() as client:
        given = {"instruction": "a red star", "steps": 6, "preview_every_steps": 2}
        made = await client.call_tool("generate", given, progress_callback=hear)
        assert made.structured_content is not None and made.structured_content["status"] == "completed"
        shown = [match[0] for message in said if (match := re.search(r"vogue://assets/\S+", message))]
        # A slow picture may be left out, never the last one.
        assert shown and len(shown) <= 2
        read = await client.read_resource(shown[-1].rstrip(","))
        assert read.contents[0].uri in shown[-1]


async def test_the_tier_is_the_jobs(world: World) -> None:
    async with world.connect() as client:
        quick = await client.call_tool("submit_generate", {"instruction": "a red star", "tier": "fast"})
        exact = await client.call_tool("submit_generate", {"instruction": "a red star", "tier": "exact"})
        wrong = refusal(await client.call_tool("submit_generate", {"instruction": "a red star", "tier": "warp"}))
        assert "tier" in wrong and "'exact' or 'fast'" in wrong
        assert quick.structured_content is not None and exact.structured_content is not None
        async with AsyncVogue(world.live.url) as vogue:
            jobs = [(await vogue.jobs.get(one.structured_content["job_id"])).job for one in (quick, exact)]
    assert [job.spec.tier for job in jobs] == ["fast", "exact"]
    assert jobs[0].spec.steps < jobs[1].spec.steps


async def test_a_cancelled_call_cancels_its_job(world: World) -> None:
    world.live.gate.clear()
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hear(_: float, __: float | None, message: str | None) -> None:
        await told.put(message or "")

    try:
        async with world.connect() as client, anyio.create_task_group() as group:

            async def wait_for_it() -> None:
                await client.call_tool("generate", {"instruction": "a long one"}, progress_callback=hear)

            group.start_soon(wait_for_it)
            while "1 of" not in (message := await told.get()):
                pass
            job_id = message.split()[1].rstrip(":")
            group.cancel_scope.cancel()
        async with AsyncVogue(world.live.url) as vogue:
            last = [event.kind async for event in vogue.jobs.events(job_id)][-1]
            assert last == "cancelled" and (await vogue.jobs.get(job_id)).status is JobStatus.CANCELLED
    finally:
        world.live.gate.set()


async def test_submitted_jobs_outlive_the_connection_and_can_be_cancelled(world: World) -> None:
    world.live.gate.clear()
    try:
        async with world.connect() as client:
            started = (await client.call_tool("submit_generate", {"instruction": "a long one"})).structured_content
            assert started["status"] in ("queued", "in_progress") and "get_job" in started["advice"]
        async with world.connect() as client:
            asked = await client.call_tool("get_job", {"job_id": started["job_id"], "wait_s": 0.1})
            assert asked.structured_content["status"] in ("queued", "in_progress")
            await client.call_tool("cancel_job", {"job_id": started["job_id"]})
            ended = await client.call_tool("get_job", {"job_id": started["job_id"], "wait_s": 60})
            assert ended.structured_content["status"] == "cancelled"
    finally:
        world.live.gate.set()


async def test_patience_ends_before_the_job(world: World) -> None:
    world.live.gate.clear()
    try:
        async with world.connect() as client:
            result = await client.call_tool("generate", {"instruction": "a long one", "timeout_s": 1})
            assert (
                result.structured_content["status"] == "in_progress"
                and "get_job" in result.structured_content["advice"]
            )
    finally:
        world.live.gate.set()


@pytest.mark.parametrize("size", [(8, 8), (2000, 500), (300, 4000), (1, 1)])
def test_thumbnails_are_bounded_whatever_the_picture(size: tuple[int, int]) -> None:
    noise = Image.effect_noise(size, 100).convert("RGB")
    for form in ("PNG", "JPEG", "WEBP", "PPM"):
        target = BytesIO()
        noise.save(target, form)
        media_type, small = thumbnail(target.getvalue())
        with Image.open(BytesIO(small)) as opened:
            assert max(opened.size) <= THUMBNAIL_SIDE_PX and Image.MIME[opened.format or ""] == media_type
        assert len(small) <= THUMBNAIL_BYTES
    for junk in (b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", target.getvalue()[:8]):
        with pytest.raises((OSError, ValueError)):
            thumbnail(junk)


async def test_progress_tells_of_queue_time_and_previews_and_never_falls() -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    tell = _teller(report)
    asset = FakeServer().stage.keep("asset", b"", MediaKind.IMAGE, "a.png", "image/png")
    events: list[dict[str, Any]] = [
        {"kind": "queued", "queue_position": 2, "eta_s": 31.4},
        {"kind": "queued", "queue_position": 1},
        {"kind": "step", "steps_done": 2, "steps_total": 4, "eta_s": 8.0},
        {"kind": "preview", "steps_done": 2, "steps_total": 4, "assets": (asset,)},
        {"kind": "resumed", "steps_done": 1, "steps_total": 4},
        {"kind": "step", "steps_done": 2, "steps_total": 4},
        {"kind": "step", "steps_done": 4, "steps_total": 4},
        {"kind": "stage", "stage": "decode", "steps_done": 4, "steps_total": 4},
        {"kind": "completed", "steps_done": 4, "steps_total": 4},
    ]
    for seq, event in enumerate(events, 1):
        await tell(JobEvent(job_id="job_1", seq=seq, time_s=0.0, **event))
    counts = [progress for progress, _, _ in heard]
    assert counts == sorted(set(counts)) and heard[-1][:2] == (5.0, 5.0)
    assert heard[0][2] == "job job_1: queued, number 2 in the queue, about 31 s left"
    assert heard[2][2] == "job job_1: step, 2 of 4 steps, about 8 s left"
    assert heard[3][2] == f"job job_1: preview, 2 of 4 steps, to be seen at vogue://assets/{asset.id}"
