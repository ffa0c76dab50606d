"""`langgraph.json` is what LangGraph's tools expect, and what it names is there."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

config = pytest.importorskip("langgraph_cli.config")


def test_the_configuration_is_valid(repository: Path) -> None:
    path = repository / "langgraph.json"
    assert list(config.validate_config_file(path)["graphs"]) == ["job"]
    assert config.get_unknown_keys(json.loads(path.read_text())) == []


def test_what_it_names_is_the_flow(repository: Path) -> None:
    named = json.loads((repository / "langgraph.json").read_text())["graphs"]["job"]
    module, _, factory = named.partition(":")
    flow = getattr(importlib.import_module(module), factory)()
    drawn = flow.get_graph().draw_mermaid()
    assert {"plan", "denoise", "deliver"} <= set(flow.get_graph().nodes) and "denoise" in drawn
    assert flow.get_input_jsonschema()["properties"].keys() >= {"request", "spec"}
    assert flow.get_output_jsonschema()["properties"].keys() >= {"decoded"} and flow.get_context_jsonschema() is None
