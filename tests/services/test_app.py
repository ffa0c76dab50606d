"""The application's settings, and what is refused before anything starts."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from vogue.schemas.errors import RequestInvalid, ServiceError
from vogue.services.config import AppConfig
from vogue.services.local import _alone, ray_folder, read_config, serve_here

# Ray's own models, at import.
pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"orchestrator": {"num_replicas": 2}}, "orchestrator.num_replicas is 2, and must be 1: jobs in SQLite"),
        ({"preset": "giant"}, "unknown preset 'giant'; choose one of tiny, mini"),
        ({"presets": "mini"}, "presets: Extra inputs"),
        ({"jobs": {"max_open_jobs": 0}}, "jobs.max_open_jobs: .* got 0"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, args: dict[str, Any], message: str) -> None:
    from vogue.services.app import build

    with pytest.raises(RequestInvalid, match=message):
        build({"state_dir": tmp_path} | args)


def test_the_shipped_configuration_is_valid_for_ray_and_for_us(repository: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    path = repository / "serve_config.yaml"
    written = yaml.safe_load(path.read_text())
    (application,) = ServeDeploySchema(**written).applications
    assert application.import_path == "vogue.services.app:build"
    assert read_config(path) == AppConfig(**application.args)
    assert read_config(path, preset="tiny").preset == "tiny"


@pytest.mark.parametrize("content", ["", "[]", "applications: []", "applications: [1, 2]", "{", "applications: 3"])
def test_a_file_that_is_no_configuration(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(RequestInvalid, match="not a Serve configuration"):
        read_config(path)


def test_a_port_or_a_state_that_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} cannot be used"):
            serve_here(port=port, state_dir=tmp_path)
    with _alone(tmp_path), pytest.raises(ServiceError, match="another server already uses"), _alone(tmp_path):
        pass


def test_what_a_killed_server_left_in_tmp_is_swept_by_the_next(tmp_path: Path) -> None:
    hold = "import sys; from pathlib import Path; from vogue.services.local import ray_folder\n"
    hold += "with ray_folder(Path(sys.argv[1])) as folder: print(folder, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        left = Path(server.stdout.readline().strip())
        (left / "session").mkdir()
        (strange := tmp_path / "vogue-ray-of-somebody").mkdir()
        with ray_folder(tmp_path) as folder:
            assert left.is_dir()
        assert not Path(folder).exists()
        server.kill()
    with ray_folder(tmp_path):
        assert not left.exists()
    assert strange.is_dir()


def test_a_job_stays_with_its_denoiser_and_few_move_when_one_leaves() -> None:
    from vogue.services.routing import preferred

    replicas = ["a", "b", "c"]
    before = {f"job_{number}": preferred(f"job_{number}", replicas) for number in range(60)}
    assert set(before.values()) == set(replicas)
    for job_id, replica in before.items():
        assert preferred(job_id, replicas[::-1]) == replica
        assert replica == "b" or preferred(job_id, ["a", "c"]) == replica


@pytest.mark.filterwarnings("ignore")
def test_local_testing_mode_is_refused(tmp_path: Path) -> None:
    from ray import serve

    from vogue.services.app import build

    with pytest.raises(ServiceError, match="local testing mode is refused"):
        serve.run(build({"preset": "tiny", "state_dir": tmp_path}), _local_testing_mode=True)
