"""The model formats of which the pages of publishing speak: those that this node runs, and what the others lack."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

from atoll.engine.runtime.formats import CODE, FORMATS

NAMES = {
    "onnx": "ONNX", "skops": "skops", "lightgbm": "LightGBM", "xgboost": "XGBoost (UBJ, JSON)",
    "torch_export": "torch.export", "safetensors": "safetensors",
}  # fmt: skip


class Known(NamedTuple):
    """Names of formats: that are run here, and that wait for a library."""

    here: tuple[str, ...]
    missing: tuple[str, ...]


def known(has: Callable[[str], bool]) -> Known:
    """By the libraries that there are."""
    runs = {name: has(each.library) for name, each in FORMATS.items() if name not in CODE}
    return Known(
        tuple(NAMES[name] for name in runs if runs[name]), tuple(NAMES[name] for name in runs if not runs[name])
    )


KNOWN = known(lambda library: importlib.util.find_spec(library) is not None)  # others are found at the next start
