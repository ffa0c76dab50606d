"""A contract changes only together with its reviewed JSON Schema."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from vogue.lab.schema_snapshot import contracts, main, snapshot


def test_the_snapshot_is_current(repository: Path) -> None:
    kept = (repository / "docs" / "schema.json").read_text(encoding="utf-8")
    assert kept == snapshot(), "contracts changed: review and run `make schema`"


def test_drift_is_shown_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "schema.json"
    assert main([str(path)]) == 0
    assert main([str(path), "--check"]) == 0
    path.write_text(path.read_text().replace('"instruction"', '"prompt"'))
    assert main([str(path), "--check"]) == 1
    assert "+" in capsys.readouterr().out


def test_every_contract_closes_its_fields() -> None:
    for contract in contracts():
        schema = contract.model_json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["additionalProperties"] is False, contract.__name__
