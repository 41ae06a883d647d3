"""The node's own models as Python code, inside the worker: a file that defines ``predict(rows)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray


class PythonModel:
    """Executed code; raises ModelRefused for what cannot be executed and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        names: dict[str, Any] = {"__name__": "model"}
        try:
            exec(compile(data, "model.py", "exec"), names)
            self._predict: Callable[[NDArray[np.float32]], Any] = names["predict"]
        except MemoryError:
            raise
        except Exception as error:  # whatever the code raises
            raise ModelRefused(f"the code does not load: {_words(error)}") from None

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            values = np.asarray(self._predict(rows), dtype=np.float32)
        except MemoryError:
            raise
        except Exception as error:  # as above
            raise ModelError(f"the model failed: {_words(error)}") from None
        return values.reshape(len(rows), -1) if values.ndim == 1 else values


def _words(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}", 300)
