"""Programs of ``torch.export``, inside the worker: a graph of torch operators and its weights."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray

NAMESPACES = frozenset({"aten", "prims", "_operator", "math", "sym"})


class TorchExportModel:
    """A loaded program; raises ModelRefused for what is not run and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        torch.set_num_threads(threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.load(io.BytesIO(data))
            foreign = sorted({_namespace(node.target) for node in program.graph.nodes if node.op == "call_function"})
            self._module = program.module(check_guards=False)
        except Exception as error:  # torch raises anything
            raise ModelRefused(f"torch does not load the program: {printable(str(error), 300)}") from None
        if set(foreign) - NAMESPACES:
            raise ModelRefused(f"operators of {printable(', '.join(foreign), 200)} are not run")

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            with torch.inference_mode():
                values = self._module(torch.from_numpy(np.array(rows)))
            found = np.asarray(values.numpy(), dtype=np.float32)
        except Exception as error:  # as above
            raise ModelError(f"the program failed: {printable(str(error), 300)}") from None
        return found.reshape(len(rows), -1) if found.ndim == 1 else found


def _namespace(target: object) -> str:
    """``aten`` of ``aten.linear.default``; the module of a Python function."""
    return str(getattr(target, "namespace", None) or getattr(target, "__module__", "unknown"))
