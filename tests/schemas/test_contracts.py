"""Every contract: closed, frozen, the same after every round trip."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vogue.schemas.base import SCHEMA_VERSION, Contract, Message
from vogue.schemas.errors import RequestInvalid, TaskUnsupported, WireError
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.wire import pack, unpack, validate

UPLOAD = "upload_0123456789abcdef"


def _request(**fields: Any) -> dict[str, Any]:
    return {"instruction": "make the star blue", **fields}


def test_every_contract_survives_both_round_trips(contract: type[Contract], contract_strategy: Any) -> None:
    @given(contract_strategy(contract))
    def check(value: Contract) -> None:
        assert unpack(contract, pack(value)) == value
        assert contract.model_validate_json(value.model_dump_json()) == value

    check()


def test_contracts_refuse_unknown_fields_and_assignment(contract: type[Contract], contract_strategy: Any) -> None:
    @given(st.data())
    def check(data: st.DataObject) -> None:
        value = data.draw(contract_strategy(contract))
        with pytest.raises(ValidationError):
            contract.model_validate({**value.model_dump(), "surprise": 1})
        with pytest.raises(ValidationError):
            setattr(value, next(iter(contract.model_fields)), None)

    check()


def test_messages_say_their_version(contract: type[Contract]) -> None:
    if issubclass(contract, Message):
        assert contract.model_fields["schema_version"].default == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"instruction": ""}, "instruction"),
        ({"instruction": "   \n"}, "instruction"),
        ({"instruction": "x" * 20_001}, "instruction"),
        ({"guidance": math.nan}, "guidance"),
        ({"guidance": math.inf}, "guidance"),
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"prompt": "x"}, "prompt"),
        ({"visuals": [{"tag": "image1", "role": "reference"}]}, "visuals.0.upload_id"),
        ({"visuals": [{"tag": "image1", "role": "reference", "upload_id": "/etc/passwd"}]}, "visuals.0.upload_id"),
        ({"visuals": [{"tag": "image1", "role": "reference", "upload_id": "http://x/y.png"}]}, "visuals.0.upload_id"),
        ({"visuals": [{"tag": "picture1", "role": "reference", "upload_id": UPLOAD}]}, "visuals.0.tag"),
        ({"visuals": [{"tag": "image1\n", "role": "reference", "upload_id": UPLOAD}]}, "visuals.0.tag"),
        ({"visuals": [{"tag": "image1", "role": "subject", "upload_id": UPLOAD}]}, "visuals.0.role"),
    ],
)
def test_a_bad_request_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        validate(GenerationRequest, _request(**fields))
    assert caught.value.param == param


def test_an_unknown_task_is_its_own_error() -> None:
    with pytest.raises(TaskUnsupported, match="t2x"):
        validate(GenerationRequest, _request(task="t2x"))


def test_a_tag_used_twice_is_refused() -> None:
    visual = {"tag": "image1", "role": "reference", "upload_id": UPLOAD}
    with pytest.raises(RequestInvalid, match="image1"):
        validate(GenerationRequest, _request(visuals=[visual, visual]))


@given(st.dictionaries(st.text(max_size=12), st.none() | st.integers() | st.text(max_size=8) | st.floats(), max_size=5))
def test_any_object_is_a_request_or_a_request_error(value: dict[str, Any]) -> None:
    try:
        validate(GenerationRequest, value)
    except RequestInvalid as error:
        assert len(error.message) < 600


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_wire_error(data: bytes) -> None:
    try:
        unpack(GenerationRequest, data)
    except WireError as error:
        assert error.message
