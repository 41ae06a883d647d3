"""The one way from bytes to values and back: msgpack with every limit set, then typed by msgspec.

Promises: the same value gives the same bytes; bytes that are too long, hold duplicate keys, NaN, infinities,
extension types or anything after the value are refused; unknown fields are ignored, so records can grow.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

import msgpack
import msgspec
import numpy as np
from atoll.engine.errors import EncodingError
from numpy.typing import NDArray

T = TypeVar("T")

MAX_ITEMS = 65_536  # entries of one array or map
MAX_DEPTH = 16
ARRAY_DTYPES = {"int8": "<i1", "uint8": "<u1", "int64": "<i8", "float16": "<f2", "float32": "<f4", "float64": "<f8"}
_NAMES = {np.dtype(code): name for name, code in ARRAY_DTYPES.items()}  # numpy takes 10 us to say the name of a dtype


class Array(msgspec.Struct, frozen=True):
    """An array on the wire: element type, shape, little-endian bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, values: NDArray[Any]) -> Array:
        """Wrap ``values``; TypeError-free: a dtype outside the list is an EncodingError."""
        name = _NAMES.get(values.dtype) or values.dtype.name
        if name not in ARRAY_DTYPES:
            raise EncodingError(f"an array of {name} cannot be sent", hint=f"use one of {', '.join(ARRAY_DTYPES)}")
        data = np.ascontiguousarray(values).astype(ARRAY_DTYPES[name], copy=False).tobytes()
        return cls(name, tuple(values.shape), data)

    def numpy(self, *, finite: bool = True) -> NDArray[Any]:
        """The array, read-only; refused if dtype, shape and byte count disagree or (``finite``) on NaN or inf."""
        if self.dtype not in ARRAY_DTYPES:
            raise EncodingError(f"unknown array dtype {self.dtype!r}")
        dtype = np.dtype(ARRAY_DTYPES[self.dtype])
        if len(self.shape) > 8 or min(self.shape, default=0) < 0 or math.prod(s or 1 for s in self.shape) > 2**40:
            raise EncodingError(f"impossible array shape {self.shape!r}")
        if math.prod(self.shape) * dtype.itemsize != len(self.data):
            raise EncodingError(f"{len(self.data)} bytes are not an array of {self.dtype} {self.shape!r}")
        values = np.frombuffer(self.data, dtype).reshape(self.shape)
        if finite and dtype.kind == "f" and not np.isfinite(values).all():
            raise EncodingError("the array holds NaN or infinite values")
        return values


def pack(value: object) -> bytes:
    """The bytes of a struct or plain tree; fields in declaration order, so equal values give equal bytes."""
    tree = msgspec.to_builtins(value, builtin_types=(bytes,))
    packed: bytes = msgpack.packb(tree, use_bin_type=True)
    return packed


def unpack(data: bytes, type_: type[T], *, limit: int) -> T:
    """Decode at most ``limit`` bytes from an untrusted source into ``type_``, or raise EncodingError."""
    if len(data) > limit:
        raise EncodingError(f"{len(data)} bytes where at most {limit} are allowed")
    try:
        tree = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_pairs,
            ext_hook=_no_extension,
            max_str_len=limit,
            max_bin_len=limit,
            max_array_len=min(limit, MAX_ITEMS),
            max_map_len=min(limit, MAX_ITEMS),
            max_ext_len=0,
        )
    except EncodingError:
        raise
    except (ValueError, TypeError, RecursionError, UnicodeDecodeError, msgpack.UnpackException) as error:
        raise EncodingError(f"not valid msgpack: {error or type(error).__name__}") from None
    return typed(tree, type_)


def unpack_json(data: bytes, type_: type[T], *, limit: int) -> T:
    """As :func:`unpack`, for the JSON files that people read (manifests, semantic specifications)."""
    if len(data) > limit:
        raise EncodingError(f"{len(data)} bytes where at most {limit} are allowed")
    try:
        tree = json.loads(data, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except EncodingError:
        raise
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"not valid JSON: {error or type(error).__name__}") from None
    return typed(tree, type_, builtin_types=())


def typed(tree: object, type_: type[T], *, builtin_types: tuple[type, ...] = (bytes,)) -> T:
    """A plain tree as ``type_``: finite numbers, no foreign objects, bounded depth, or EncodingError."""
    _check(tree, MAX_DEPTH)
    try:
        return msgspec.convert(tree, type_, builtin_types=builtin_types)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise EncodingError(str(error)) from None


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise EncodingError("a map names the same key twice")
    return tree


def _no_extension(code: int, data: bytes) -> object:
    raise EncodingError(f"extension type {code} is not used here")


def _no_constant(name: str) -> object:
    raise EncodingError(f"{name} is not a number")


def _check(node: object, depth: int) -> None:
    if depth == 0:
        raise EncodingError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(node, dict):
        for value in node.values():
            _check(value, depth - 1)
    elif isinstance(node, list):
        for value in node:
            _check(value, depth - 1)
    elif isinstance(node, float):
        if not math.isfinite(node):
            raise EncodingError("NaN and infinities are not numbers here")
    elif isinstance(node, str):
        if not node.isascii() and any("\ud800" <= character <= "\udfff" for character in node):
            raise EncodingError("text holds lone surrogates")
    elif not isinstance(node, (bytes, int, bool, type(None))):
        raise EncodingError(f"{type(node).__name__} values are not used here")
