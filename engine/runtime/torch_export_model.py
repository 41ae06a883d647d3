"""Programs of ``torch.export``, inside the worker: a graph of torch operators and its weights.

torch unpickles a weight that the archive marks so: such archives are refused before torch sees them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import tempfile
import warnings
import zipfile

import numpy as np
import torch
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray

# What torch imports at the first load only; imported here, in the warm parent, it costs no model anything.
for _name in (
    "torch.export.pt2_archive._package",
    "torch.export._trace",
    "torch.export._unlift",
    "torch._dynamo",
    "torch._functorch.aot_autograd",
):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
tempfile.gettempdir()  # tried out once, by writing: a worker may not

PAYLOADS = re.compile(r"(^|/)data/(weights|constants)/[^/]*")
NAMESPACES = frozenset({"aten", "prims", "_operator", "math", "sym"})


class TorchExportModel:
    """A loaded program; raises ModelRefused for what is not run and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        torch.set_num_threads(threads)
        _refuse_pickles(data)
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


def _refuse_pickles(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in filter(PAYLOADS.search, archive.namelist()):
            try:
                pickled = name.endswith(".pt") or (name.endswith(".json") and _says_pickle(archive.read(name)))
            except (ValueError, AttributeError, KeyError, zipfile.BadZipFile):
                raise ModelRefused("the program's list of weights cannot be read") from None
            if pickled:
                raise ModelRefused("the program holds pickled weights", hint="save it with torch.export.save")


def _says_pickle(config: bytes) -> bool:
    return any(bool(entry.get("use_pickle")) for entry in json.loads(config)["config"].values())
