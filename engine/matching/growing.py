"""Arrays that grow at their end; an index that changes by one learnware is not built anew."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Growing(Generic[Scalar]):
    """An array (n, *width); appending is amortised O(1), ``values`` is a view that the next change may outdate."""

    def __init__(self, dtype: type[Scalar], *width: int) -> None:
        self._buffer: NDArray[Scalar] = np.empty((0, *width), dtype)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def values(self) -> NDArray[Scalar]:
        return self._buffer[: self._used]

    def extend(self, rows: ArrayLike) -> None:
        added = np.asarray(rows, self._buffer.dtype)
        used = self._used + len(added)
        if used > len(self._buffer):
            grown = np.empty((max(used, len(self._buffer) * 3 // 2), *self._buffer.shape[1:]), self._buffer.dtype)
            grown[: self._used] = self.values
            self._buffer = grown
        self._buffer[self._used : used] = added
        self._used = used

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop the rows where ``mask`` (n,) is false, and the memory that they took."""
        self._buffer = self.values[mask]
        self._used = len(self._buffer)
