"""LightGBM's text format, inside the worker."""

from __future__ import annotations

import lightgbm
import numpy as np
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.outputs import as_columns
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray


class LightgbmModel:
    """A loaded booster; raises ModelRefused for what is not run and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        try:
            self._booster = lightgbm.Booster(model_str=data.decode("utf-8"), params={"num_threads": threads})
            width = self._booster.num_feature()
        except Exception as error:  # LightGBMError, or what its Python layer trips over
            raise ModelRefused(f"LightGBM does not load the model: {printable(str(error), 300)}") from None
        if width != signature.inputs:
            raise ModelRefused(f"the model takes {width} columns, the manifest says {signature.inputs}")
        self._signature = signature
        self._threads = threads

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            values = self._booster.predict(rows, num_threads=self._threads)
        except Exception as error:  # as above
            raise ModelError(f"the model failed: {printable(str(error), 300)}") from None
        return as_columns(np.asarray(values), self._signature)
