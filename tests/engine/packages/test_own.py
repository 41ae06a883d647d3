"""Model files told by their bytes, and never loaded as what they only pass for."""

import io
import struct
import zlib

import pytest
from atoll.engine.errors import ModelRefused
from atoll.engine.packages.own import load_data, load_own, told
from atoll.engine.runtime.formats import detect
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier


def polyglot(code: str) -> bytes:
    """A compressed pickle that runs ``code`` when it is loaded, every byte of which is in a field of a protobuf too."""
    tail = b"0cbuiltins\nexec\n(V" + code.encode() + b"\ntR."  # drops the heads of the fields, then runs
    length = len(tail) + 4  # the checksum belongs to the last field
    wide = bytes(0x80 | (length >> shift & 0x7F) for shift in range(0, 28, 7)) + bytes([length >> 28 & 0x7F])
    heads = b"\x42\x00\x3a" + wide
    body = b"\x80\x04C" + bytes([len(heads)]) + heads + tail
    stored = b"\x09" + struct.pack("<HH", len(body), len(body) ^ 0xFFFF)  # to the one, a block; to the other, a field
    return b"\x78\x01" + stored + body + struct.pack(">I", zlib.adler32(body))


def test_a_pickle_that_passes_for_onnx_is_not_loaded_as_data(tmp_path):
    path, mark = tmp_path / "model.onnx", tmp_path / "ran"
    path.write_bytes(polyglot(f"open({str(mark)!r}, 'w').close()"))
    assert detect(io.BytesIO(path.read_bytes())) == "onnx"
    assert told(path.read_bytes()) == "pickle"
    with pytest.raises(ModelRefused, match="pickle is code"):
        load_data(path)
    assert not mark.exists()
    load_own(path)  # as its own maker would, who was warned
    assert mark.exists()


def test_a_skops_file_of_others_builds_no_types_but_those_that_are_run(tmp_path):
    skops = pytest.importorskip("skops.io")
    rows, labels = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    path = tmp_path / "model.skops"
    path.write_bytes(skops.dumps(KNeighborsClassifier(1, algorithm="kd_tree").fit(rows, labels)))
    with pytest.raises(ModelRefused, match="KDTree"):
        load_data(path)
    assert load_own(path).model.predict([[3.0]]) == [1]
    path.write_bytes(skops.dumps(DecisionTreeClassifier().fit(rows, labels)))
    assert load_data(path).predict([[3.0]]) == [1]


@pytest.mark.parametrize("code", ["import os\ndef predict(rows):\n    return rows\n", ""])
def test_code_and_what_is_nothing_are_not_loaded_as_data(tmp_path, code):
    path = tmp_path / "model"
    path.write_text(code)
    with pytest.raises(ModelRefused):
        load_data(path)
