"""The skops format, inside the worker: scikit-learn estimators of trusted types, pinned in ``trusted``.

Source of the risk: skops builds objects by name; before 0.13 its own checks could be talked around (CVE-2025-54412).
"""

from __future__ import annotations

import importlib.metadata
import warnings

import numpy as np
import skops.io
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from atoll.engine.runtime.trusted import TRUSTED
from numpy.typing import NDArray

OLDEST = (0, 13)


class SkopsModel:
    """A loaded estimator; raises ModelRefused for what is not run and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        version = importlib.metadata.version("skops")
        if tuple(map(int, version.split(".")[:2])) < OLDEST:
            raise ModelRefused(f"skops {version} is too old", hint="pip install 'atoll[skops]'")
        try:
            foreign = sorted(set(skops.io.get_untrusted_types(data=data)) - TRUSTED)
            if foreign:
                raise ModelRefused(f"the model holds types that are not trusted: {printable(', '.join(foreign), 300)}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other releases of scikit-learn warn; the answer is checked anyway
                estimator = skops.io.loads(data, trusted=sorted(TRUSTED))
        except ModelRefused:
            raise
        except Exception as error:  # skops and what it builds raise anything
            raise ModelRefused(f"skops does not load the model: {printable(str(error), 300)}") from None
        _bound_threads(estimator, threads)
        name = "predict_proba" if signature.task == "classification" else "predict"
        if not callable(getattr(estimator, name, None)):
            raise ModelRefused(f"{printable(type(estimator).__name__, 80)} has no {name}")
        self._run = getattr(estimator, name)

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            values = np.asarray(self._run(rows), dtype=np.float32)
        except Exception as error:  # as above
            raise ModelError(f"the model failed: {printable(str(error), 300)}") from None
        return values.reshape(len(rows), -1) if values.ndim == 1 else values


def _bound_threads(estimator: object, threads: int) -> None:
    """Forests remember how many jobs their maker's machine had."""
    parameters: dict[str, object] = getattr(estimator, "get_params", dict)()
    jobs = {name: threads for name in parameters if name.split("__")[-1] == "n_jobs"}
    if jobs:
        estimator.set_params(**jobs)  # type: ignore[attr-defined]
