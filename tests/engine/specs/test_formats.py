"""Files of specifications: every format gives back what was written; what is foreign is checked."""

import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, NotFinite, SpecificationError
from atoll.engine.specs import Rkme, formats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

GOOD = {"z": [[0, 1.5], [2, 3]], "beta": [0.25, 0.75], "gamma": 0.5, "num_points": 40, "type": "RKMETableSpecification"}


@st.composite
def rkmes(draw):
    m, d = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    points = draw(arrays.arrays(np.float32, (m, d), elements=st.floats(-6, 6, width=32)))
    mass = draw(arrays.arrays(np.float64, m, elements=st.floats(0.01, 1)))
    gamma = draw(st.floats(1e-6, 1e6))
    return Rkme(points, (mass / mass.sum()).astype(np.float32), gamma, draw(st.integers(1, 10**9)))


def of(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def npz(**changes):
    arrays = {"points": np.ones((2, 3)), "weights": np.full(2, 0.5), "gamma": 0.5, "count": 9, **changes}
    file = io.BytesIO()
    np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    return file.getvalue()


def zipped(header):
    """An .npz whose ``points`` claims to be what ``header`` says."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        text = header.encode().ljust(117) + b"\n"
        archive.writestr("points.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    return file.getvalue()


@given(rkmes())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.parametrize("suffix", formats.SUFFIXES)
def test_every_format_gives_back_what_was_written(tmp_path, suffix, rkme):
    path = tmp_path / f"spec{suffix}"
    formats.write(rkme, path)
    read, note = formats.read(path)
    assert (read.to_bytes(), note) == (rkme.to_bytes(), "")


def test_json_is_what_beimingwu_writes():
    rkme, note = formats.from_json(of(device="cpu"))
    assert note == ""
    assert rkme.points.tolist() == [[0, 1.5], [2, 3]]
    assert (rkme.weights.tolist(), rkme.gamma, rkme.count) == ([0.25, 0.75], 0.5, 40)
    assert json.loads(formats.to_json(rkme)) == GOOD


@pytest.mark.parametrize("beta", [[-0.0005, 1.0003], [0.5, 0.5009]])
def test_weights_off_by_rounding_are_put_right_and_said(beta):
    rkme, note = formats.from_json(of(beta=beta))
    assert "sum to 1" in note
    assert rkme.weights.min() >= 0
    assert rkme.weights.sum() == pytest.approx(1, abs=1e-7)
    assert formats.from_npz(npz(weights=np.array(beta))).note == note


@pytest.mark.parametrize("beta", [[-0.01, 1.01], [0.5, 0.6], [0, 0], [1e39, 1], [0.5]])
def test_other_weights_are_refused(beta):
    with pytest.raises(SpecificationError):
        formats.from_json(of(beta=beta))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "RKMETextSpecification"}, {"type": None}, {"z": []}, {"z": [[]] * 2}, {"z": [1, 2]}, {"z": [["a"]]},
        {"z": [[1], [2, 3]]}, {"z": [[[1]], [[2]]]}, {"z": [[10**400], [1]]}, {"z": [[1e39, 0], [0, 0]]},
        {"gamma": 0}, {"gamma": -1}, {"gamma": "x"}, {"num_points": 0}, {"num_points": 1.5}, {"num_points": 2**80},
        {"z": [[0]] * 1001, "beta": [1 / 1001] * 1001},
    ],
)  # fmt: skip
def test_hostile_json_is_refused(change):
    with pytest.raises(SpecificationError):
        formats.from_json(of(**change))


@pytest.mark.parametrize("data", [b"", b"[", b"[]", b"null", b"\xff", b"[" * 100_000, of().replace(b"0.5", b"NaN")])
def test_what_is_no_json_of_a_specification_is_refused(data):
    with pytest.raises(SpecificationError, match="Beimingwu") as error:
        formats.from_json(data)
    assert '"z"' in error.value.hint


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for read in (formats.from_json, formats.from_npz, lambda each: formats.from_npz(npz()[:100] + each)):
        with pytest.raises(SpecificationError):
            read(data)


@given(st.integers(0, 900), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_npz_is_read_or_refused(place, value):
    data = bytearray(npz())
    data[place % len(data)] = value
    with contextlib.suppress(SpecificationError):
        formats.from_npz(bytes(data))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"points": None}, SpecificationError),
        ({"points": np.array([[{}]], object)}, SpecificationError),
        ({"points": np.ones((2, 3), complex)}, SpecificationError),
        ({"points": np.array([["a"]])}, SpecificationError),
        ({"points": np.full((2, 3), np.nan)}, NotFinite),
        ({"points": np.full((2, 3), 1e300)}, NotFinite),
        ({"points": np.ones(2)}, DimensionMismatch),
        ({"weights": np.ones((1, 1))}, DimensionMismatch),
        ({"gamma": np.ones(2)}, DimensionMismatch),
        ({"gamma": np.nan}, SpecificationError),
        ({"count": 0}, SpecificationError),
        ({"count": 1.5}, SpecificationError),
        ({"count": np.inf}, SpecificationError),
    ],
)
def test_hostile_archives_are_refused(change, error):
    with pytest.raises(error):
        formats.from_npz(npz(**change))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
        "__import__('os').system('true')",
    ],
)
def test_the_header_of_an_array_is_not_trusted(header):
    with pytest.raises(SpecificationError, match="points"):
        formats.from_npz(zipped(header))


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("points.npy", "w") as member:
        for _ in range(65):
            member.write(bytes(1 << 20))
    assert len(file.getvalue()) < 1 << 20
    with pytest.raises(SpecificationError, match="more than"):
        formats.from_npz(file.getvalue())


def test_large_files_are_not_read(tmp_path):
    for suffix in formats.SUFFIXES:
        path = tmp_path / f"large{suffix}"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(SpecificationError, match="larger than"):
            formats.read(path)


def test_the_suffix_says_the_format_and_errors_name_the_file(tmp_path):
    with pytest.raises(SpecificationError, match="suffix"):
        formats.write(formats.from_json(of()).rkme, tmp_path / "spec.txt")
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(of(gamma=-1))
    with pytest.raises(SpecificationError, match=r"wrong\.json: gamma"):
        formats.read(wrong)
