"""The reduced kernel mean embedding: a few weighted points that stand for a data set.

<P, Q> = sum_ij b_i b'_j k(z_i, z'_j); MMD^2(P, Q) = <P, P> - 2 <P, Q> + <Q, Q> (algorithms: notation).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from atoll.engine.encoding import Array, pack, unpack
from atoll.engine.errors import DimensionMismatch, EncodingError, NotFinite, SpecificationError
from atoll.engine.specs.kernels import gaussian
from numpy.typing import NDArray

MAX_POINTS = 1000
SAME_GAMMA = 1e-6  # relative
MAX_BYTES = 16 * 1024 * 1024


class RkmeRecord(msgspec.Struct, frozen=True):
    """An RKME as it is stored and sent."""

    points: Array
    weights: Array
    gamma: float
    count: int


class Kernel(Protocol):
    """What RKMEs must share to be compared: an island has it, an RKME, and an index of them."""

    @property
    def dimension(self) -> int: ...

    @property
    def gamma(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Rkme:
    """``points`` float32 (m, d) in island units, ``weights`` float32 (m,) on the simplex, the kernel's ``gamma``,
    and ``count``, the number of rows summarised."""

    points: NDArray[np.float32]
    weights: NDArray[np.float32]
    gamma: float
    count: int

    def __post_init__(self) -> None:
        m = len(self.weights)
        if self.points.ndim != 2 or self.weights.ndim != 1 or len(self.points) != m or not 1 <= m <= MAX_POINTS:
            raise DimensionMismatch(
                f"points {self.points.shape} and weights {self.weights.shape}: expected (m, d) and (m,), "
                f"1 <= m <= {MAX_POINTS}"
            )
        if not (np.isfinite(self.points).all() and np.isfinite(self.weights).all()):
            raise NotFinite("the specification holds NaN or infinite values")
        if (self.weights < 0).any() or abs(float(self.weights.sum()) - 1.0) > 1e-3:
            raise SpecificationError("weights must be non-negative and sum to 1")
        if not (np.isfinite(self.gamma) and self.gamma > 0) or self.count < 1:
            raise SpecificationError(f"gamma {self.gamma} and count {self.count} must be positive")

    @property
    def dimension(self) -> int:
        return int(self.points.shape[1])

    def comparable(self, other: Kernel) -> bool:
        """Whether ``other`` has the same dimension and, to rounding, the same gamma."""
        return self.dimension == other.dimension and abs(self.gamma - other.gamma) <= SAME_GAMMA * other.gamma

    @cached_property
    def norm2(self) -> float:
        """<P, P>, in (0, 1]."""
        return inner(self, self)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal RKMEs give equal bytes."""
        return pack(self.record())

    def record(self) -> RkmeRecord:
        return RkmeRecord(Array.of(self.points), Array.of(self.weights), float(self.gamma), int(self.count))

    @classmethod
    def from_record(cls, record: RkmeRecord) -> Rkme:
        """Check a foreign record; SpecificationError (or a child) says what is wrong."""
        try:
            points, weights = record.points.numpy(finite=False), record.weights.numpy(finite=False)
        except EncodingError as error:
            raise SpecificationError(f"not an RKME: {error.message}") from None
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as that
            points, weights = points.astype(np.float32), weights.astype(np.float32)
        return cls(points, weights, record.gamma, record.count)

    @classmethod
    def from_bytes(cls, data: bytes) -> Rkme:
        """Read foreign bytes; SpecificationError (or a child) says what is wrong with them."""
        try:
            record = unpack(data, RkmeRecord, limit=MAX_BYTES)
        except EncodingError as error:
            raise SpecificationError(f"not an RKME: {error.message}") from None
        return cls.from_record(record)

    def save(self, path: Path) -> None:
        path.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Rkme:
        return cls.from_bytes(path.read_bytes())


def inner(left: Rkme, right: Rkme) -> float:
    """<P, Q> under the common kernel; DimensionMismatch if the two are not comparable."""
    if not left.comparable(right):
        raise DimensionMismatch(
            f"RKMEs of {left.dimension} and {right.dimension} dimensions, gamma {left.gamma:g} and {right.gamma:g}, "
            "are not comparable"
        )
    kernel = gaussian(left.points, right.points, left.gamma)
    return float(left.weights.astype(np.float64) @ kernel @ right.weights.astype(np.float64))


def mmd2(left: Rkme, right: Rkme) -> float:
    """MMD^2(P, Q) >= 0 (the learnware literature calls it dist)."""
    return max(0.0, left.norm2 - 2.0 * inner(left, right) + right.norm2)
