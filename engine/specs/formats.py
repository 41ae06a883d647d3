"""Files that hold an RKME, told apart by their suffix: Atoll's own (.rkme), Beimingwu's table format (.json), .npz.

Promises: what was written is read back bit for bit; foreign files are bounded before they are read, checked after,
and never unpickled. Weights that are off by rounding are put right, and the reader is told.
"""

from __future__ import annotations

import io
import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import DimensionMismatch, EncodingError, SpecificationError
from atoll.engine.specs.rkme import MAX_BYTES, MAX_POINTS, Rkme
from numpy.typing import NDArray

SUFFIXES = (".rkme", ".json", ".npz")
MAX_JSON = 128 * 1024 * 1024  # a thousand points of 4096 numbers, as text
MAX_ARRAY = 64 * 1024 * 1024  # bytes of one array of an .npz
TOLERANCE = 1e-3  # how far foreign weights may be below 0, or their sum from 1
ROUNDING = 1e-5  # of float32 weights; not worth a word
MAX_COUNT = 2**53  # rows
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip
ARRAYS = ("points", "weights", "gamma", "count")


class Read(NamedTuple):
    """An RKME, and what had to be put right in it, in words (or nothing)."""

    rkme: Rkme
    note: str = ""


class BeimingwuTable(msgspec.Struct, frozen=True):
    """What Beimingwu's ``RKMETableSpecification.save`` writes; its kernel is ours, exp(-gamma ||x - y||^2)."""

    z: Annotated[list[list[float]], msgspec.Meta(min_length=1, max_length=MAX_POINTS)]
    beta: Annotated[list[float], msgspec.Meta(min_length=1, max_length=MAX_POINTS)]
    gamma: float
    num_points: int
    type: Literal["RKMETableSpecification"]


def read(path: Path) -> Read:
    """The RKME in a file of one of SUFFIXES; SpecificationError (or a child) names the file and what is wrong."""
    suffix = known_suffix(path)
    try:
        if suffix == ".json":
            return from_json(_bounded(path, MAX_JSON))
        if suffix == ".npz":
            return from_npz(_bounded(path, MAX_ARRAY))
        return Read(Rkme.from_bytes(_bounded(path, MAX_BYTES)))
    except SpecificationError as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from None


def write(rkme: Rkme, path: Path) -> None:
    """Write the format that the suffix says."""
    suffix = known_suffix(path)
    encode = {".json": to_json, ".npz": to_npz}.get(suffix, Rkme.to_bytes)
    path.write_bytes(encode(rkme))


def known_suffix(path: Path) -> str:
    """The suffix in lower case; SpecificationError if it is none of SUFFIXES."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SpecificationError(
            f"{path}: the suffix says which format a specification has, and {suffix or 'none'!r} says nothing",
            hint=f"use one of {', '.join(SUFFIXES)}",
        )
    return suffix


def to_json(rkme: Rkme) -> bytes:
    """Beimingwu's table format."""
    return msgspec.json.encode(plain(rkme, "RKMETableSpecification"))


def plain(rkme: Rkme, type_: str) -> dict[str, Any]:
    """What Beimingwu's specifications of points have in common."""
    return {
        "z": rkme.points.tolist(),
        "beta": rkme.weights.tolist(),
        "gamma": float(rkme.gamma),
        "num_points": int(rkme.count),
        "type": type_,
    }


def from_json(data: bytes) -> Read:
    """Read Beimingwu's table format."""
    try:
        table = unpack_json(data, BeimingwuTable, limit=MAX_JSON)
    except EncodingError as error:
        raise SpecificationError(
            f"not a table specification of Beimingwu: {error.message}",
            hint='expected {"z": [[..]], "beta": [..], "gamma": g, "num_points": n, "type": "RKMETableSpecification"}',
        ) from None
    widths = sorted({len(row) for row in table.z})
    if len(widths) > 1:
        raise DimensionMismatch(f"the points in z have {widths[0]} to {widths[-1]} dimensions, they must have one")
    return checked(np.array(table.z), np.array(table.beta), table.gamma, table.num_points)


def to_npz(rkme: Rkme) -> bytes:
    """numpy's archive of the arrays ``points`` (m, d), ``weights`` (m,), ``gamma`` and ``count``."""
    file = io.BytesIO()
    np.savez(
        file, points=rkme.points, weights=rkme.weights, gamma=np.float64(rkme.gamma), count=np.int64(rkme.count)
    )  # fmt: skip
    return file.getvalue()


def from_npz(data: bytes) -> Read:
    """Read an .npz of plain numbers; no array is made before its size is known to be that of its bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            points, weights, gamma, count = (_member(archive, name) for name in ARRAYS)
    except DAMAGE as error:
        raise SpecificationError(f"not an .npz archive: {error}") from None
    if gamma.size != 1 or count.size != 1:
        raise DimensionMismatch(f"gamma of shape {gamma.shape} and count of shape {count.shape}: each is one number")
    return checked(points, weights, float(gamma.item()), count.item())


def _bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise SpecificationError(f"larger than the {limit} bytes that a specification may have")
    return data


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise SpecificationError(f"no array {name}", hint=f"the archive holds {', '.join(ARRAYS)}") from None
    if entry.file_size > MAX_ARRAY:
        raise SpecificationError(f"array {name} has {entry.file_size} bytes, more than {MAX_ARRAY}")
    with archive.open(entry) as file:
        data = file.read(MAX_ARRAY)
    try:
        return _array(data)
    except (ValueError, OverflowError, TypeError) as error:
        raise SpecificationError(f"array {name} is not one of plain numbers: {error}") from None


def _array(data: bytes) -> NDArray[Any]:
    """The .npy in ``data``, read without trusting its header."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"format version {version}")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.kind not in "fiu":
        raise ValueError(f"elements of {dtype}")
    body = data[file.tell() :]
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"{len(body)} bytes for the shape {shape}")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")


def checked(points: NDArray[Any], weights: NDArray[Any], gamma: float, count: float) -> Read:
    """The RKME of foreign numbers, points (m, d), weights (m,); SpecificationError (or a child) says what is wrong."""
    if not 1 <= count <= MAX_COUNT or count % 1:
        raise SpecificationError(f"{count} is not a number of rows")
    if points.ndim == 2 and points.shape[1] == 0:
        raise DimensionMismatch("the points have no dimension")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as that
        narrow, mass = np.asarray(points, np.float32, order="C"), np.asarray(weights, np.float32)
    note = ""
    if mass.ndim == 1 and np.isfinite(mass).all():
        mass, note = _on_the_simplex(mass)
    return Read(Rkme(narrow, mass, gamma, int(count)), note)


def _on_the_simplex(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    wide = weights.astype(np.float64)
    least, total = float(wide.min(initial=0.0)), float(wide.sum())
    if least < -TOLERANCE or abs(total - 1.0) > TOLERANCE:
        raise SpecificationError(
            f"weights from {least:g} that sum to {total:g}: they must be non-negative and sum to 1, "
            f"{TOLERANCE:g} off at most"
        )
    if least >= 0 and abs(total - 1.0) <= ROUNDING:
        return weights, ""
    clipped = np.clip(wide, 0.0, None)
    note = f"the weights (from {least:g}, sum {total:.6g}) were clipped at 0 and made to sum to 1"
    return (clipped / clipped.sum()).astype(np.float32), note
