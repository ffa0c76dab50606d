"""The dashboard, the alerts and the scrape configuration speak of metrics, labels and files that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from vogue.schemas.errors import DeviceOutOfMemory
from vogue.services.meters import Histogram
from vogue.services.metrics import METERS

FUNCTIONS = {"absent", "by", "histogram_quantile", "increase", "predict_linear", "rate", "sum"}
HISTOGRAM_PARTS = ("_bucket", "_count", "_sum")


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "deploy" / "monitoring"


def _dashboard(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return read


def _alerts(folder: Path) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((folder / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _expressions(folder: Path) -> Iterator[str]:
    for panel in _dashboard(folder)["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (rule["expr"] for rule in _alerts(folder))


def _labels_of(name: str) -> set[str]:
    """The labels of a series by its name; the catalogue must have it.

    Raises:
        KeyError: it does not.
    """
    if name == "up":
        return {"job"}
    for part in HISTOGRAM_PARTS:
        metric = METERS.metrics.get(name.removesuffix(part))
        if name.endswith(part) and isinstance(metric, Histogram):
            return {*metric.labels, *(["le"] if part == "_bucket" else [])}
    if isinstance(METERS.metrics[name], Histogram):
        raise KeyError(f"{name} is a histogram: it has no series of its own name")
    return set(METERS.metrics[name].labels)


def test_every_expression_speaks_of_metrics_and_labels_that_exist(folder: Path) -> None:
    expressions = list(_expressions(folder))
    assert len(expressions) > 20
    for expression in expressions:
        assert expression.count("(") == expression.count(")") and expression.count("{") == expression.count("}")
        bare = re.sub(r'"[^"]*"|\[[^\]]*\]', " ", expression)
        selected = re.findall(r"\b([a-z_]+)\b(?:\s*\{([^}]*)\})?", re.sub(r"by \([^)]*\)", " ", bare))
        named = [(name, matchers) for name, matchers in selected if name == "up" or name.startswith("vogue_")]
        assert named, expression
        known: set[str] = set()
        for name, matchers in named:
            labels = _labels_of(name)
            known |= labels
            assert set(re.findall(r"([a-z_]+)\s*(?:=~|!=|=)", matchers)) <= labels, expression
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= known, expression
        outside = re.sub(r"\{[^}]*\}|by \([^)]*\)", " ", bare)
        words = set(re.findall(r"\b[a-z_]+\b(?!\d)", outside)) - {name for name, _ in named}
        assert words <= FUNCTIONS | {"e"}, expression


def test_values_that_are_matched_can_occur(folder: Path) -> None:
    for expression in _expressions(folder):
        for name, matchers in re.findall(r"(vogue_[a-z_]+)\{([^}]*)\}", expression):
            for label, value in re.findall(r'([a-z_]+)="([^"]*)"', matchers):
                known = METERS.metrics[name]._known[label]
                assert known is None or value in known, expression
    assert any(DeviceOutOfMemory.code in rule["expr"] for rule in _alerts(folder))


def test_every_metric_is_shown_somewhere(folder: Path) -> None:
    shown = " ".join(target["expr"] for panel in _dashboard(folder)["panels"] for target in panel.get("targets", ()))
    assert {name for name in METERS.metrics if name not in shown} == set()


def test_the_dashboard_is_one_that_grafana_can_import(folder: Path) -> None:
    dashboard = _dashboard(folder)
    panels = dashboard["panels"]
    assert dashboard["title"] == "VOGUE" and len({panel["id"] for panel in panels}) == len(panels)
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label in target["expr"] or label in METERS.metrics["vogue_info"].labels


def test_prometheus_finds_the_gateway_and_the_alerts(folder: Path) -> None:
    config = yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))
    assert all((folder / name).is_file() for name in config["rule_files"])
    (scrape,) = config["scrape_configs"]
    assert (scrape["metrics_path"], scrape["static_configs"]) == ("/metrics", [{"targets": ["127.0.0.1:8000"]}])
    jobs = {match for rule in _alerts(folder) for match in re.findall(r'job="(\w+)"', rule["expr"])}
    assert jobs == {scrape["job_name"]}
    for rule in _alerts(folder):
        assert {"summary", "action"} <= rule["annotations"].keys() and rule["labels"]["severity"] in ("page", "ticket")
