"""Pickles and joblib files, inside the worker: loading one runs whatever code is in it, so they are run for their own
publisher, or where the administrator has let this very one in."""

from __future__ import annotations

import io
from typing import Any

import joblib
import numpy as np
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray


class PickleModel:
    """An estimator as scikit-learn has them: ``predict_proba`` of a classifier, else ``predict``."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        try:
            model: Any = joblib.load(io.BytesIO(data))
        except MemoryError:
            raise
        except Exception as error:  # whatever the code inside raises
            raise ModelRefused(f"the pickle does not load: {_words(error)}") from None
        name = "predict_proba" if signature.task == "classification" else "predict"
        if not callable(getattr(model, name, None)):
            raise ModelRefused(f"the pickle holds a {printable(type(model).__name__, 60)}, which has no {name}")
        self._predict = getattr(model, name)

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            return np.asarray(self._predict(rows), dtype=np.float32).reshape(len(rows), -1)
        except MemoryError:
            raise
        except Exception as error:  # as above
            raise ModelError(f"the model failed: {_words(error)}") from None


def _words(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}", 300)
