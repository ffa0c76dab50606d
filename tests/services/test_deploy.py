"""The files in deploy/: read by Ray's own schema, by ours, and against the repository they speak of."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from vogue.graph.route import passes
from vogue.schemas.config import Task
from vogue.schemas.presets import get_preset
from vogue.schemas.requests import JobSpec
from vogue.services.config import AppConfig
from vogue.services.costing import cost_of
from vogue.services.local import read_config

# Ray's own models, at import.
pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")

ENGINES = ("understanding", "connector", "denoiser", "codec")
SERVICES = (*ENGINES, "orchestrator", "gateway")
LOCAL_CPUS = 2
"""What `vogue serve` gives to Ray."""


def _manifest(repository: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((repository / "deploy" / "rayservice.yaml").read_text(encoding="utf-8"))
    return document


def _serve_config(repository: Path, name: str) -> dict[str, Any]:
    inner = name == "rayservice"
    text = _manifest(repository)["spec"]["serveConfigV2"] if inner else (repository / name).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@pytest.mark.parametrize("name", ["serve_config.yaml", "deploy/h100.yaml", "rayservice"])
def test_ray_and_we_understand_each_configuration(repository: Path, name: str) -> None:
    from ray.serve.schema import ServeDeploySchema

    document = _serve_config(repository, name)
    schema = ServeDeploySchema.model_validate(document)
    # Ray lets unknown fields pass, so a slip of the pen would go unnoticed.
    assert document.keys() <= ServeDeploySchema.model_fields.keys()
    [application] = schema.applications
    module, _, function = application.import_path.partition(":")
    assert callable(getattr(import_module(module), function))
    config = AppConfig.model_validate(application.args)
    get_preset(config.preset)
    assert config.preset == "mini" or config.weights_dir is not None


@pytest.mark.parametrize("name", ["deploy/h100.yaml", "rayservice"])
def test_cards_are_shared_out_as_the_page_says(repository: Path, name: str) -> None:
    args = _serve_config(repository, name)["applications"][0]["args"]
    config = AppConfig.model_validate(args)
    assert config.device == "cuda"
    shares = {service: getattr(config, service).num_gpus for service in SERVICES}
    assert shares["denoiser"] == 1
    assert sum(shares[service] for service in ("understanding", "connector", "codec")) == pytest.approx(1)
    assert shares["orchestrator"] == shares["gateway"] == 0
    assert sum(getattr(config, service).num_cpus for service in SERVICES) <= LOCAL_CPUS
    # Overriding a part of a deployment's settings resets the rest of them.
    for service in ("denoiser", "orchestrator", "gateway"):
        assert getattr(config, service).max_ongoing_requests >= 1024


def test_as_many_jobs_are_at_work_as_share_a_tick_and_one_that_is_read_or_decoded(repository: Path) -> None:
    config = AppConfig.model_validate(_serve_config(repository, "deploy/h100.yaml")["applications"][0]["args"])
    preset, defaults = get_preset(config.preset), get_preset(config.preset).tasks[Task.T2V]
    spec = JobSpec(
        task=Task.T2V,
        instruction="a fox runs through the snow",
        negative_prompt="",
        height_px=defaults.height_px,
        width_px=defaults.width_px,
        num_frames=defaults.num_frames,
        fps=preset.fps,
        steps=defaults.steps,
        guidance=defaults.guidance,
        image_guidance=defaults.image_guidance,
        seed=1,
    )
    # An 80 GB card less the weights of the MMDiT (`vogue capacity`), of which the denoiser takes nine tenths.
    room = int((79 - 24 - 1) * 2**30 * 0.9)
    each = cost_of(spec, 0, preset, weight_bytes=2).largest_row_bytes * len(passes(spec))
    assert config.jobs.max_running_jobs == room // each + 1
    assert config.denoiser.max_rows >= room // each * len(passes(spec)), "memory bounds a tick before rows do"


def test_the_cluster_and_the_single_machine_serve_the_same(repository: Path) -> None:
    here, there = (
        AppConfig.model_validate(_serve_config(repository, name)["applications"][0]["args"])
        for name in ("deploy/h100.yaml", "rayservice")
    )
    assert here == there.model_copy(update={"hosts": here.hosts})


def test_vogue_serve_reads_the_h100_configuration(repository: Path) -> None:
    assert read_config(repository / "deploy" / "h100.yaml", port=None).preset == "univideo-hidden"


def test_the_rayservice_is_one_that_kuberay_can_run(repository: Path) -> None:
    """Ray's own reader of KubeRay's cluster resource finds nodes for every claim."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    manifest = _manifest(repository)
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayService")
    assert manifest["spec"].keys() <= {"serveConfigV2", "rayClusterConfig", "upgradeStrategy", "serveService"}
    cluster = manifest["spec"]["rayClusterConfig"]
    # Whoever reaches Ray's ports runs code: they must ask for a token, which the operator has to know as well.
    assert cluster["authOptions"] == {"mode": "token"}
    derived = _derive_autoscaling_config_from_ray_cr({"metadata": manifest["metadata"], "spec": cluster})
    nodes = derived["available_node_types"]
    config = AppConfig.model_validate(_serve_config(repository, "rayservice")["applications"][0]["args"])
    claimed = sum(getattr(config, service).num_gpus for service in ENGINES)
    assert sum(node["resources"].get("GPU", 0) * node["min_workers"] for node in nodes.values()) >= claimed
    assert json.loads(json.dumps(manifest)) == manifest  # no dates or other things that YAML makes of words


def test_pods_mount_what_the_services_read(repository: Path) -> None:
    manifest = _manifest(repository)
    config = AppConfig.model_validate(_serve_config(repository, "rayservice")["applications"][0]["args"])
    cluster = manifest["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        assert container["image"] == "vogue:0.1.0"
        mounts = {Path(mount["mountPath"]): mount for mount in container["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}
        assert config.weights_dir is not None and mounts[config.weights_dir.parent]["readOnly"]
        assert "readOnly" not in mounts[config.state_dir]


def _instructions(repository: Path) -> list[tuple[str, str]]:
    text = (repository / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_copies_what_there_is_and_all_that_is_needed(repository: Path) -> None:
    copied = {source for name, rest in _instructions(repository) if name == "COPY" for source in rest.split()[:-1]}
    assert all((repository / source).exists() for source in copied)
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {Path(folder).parts[0] for folder in project["tool"]["setuptools"]["package-dir"].values()}
    assert folders <= {source.rstrip("/") for source in copied}
    assert {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"} <= copied


def test_the_image_installs_extras_that_exist(repository: Path) -> None:
    arguments = dict(rest.split("=") for name, rest in _instructions(repository) if name == "ARG")
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(arguments["EXTRAS"].split(",")) <= project["project"]["optional-dependencies"].keys()
    assert arguments["RAY_VERSION"] == _manifest(repository)["spec"]["rayClusterConfig"]["rayVersion"]
    [command] = [rest for name, rest in _instructions(repository) if name == "CMD"]
    assert json.loads(command)[:2] == ["vogue", "serve"]
    assert "USER" in {name for name, _ in _instructions(repository)}


def test_no_file_names_a_registry(repository: Path) -> None:
    """Image names are short: where they come from is the operator's choice."""
    for path in (one for one in (repository / "deploy").rglob("*") if one.is_file()):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"^\s*(?:FROM|image:)\s+(\S+)", text, flags=re.MULTILINE):
            assert "/" not in name, f"{path.name}: {name}"
