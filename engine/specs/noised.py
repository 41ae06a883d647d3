"""What is published of a data set under differential privacy, in place of its RKME: one noised sketch and its price.

There are no points to disclose and no exact norm: the sketch is all that its owner's node itself has.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from atoll.engine.encoding import Array, pack, unpack
from atoll.engine.errors import DimensionMismatch, EncodingError, SpecificationError
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import BLOCK, Sketch

MAX_BYTES = 16 * 1024
MAX_COUNT = 2**53


class DpParameters(msgspec.Struct, frozen=True):
    """The privacy budget of a sketch, and the standard deviation of its noise, which is public."""

    epsilon: float
    delta: float
    sigma: float


class NoisedRecord(msgspec.Struct, frozen=True):
    """A noised sketch as it is stored in a package."""

    values: Array
    norm2: float
    scale: float
    dp: DpParameters
    count: int


@dataclass(frozen=True, eq=False)
class NoisedSketch:
    """``sketch`` is one block with a scale of its own; ``count`` is the number of rows, public under replace-one."""

    sketch: Sketch
    dp: DpParameters
    count: int

    def to_bytes(self) -> bytes:
        """Canonical bytes, as committed to."""
        own = self.sketch
        return pack(NoisedRecord(Array.of(own.values), own.norm2, own.scale, self.dp, self.count))

    @classmethod
    def from_bytes(cls, data: bytes) -> NoisedSketch:
        """Read foreign bytes; SpecificationError (or a child) says what is wrong with them."""
        try:
            record = unpack(data, NoisedRecord, limit=MAX_BYTES)
            values = record.values.numpy()
        except EncodingError as error:
            raise SpecificationError(f"not a noised sketch: {error.message}") from None
        if values.dtype != np.int8 or values.shape != (BLOCK,):
            raise DimensionMismatch(f"a noised sketch of {values.dtype} {values.shape}: expected int8 ({BLOCK},)")
        dp = record.dp
        if not (0 < dp.sigma <= 1 and dp.epsilon > 0 and 0 < dp.delta < 1 and 0 < record.count < MAX_COUNT):
            raise SpecificationError("a noised sketch with an impossible budget, noise or count")
        if not (0 < record.scale <= 1 and 0 <= record.norm2 <= 1):
            raise SpecificationError("a noised sketch with an impossible scale or norm")
        return cls(Sketch(values.astype(np.int8), record.norm2, record.scale, dp.sigma), dp, record.count)


Specification = Rkme | NoisedSketch
