"""Keys over Ray Serve: what one owns stays unseen where the gateway and the orchestrator are processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from vogue.schemas.access import Account, Scope

from .keyed import keys_of

pytestmark = [
    pytest.mark.timeout(900),
    # Ray's own models, at import.
    pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`"),
]

CONFIG = """
applications:
  - args:
      preset: tiny
      state_dir: {state_dir}
      keys: {{required: true, limits: {{max_open_jobs: 1, burst: 1000, requests_per_minute: 10000}}}}
"""


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def url(state_dir: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (state_dir / "serve.yaml").write_text(CONFIG.format(state_dir=state_dir))
    with keys_of(state_dir) as keys:
        keys.create("before the start", Scope.WRITE)
    arguments = ["serve", "--port", str(port), "--config", str(state_dir / "serve.yaml")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with (state_dir / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vogue.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("ready: "), (state_dir / "log").read_text()[-4000:]
    yield said.split()[1]
    process.terminate()
    assert process.wait(120) == 0
    process.stdout.close()


def _client(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=300, headers={"authorization": f"Bearer {key}"} if key else {})


def test_two_keys_do_not_see_each_other(url: str, state_dir: Path) -> None:
    with keys_of(state_dir) as keys:
        (first, key), (_, other_key) = keys.create("one", Scope.WRITE), keys.create("other", Scope.WRITE)
    with _client(url, "") as nobody:
        assert nobody.get("/v1/jobs").status_code == 401 and nobody.get("/healthz").status_code == 200
    with _client(url, key) as one, _client(url, other_key) as other:
        body = {"instruction": "a red star", "steps": 32, "height_px": 32, "width_px": 32, "num_frames": 5}
        job_id = one.post("/v1/jobs", json=body).json()["id"]
        # Counted where the jobs are, whichever gateway replica is asked.
        assert one.post("/v1/jobs", json=body).status_code == 429
        assert "event: completed" in one.get(f"/v1/jobs/{job_id}/events").text
        asset = one.get(f"/v1/jobs/{job_id}").json()["assets"][0]["id"]
        session = one.post("/v1/sessions").json()["id"]
        paths = [
            f"jobs/{job_id}",
            f"jobs/{job_id}/events",
            f"videos/{job_id}",
            f"assets/{asset}",
            f"files/{asset}/content",
        ]
        for path in [*paths, f"assets/{asset}/content", f"assets/{asset}/frames", f"sessions/{session}"]:
            assert (one.get(f"/v1/{path}").status_code, other.get(f"/v1/{path}").status_code) == (200, 404), path
        for name in ("jobs", "assets", "sessions", "videos"):
            assert one.get(f"/v1/{name}").json()["data"] and not other.get(f"/v1/{name}").json()["data"], name
        visual = {"tag": "video1", "role": "source", "upload_id": asset}
        assert other.post("/v1/jobs", json=body | {"visuals": [visual]}).status_code == 404
        usage = Account.model_validate_json(one.get("/v1/me").content).usage
        assert usage.num_files >= 1 and usage.open_jobs == 0
        assert one.request("DELETE", "/v1/me/media").json()["num_jobs"] == 1
        assert one.get(f"/v1/jobs/{job_id}").status_code == 404
        with keys_of(state_dir) as keys:
            keys.revoke(first.id)
        assert (one.get("/v1/jobs").status_code, other.get("/v1/jobs").status_code) == (401, 200)


def test_an_upload_is_its_owners_over_the_border_too(url: str, state_dir: Path, ffmpeg_path: Path) -> None:
    with keys_of(state_dir) as keys:
        keys_made = [keys.create(name, Scope.WRITE)[1] for name in ("three", "four")]
    with _client(url, keys_made[0]) as one, _client(url, keys_made[1]) as other:
        picture = BytesIO()
        Image.new("RGB", (32, 32), (200, 30, 30)).save(picture, "png")
        uploads = [
            client.post("/v1/uploads", files={"file": ("a.png", picture.getvalue())}).json()["id"]
            for client in (one, other)
        ]
        assert one.get(f"/v1/assets/{uploads[0]}/content").content == picture.getvalue()
        assert one.get(f"/v1/assets/{uploads[1]}").status_code == 404
        assert other.delete(f"/v1/assets/{uploads[0]}").status_code == 404
        # Deleting one's own file leaves the equal bytes of another where they are.
        one.delete(f"/v1/assets/{uploads[0]}")
        assert other.get(f"/v1/assets/{uploads[1]}/content").content == picture.getvalue()
