"""The error tree: unique codes, and every error whole after pickling and after HTTP."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.schemas import errors
from vogue.schemas.errors import RequestInvalid, ServiceError, VogueError, error_from_body
from vogue.schemas.jobs import ErrorInfo


def _tree(cls: type[VogueError]) -> Iterator[type[VogueError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _tree(child)


TREE = [cls for cls in _tree(VogueError) if cls.__module__ == errors.__name__]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in TREE]
    assert sorted(set(codes)) == sorted(codes)


def test_every_error_is_exported_sorted_and_in_the_tree_drawing() -> None:
    names = [cls.__name__ for cls in TREE]
    assert sorted([*names, "error_from_body"]) == errors.__all__
    assert all(name in (errors.__doc__ or "") for name in names)


def test_children_keep_their_parents_promises() -> None:
    for cls in TREE:
        assert 400 <= cls.http_status < 600
        assert not (cls.retryable and cls.http_status in (400, 404, 413, 422))


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_errors_survive_pickling(cls: type[VogueError]) -> None:
    error = cls("width_px 7 is not a multiple of 16", param="width_px", retry_after_s=2.5)
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is cls
        assert (back.message, back.param, back.retry_after_s) == (error.message, error.param, error.retry_after_s)
        assert str(back) == str(error)


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_errors_survive_http(cls: type[VogueError]) -> None:
    error = cls("the queue is full", param="visuals.0.upload_id", retry_after_s=1.5)
    back = error_from_body(json.loads(json.dumps(error.body())), cls.http_status)
    assert type(back) is cls
    assert (back.message, back.param, back.retry_after_s) == (error.message, error.param, error.retry_after_s)
    assert set(error.body()["error"]) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_errors_rest_in_the_jobs_table(cls: type[VogueError]) -> None:
    error = cls("broken", param="x")
    info = ErrorInfo.model_validate(error.body()["error"])
    assert type(error_from_body(info.body(), cls.http_status)) is cls


def test_classes_that_others_derive_are_not_rebuilt() -> None:
    def of_cause(self: VogueError, cause: Exception) -> None:
        VogueError.__init__(self, str(cause))

    # What Ray makes of an error that a replica raised: a class of both kinds, built in another way.
    derived = type("RayTaskError(AssetNotFound)", (errors.AssetNotFound,), {"__init__": of_cause})
    back = error_from_body(derived(ValueError("gone")).body(), 404)
    assert (type(back), back.message) == (errors.AssetNotFound, "gone")


@pytest.mark.parametrize(("status", "cls"), [(418, RequestInvalid), (503, ServiceError), (500, VogueError)])
def test_an_unknown_code_gives_the_nearest_class(status: int, cls: type[VogueError]) -> None:
    assert type(error_from_body({"error": {"message": "x", "code": "from_the_future"}}, status)) is cls


@given(st.dictionaries(st.text(), JSON) | st.fixed_dictionaries({"error": JSON}), st.integers(400, 599))
def test_any_body_gives_an_error(body: dict[str, object], status: int) -> None:
    error = error_from_body(body, status)
    assert isinstance(error, VogueError) and isinstance(error.message, str)
