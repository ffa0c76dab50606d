"""What an operator sees of real services: one scrape for all processes, Ray's own exporter, and logs that name the job."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from vogue.services.metrics import METERS

from .cluster import Server, family, finish, submit, wait_until

pytestmark = pytest.mark.timeout(900)


def _scrape(client: httpx.Client) -> dict[str, float]:
    """Sums over all labels."""
    totals: dict[str, float] = {}
    for one in text_string_to_metric_families(client.get("/metrics").text):
        for sample in one.samples:
            if not sample.name.endswith("_bucket"):
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals


def test_one_scrape_tells_of_all_processes(client: httpx.Client, server: Server) -> None:
    before = _scrape(client)
    job, _ = finish(client, submit(client, instruction=f"a zebra in Zanzibar {secrets.token_hex(4)}", steps=3))
    assert job.status == "completed", job.error

    def grown(name: str) -> float:
        return _scrape(client).get(name, 0.0) - before.get(name, 0.0)

    # The gateway, the orchestrator, the denoiser and the codec each wrote a part of this.
    wait_until(lambda: grown("vogue_step_seconds_count") == 3)
    wait_until(lambda: grown("vogue_jobs_finished_total") == 1)
    wait_until(lambda: grown("vogue_operation_seconds_count") >= 2)
    wait_until(lambda: grown("vogue_mllm_tokens_total") > 0)
    assert grown("vogue_jobs_submitted_total") == 1 and grown("vogue_http_requests_total") > 2
    wait_until(lambda: {"vogue_jobs", "vogue_store_bytes", "vogue_info"} <= _scrape(client).keys())
    told = client.get("/metrics").text
    assert "zebra" not in told and job.id not in told


def _listening(pids: set[int]) -> set[int]:
    """The TCP ports on which these processes listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(link.readlink().name)
            except OSError:
                continue
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def _exported(server: Server) -> str:
    """What Ray's exporter of this node tells, wherever it listens."""
    agents = {pid for pid in family(server.process.pid) if "Agent" in _command_of(pid)}
    for port in _listening(agents):
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10.0)
        except httpx.HTTPError:
            continue  # that port speaks something else
        if answer.status_code == 200 and "ray_" in answer.text:
            return answer.text
    return ""


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_rays_exporter_tells_the_same(client: httpx.Client, server: Server) -> None:
    finish(client, submit(client, steps=2))
    # Each process reports in its own time: the denoiser, the orchestrator and the gateway count one of these each.
    wanted = {"vogue_jobs_submitted_total", "vogue_step_seconds", "vogue_http_requests_total"}
    wait_until(lambda: wanted <= _exported_names(server), timeout_s=240.0)
    assert _exported_names(server) <= METERS.metrics.keys()


def _exported_names(server: Server) -> set[str]:
    return set(re.findall(r"^ray_(vogue_\w+?)(?:_bucket|_count|_sum)?\{", _exported(server), re.MULTILINE))


def test_every_service_logs_the_job_it_works_for(client: httpx.Client, server: Server) -> None:
    prompt = "an okapi in Ouagadougou"
    job, _ = finish(client, submit(client, instruction=prompt, steps=2))
    client.get(f"/v1/jobs/{job.id}")
    everybody = {"understanding", "connector", "denoiser", "codec", "orchestrator", "gateway"}
    wait_until(lambda: {line["service"] for line in server.logged() if line.get("job_id") == job.id} == everybody)
    for path in (server.state_dir / "logs").glob("*.log"):
        assert "okapi" not in path.read_text(encoding="utf-8")
