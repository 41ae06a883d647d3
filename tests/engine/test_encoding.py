import contextlib
import math

import msgpack
import msgspec
import numpy as np
import pytest
from atoll.engine.encoding import MAX_DEPTH, Array, pack, unpack, unpack_json
from atoll.engine.errors import EncodingError
from hypothesis import given
from hypothesis import strategies as st


class Point(msgspec.Struct, frozen=True):
    name: str
    data: bytes = b""
    size: float = 0.0
    tags: tuple[str, ...] = ()


def test_duplicate_keys_are_refused():
    twice = b"\x82" + b"\xa4name\xa1a" * 2
    with pytest.raises(EncodingError, match="twice"):
        unpack(twice, Point, limit=100)
    with pytest.raises(EncodingError, match="twice"):
        unpack_json(b'{"name":"a","name":"b"}', Point, limit=100)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(EncodingError, match="NaN"):
        unpack(msgpack.packb({"name": "a", "size": value}), Point, limit=100)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_numbers_that_are_not_finite_are_refused(text):
    with pytest.raises(EncodingError):
        unpack_json(f'{{"name":"a","size":{text}}}'.encode(), Point, limit=100)


@pytest.mark.parametrize("code", [0xFF, 0, 5])  # 0xFF is msgpack's timestamp
def test_extension_types_are_refused(code):
    with pytest.raises(EncodingError):
        unpack(b"\x81\xa4name\xd6" + bytes([code, 0, 0, 0, 1]), Point, limit=100)


def test_bytes_after_the_value_are_refused():
    with pytest.raises(EncodingError):
        unpack(pack(Point("a")) + b"\0", Point, limit=100)


def test_text_is_not_taken_for_bytes_nor_bytes_for_text():
    with pytest.raises(EncodingError):
        unpack(msgpack.packb({"name": "a", "data": "text"}), Point, limit=100)
    with pytest.raises(EncodingError):
        unpack(msgpack.packb({"name": b"a"}), Point, limit=100)


def test_the_limit_counts_bytes():
    data = pack(Point("a"))
    assert unpack(data, Point, limit=len(data)) == Point("a")
    with pytest.raises(EncodingError, match="at most"):
        unpack(data, Point, limit=len(data) - 1)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 400, 5000, 100_000])
def test_deep_nesting_is_refused(depth):
    with pytest.raises(EncodingError):
        unpack(b"\x91" * depth + b"\xc0", object, limit=200_000)
    with pytest.raises(EncodingError):
        unpack_json(b"[" * depth + b"]" * depth, object, limit=300_000)


def test_lengths_that_the_bytes_do_not_hold_are_refused():
    for header in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        with pytest.raises(EncodingError):
            unpack(header, object, limit=100)


def test_unknown_fields_are_ignored_so_records_can_grow():
    assert unpack(msgpack.packb({"name": "a", "later": 1}), Point, limit=100) == Point("a")


@given(st.builds(Point, st.text(), st.binary(), st.floats(allow_nan=False, allow_infinity=False), st.tuples(st.text())))
def test_what_is_packed_unpacks_to_the_same_value_and_bytes(point):
    data = pack(point)
    assert unpack(data, Point, limit=len(data)) == point
    assert pack(unpack(data, Point, limit=len(data))) == data


@given(st.binary(max_size=80))
def test_arbitrary_bytes_give_a_value_or_an_encoding_error(data):
    for read in (unpack, unpack_json):
        with contextlib.suppress(EncodingError):
            assert isinstance(read(data, Point, limit=100), Point)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "float64"])
def test_arrays_come_back_as_they_were(dtype):
    values = np.arange(12).reshape(3, 4).astype(dtype)
    back = Array.of(values.T).numpy()
    assert back.dtype == dtype
    assert np.array_equal(back, values.T)


@pytest.mark.parametrize(
    "array",
    [
        Array("object", (1,), b"\0" * 8),
        Array("float32", (2,), b"\0" * 4),
        Array("float32", (-1, -1), b"\0" * 4),
        Array("float32", (1,) * 9, b"\0" * 4),
        Array("float32", (2**62, 2**62), b""),
        Array("float32", (1,), np.float32(np.nan).tobytes()),
        Array("float32", (0, 2**62, 2**62), b""),
        Array("float32", (0, 2**64 - 1), b""),
    ],
)
def test_impossible_arrays_are_refused(array):
    with pytest.raises(EncodingError):
        array.numpy()


def test_arrays_of_objects_are_not_sent():
    with pytest.raises(EncodingError, match="object"):
        Array.of(np.array([None]))
