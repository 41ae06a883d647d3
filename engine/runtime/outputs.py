"""What boosters answer, as columns of a learnware."""

from __future__ import annotations

from typing import Any

import numpy as np
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray


def as_columns(values: NDArray[Any], signature: Signature) -> NDArray[np.float32]:
    """float32 (n, outputs); a booster of two classes gives only the second one's probability, (n,)."""
    found = np.asarray(values, dtype=np.float32)
    if found.ndim == 1 and signature.task == "classification" and signature.outputs == 2:
        return np.stack([1 - found, found], axis=1)
    return found.reshape(len(found), -1) if found.ndim == 1 else found
