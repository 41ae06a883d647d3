"""XGBoost's own formats, UBJSON and JSON, inside the worker."""

from __future__ import annotations

import numpy as np
import xgboost
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.outputs import as_columns
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray


class XgboostModel:
    """A loaded booster; raises ModelRefused for what is not run and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        xgboost.set_config(verbosity=0)
        try:
            self._booster = xgboost.Booster({"nthread": threads})
            self._booster.load_model(bytearray(data))
            self._booster.set_param({"nthread": threads})  # the file may say otherwise
            width = self._booster.num_features()
        except Exception as error:  # XGBoostError, or what its Python layer trips over
            raise ModelRefused(f"XGBoost does not load the model: {printable(str(error), 300)}") from None
        if width != signature.inputs:
            raise ModelRefused(f"the model takes {width} columns, the manifest says {signature.inputs}")
        self._signature = signature

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            values = self._booster.inplace_predict(rows, validate_features=False)
        except Exception as error:  # as above
            raise ModelError(f"the model failed: {printable(str(error), 300)}") from None
        return as_columns(np.asarray(values), self._signature)
