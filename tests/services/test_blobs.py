"""Blobs are whole or absent, tensors come back as they went in, caches forget nothing they should know."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.schemas.errors import LimitExceeded, ServiceError
from vogue.schemas.references import DType, TensorRef
from vogue.schemas.stages import Pass, PassStates
from vogue.services.blobs import BlobStore
from vogue.services.cache import ActionCache, ActionKey, code_version, digests


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def test_equal_bytes_are_one_blob(store: BlobStore, tmp_path: Path) -> None:
    first = store.put(b"hello", "text/plain")
    (tmp_path / "file").write_bytes(b"hello")
    second = store.put_file(tmp_path / "file", "text/plain")
    assert first == second
    assert bytes(store.get(first)) == b"hello"
    assert first.num_bytes == 5
    assert first.uri == store.path_of(first.sha256).as_uri()
    assert list(store.scratch.iterdir()) == []


def test_an_empty_blob(store: BlobStore) -> None:
    assert bytes(store.get(store.put(b"", "text/plain"))) == b""


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_tensors_come_back_without_a_copy(store: BlobStore, dtype: type, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
    ref = store.put_tensor(array)
    back = store.get_tensor(ref)
    assert ref.shape == shape
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, array)
    assert not back.flags.writeable


def test_bfloat16_keeps_its_bits(store: BlobStore) -> None:
    bits = np.array([0x3F80, 0xC000], dtype=np.uint16)
    ref = store.put_tensor(bits, DType.BFLOAT16)
    assert ref.dtype is DType.BFLOAT16
    np.testing.assert_array_equal(store.get_tensor(ref), bits)


def test_an_abandoned_write_leaves_nothing(store: BlobStore) -> None:
    with pytest.raises(LimitExceeded, match="larger than the 3 bytes"), store.writer(max_bytes=3) as writer:
        writer.write(b"ab")
        writer.write(b"cd")
    with store.writer() as writer:
        writer.write(b"never finished")
    assert list(store.scratch.iterdir()) == []
    assert store.sweep(keep=(), older_than_s=-1) == 0


def test_references_lead_nowhere_else(store: BlobStore, tmp_path: Path) -> None:
    ref = store.put_tensor(np.zeros(3, np.float32))
    secret = tmp_path / ref.sha256
    secret.write_bytes(b"secret")
    for uri in (secret.as_uri(), "https://example.org/" + ref.sha256, ref.uri + "/../x"):
        with pytest.raises(ServiceError, match="not kept in this store"):
            store.get_tensor(ref.model_copy(update={"uri": uri}))
    store.path_of(ref.sha256).unlink()
    with pytest.raises(ServiceError, match="gone"):
        store.get_tensor(ref)


def test_a_reference_must_describe_its_blob(store: BlobStore) -> None:
    ref = store.put_tensor(np.zeros(4, np.float32))
    with pytest.raises(ServiceError, match=r"float32\[4\], not float32\[2, 2\]"):
        store.get_tensor(ref.model_copy(update={"shape": (2, 2)}))


def test_the_sweep_spares_the_kept_and_the_young(store: BlobStore) -> None:
    kept, old, young = (store.put(name, "text/plain") for name in (b"kept", b"old", b"young"))
    for artifact in (kept, old):
        os.utime(store.path(artifact), (time.time() - 100,) * 2)
    assert store.sweep(keep={kept.sha256}, older_than_s=50) == len(b"old")
    assert store.has(kept.sha256)
    assert store.has(young.sha256)
    assert not store.has(old.sha256)


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_pieces_make_the_same_blob(tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int]) -> None:
    store = BlobStore(tmp_path_factory.getbasetemp() / "pieces")
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    with store.writer() as writer:
        for start, stop in itertools.pairwise(edges):
            writer.write(data[start:stop])
        _, sha256 = writer.finish()
    assert sha256 == store.put(data, "any").sha256


def _key(**fields: object) -> ActionKey:
    base = {"operation": "op", "code": "c", "weights": "w", "engine": "torch", "dtype": "float32", "parameters": {}}
    return ActionKey.model_validate(base | fields)


def _states(store: BlobStore, value: float) -> PassStates:
    return PassStates(states={Pass.CONDITIONAL: store.put_tensor(np.full(2, value, np.float32))})


def test_keys_tell_everything_apart() -> None:
    variants = [_key(), _key(code="d"), _key(weights="v"), _key(engine="trt"), _key(dtype="float16")]
    variants += [_key(parameters={"a": 1}), _key(inputs=("x", "y")), _key(inputs=("y", "x"))]
    assert len({key.digest() for key in variants}) == len(variants)
    assert _key(parameters={"a": 1, "b": 2}).digest() == _key(parameters={"b": 2, "a": 1}).digest()


async def test_a_result_is_computed_once(store: BlobStore, tmp_path: Path) -> None:
    cache = ActionCache(tmp_path / "actions.sqlite", store)
    calls = 0

    async def compute() -> PassStates:
        nonlocal calls
        calls += 1
        return _states(store, calls)

    first = await cache.run(_key(), PassStates, compute)
    other_process = ActionCache(tmp_path / "actions.sqlite", store)
    assert await other_process.run(_key(), PassStates, compute) == first
    assert calls == 1
    cache.close()
    other_process.close()


async def test_the_first_writer_wins(store: BlobStore, tmp_path: Path) -> None:
    cache = ActionCache(tmp_path / "actions.sqlite", store)
    both = asyncio.Barrier(2)

    async def compute(value: float) -> PassStates:
        await both.wait()
        return _states(store, value)

    results = await asyncio.gather(*(cache.run(_key(), PassStates, lambda v=v: compute(v)) for v in (1.0, 2.0)))
    assert results[0] == results[1]
    cache.close()


async def test_a_swept_result_is_computed_again(store: BlobStore, tmp_path: Path) -> None:
    cache = ActionCache(tmp_path / "actions.sqlite", store)
    result = cache.put(_key(), _states(store, 1.0))
    (sha256,) = digests(result)
    store.path_of(sha256).unlink()
    assert cache.get(_key(), PassStates) is None
    again = cache.put(_key(), _states(store, 2.0))
    assert cache.get(_key(), PassStates) == again
    cache.close()


def test_a_lookup_keeps_blobs_young(store: BlobStore, tmp_path: Path) -> None:
    cache = ActionCache(tmp_path / "actions.sqlite", store)
    result = cache.put(_key(), _states(store, 1.0))
    (sha256,) = digests(result)
    os.utime(store.path_of(sha256), (time.time() - 100,) * 2)
    assert cache.get(_key(), PassStates) == result
    assert store.sweep(keep=(), older_than_s=50) == 0
    cache.close()


def test_digests_are_found_however_deep() -> None:
    ref = TensorRef(uri="file:///x", sha256="a" * 64, dtype=DType.UINT8, shape=(1,))
    assert list(digests({"a": [PassStates(states={Pass.NEGATIVE: ref})], "b": None})) == ["a" * 64]


def test_the_code_has_a_version() -> None:
    assert len(code_version()) == 64
