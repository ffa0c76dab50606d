"""Strategies that make any contract, from its field annotations alone."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable
from typing import Any

import annotated_types
import pytest
from hypothesis import strategies as st
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

from vogue.lab.schema_snapshot import contracts as contract_classes
from vogue.schemas.base import Contract

MAX_INT = 2**63 - 1


def _flatten(metadata: typing.Iterable[Any]) -> dict[str, Any]:
    """Bounds, lengths and patterns of a field as one dictionary."""
    bounds: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            bounds |= _flatten(item.metadata)
        elif isinstance(item, StringConstraints | annotated_types.BaseMetadata) or hasattr(item, "__dict__"):
            slots = getattr(item, "__slots__", ())
            values = {slot: getattr(item, slot) for slot in slots if hasattr(item, slot)} | dict(
                getattr(item, "__dict__", {})
            )
            bounds |= {name: value for name, value in values.items() if value is not None}
    return bounds


def _text(bounds: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" in bounds:
        return st.from_regex(str(bounds["pattern"]).removeprefix("^").removesuffix("$"), fullmatch=True)
    text = st.text(min_size=bounds.get("min_length", 0), max_size=min(bounds.get("max_length", 40), 40))
    return text.filter(lambda value: bool(value.strip())) if bounds.get("strip_whitespace") else text


def _number(kind: type, bounds: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = bounds.get("ge", bounds.get("gt"))
    high = bounds.get("le", bounds.get("lt"))
    if kind is int:
        least = None if low is None else int(low) + ("gt" in bounds)
        most = MAX_INT if high is None else min(MAX_INT, int(high) - ("lt" in bounds))
        return st.integers(-MAX_INT if least is None else least, most)
    return st.floats(
        low, high, exclude_min="gt" in bounds, exclude_max="lt" in bounds, allow_nan=False, allow_infinity=False
    )


def strategy_for(annotation: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Valid values of one annotation."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    bounds = _flatten(metadata)
    if origin is typing.Annotated:
        return strategy_for(args[0], (*metadata, *args[1:]))
    if origin in (typing.Union, types.UnionType):
        return st.one_of([strategy_for(arg, metadata) for arg in args])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple and args[-1] is Ellipsis:
        size = min(bounds.get("max_length", 3), 3)
        return st.lists(strategy_for(args[0]), min_size=bounds.get("min_length", 0), max_size=size).map(tuple)
    if origin is tuple:
        return st.tuples(*(strategy_for(arg) for arg in args))
    if origin is dict:
        return st.dictionaries(strategy_for(args[0]), strategy_for(args[1]), max_size=3)
    if annotation is type(None):
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is str:
        return _text(bounds)
    if annotation in (int, float):
        return _number(annotation, bounds)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(annotation)
    return contracts(annotation)


def contracts(cls: type[Contract]) -> st.SearchStrategy[Contract]:
    """Valid instances of a contract; values its validators refuse are left out."""
    fields = {name: strategy_for(f.annotation, tuple(f.metadata)) for name, f in cls.model_fields.items()}

    def build(values: dict[str, Any]) -> Contract | None:
        try:
            return cls(**values)
        except ValueError:
            return None

    made = st.fixed_dictionaries(fields).map(build)
    return typing.cast("st.SearchStrategy[Contract]", made.filter(lambda value: value is not None))


@pytest.fixture(scope="session")
def contract_strategy() -> Callable[[type[Contract]], st.SearchStrategy[Contract]]:
    """`contract_strategy(cls)`: a strategy of valid instances."""
    return contracts


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `contract` once for every contract."""
    if "contract" in metafunc.fixturenames:
        metafunc.parametrize("contract", contract_classes(), ids=lambda cls: cls.__name__)
