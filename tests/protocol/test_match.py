"""What an owner is asked to match: an RKME or a sketch, and which learnwares in any case."""

import math
import struct

import msgspec
import numpy as np
import pytest
from atoll.engine.encoding import Array, pack
from atoll.engine.errors import DimensionMismatch, NotFinite, SpecificationError
from atoll.engine.specs.rkme import RkmeRecord
from atoll.engine.specs.sketch import SCALE, Sketch
from atoll.protocol.errors import ProtocolError
from atoll.protocol.limits import CONTROL_FRAME
from atoll.protocol.match import MAX_WANTED, AskedSketch, MatchRequest
from atoll.protocol.messages import decode, encode

F = b"F" * 32
RKME = RkmeRecord(Array.of(np.ones((1, 2), np.float32)), Array.of(np.ones(1, np.float32)), 0.5, 5)
SKETCH = AskedSketch(bytes(512))


def read(data):
    return decode(data, MatchRequest, limit=CONTROL_FRAME)


def plain(request):
    return msgspec.to_builtins(request, builtin_types=(bytes,))


@pytest.mark.parametrize(
    "change",
    [
        {"rkme": None}, {"sketch": plain(SKETCH)}, {"wanted": (b"short",)}, {"wanted": (b"l" * 33,)}, {"wanted": F},
        {"wanted": tuple(bytes([n]) * 32 for n in range(MAX_WANTED + 1))},
    ],
    ids=["neither", "both", "short id", "long id", "no ids", "too many"],
)  # fmt: skip
def test_requests_that_are_none_are_not_read(change):
    good = MatchRequest(F, F, RKME)
    assert read(encode(good)) == good
    with pytest.raises(ProtocolError):
        read(pack(plain(good) | change))


def test_a_request_by_sketch_for_as_many_as_may_be_wanted_is_a_control_frame():
    request = MatchRequest(F, F, sketch=SKETCH, wanted=tuple(bytes([n]) * 32 for n in range(MAX_WANTED)))
    assert read(encode(request)) == request


def test_a_request_of_a_node_that_knows_neither_sketches_nor_wanted_is_read():
    old = {key: value for key, value in plain(MatchRequest(F, F, RKME)).items() if key not in ("sketch", "wanted")}
    assert read(pack(old)) == MatchRequest(F, F, RKME)


def test_a_sketch_arrives_as_it_was_sent():
    noised = Sketch(np.arange(-256, 256).clip(-127, 127).astype(np.int8), 0.5, 0.004, 0.001)
    back = AskedSketch.of(noised).to_sketch()
    assert (back.values.tolist(), back.scale, back.sigma) == (noised.values.tolist(), 0.004, 0.001)
    assert back.norm2 == pytest.approx(float(np.square(noised.values * 0.004, dtype=float).sum()))


@pytest.mark.parametrize(
    ("sketch", "error"),
    [
        (AskedSketch(bytes(511)), DimensionMismatch), (AskedSketch(bytes(1024)), DimensionMismatch),
        (AskedSketch(b""), DimensionMismatch), (AskedSketch(bytes(512), math.nan), NotFinite),
        (AskedSketch(bytes(512), math.inf), NotFinite), (AskedSketch(bytes(512), 0.01, math.nan), NotFinite),
        (AskedSketch(bytes(512), 0.0), SpecificationError), (AskedSketch(bytes(512), -SCALE), SpecificationError),
        (AskedSketch(bytes(512), 1e9), SpecificationError), (AskedSketch(bytes(512), 0.01), SpecificationError),
        (AskedSketch(bytes(512), 0.01, 2.0), SpecificationError),
    ],
)  # fmt: skip
def test_an_impossible_sketch_is_refused_in_words(sketch, error):
    with pytest.raises(error, match="sketch"):
        sketch.to_sketch()


def test_no_number_that_is_none_comes_over_the_wire():
    data = encode(MatchRequest(F, F, sketch=AskedSketch(bytes(512), 0.25)))
    assert data.count(struct.pack(">d", 0.25)) == 1
    with pytest.raises(ProtocolError):
        read(data.replace(struct.pack(">d", 0.25), struct.pack(">d", math.nan)))
