"""From one's own fitted model to the safest format that says the same: ONNX first, else the library's own.

Every conversion is checked on rows: the converted model is run beside the original, and refused where the two differ.
Libraries are loaded when a model of theirs is met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from atoll.engine.errors import AtollError, ModelError, ModelRefused
from atoll.engine.packages import writers
from atoll.engine.packages.originals import Original, Task, original
from atoll.engine.packages.writers import Written, to_onnx
from atoll.engine.runtime.signature import Signature
from atoll.engine.tables import Table
from numpy.typing import NDArray

__all__ = ["Converted", "from_estimator", "to_onnx"]

TOLERANCE = 1e-4  # relative to the largest output
COMPARED = 10_000  # rows, at most
FILES = {
    "onnx": "model.onnx", "skops": "model.skops", "lightgbm": "model.txt", "xgboost": "model.ubj",
    writers.TORCH_EXPORT: "model.pt2", "safetensors": "model.safetensors", "python": "model.py",
    "pickle": "model.pkl",
}  # fmt: skip
WHY = {
    "onnx": "data, not code, and runs in the lightest sandbox",
    "pickle": "code, which others run only where their administrator lets it in",
}
AS_IT_IS = "allow a pickle (--allow-pickle) to pack it as it is: others will have to trust its code"
LIBRARIES = {"sklearn": "Scikit-learn", "torch": "PyTorch"}


@dataclass(frozen=True)
class Converted:
    """A model ready to pack. ``difference`` is the largest absolute one of an output between original and converted
    model on the rows, None where there is no original; ``words`` say which format was chosen and why; ``library`` is
    the tag of the semantic specification."""

    format: str
    data: bytes
    signature: Signature
    class_names: tuple[str, ...]
    difference: float | None
    words: str
    library: str = "Others"

    @property
    def file_name(self) -> str:
        return FILES[self.format]


def from_estimator(
    model: Any, rows: Any, *, task: Task | None = None, class_names: tuple[str, ...] = (), allow_pickle: bool = False
) -> Converted:
    """Convert a fitted scikit-learn estimator or pipeline, LightGBM, XGBoost or torch model, or ONNX bytes.

    ``rows`` are in raw units, columns as the model takes them. ``task`` and ``class_names`` are for models that do not
    know theirs. With ``allow_pickle`` an estimator that fits no other format is pickled. ModelRefused where no format
    gives the original's outputs: within 1e-4 of the largest, or for classifiers the same label on every row; the
    message has the numbers.
    """
    values = Table.of(rows).values.astype(np.float32)
    values = values[np.linspace(0, len(values) - 1, min(len(values), COMPARED)).astype(np.int64)]
    if not len(values):
        raise ModelRefused("a conversion is checked on rows, and there are none")
    source = original(model, values, task, class_names)
    expected = _finite(source.answers(values), source)
    failures: list[str] = []
    writing = writers.BY_LIBRARY[source.library]
    if allow_pickle and hasattr(source.model, "get_params"):
        writing = (*writing, writers.pickled)
    for written in _attempts(writing, source, values, failures):
        try:
            difference, same = _compared(expected, written.answers(values), source.signature)
        except AtollError as error:
            failures.append(f"{written.format}: {error.message}")
            continue
        if not same:
            failures.append(f"{written.format}: outputs differ by up to {difference:.3g}")
            continue
        words = _words(written, source, difference, failures, len(values))
        tag = LIBRARIES.get(source.library, "Others")
        return Converted(written.format, written.data, source.signature, source.class_names, difference, words, tag)
    raise ModelRefused(f"{source.name} cannot be converted: {'; '.join(failures)}", hint=source.hint or AS_IT_IS)


def from_code(data: bytes, inputs: int, class_names: tuple[str, ...], outputs: int) -> Converted:
    """Python code that defines ``predict(rows)``, as it is: it is not run here, so what it gives must be said."""
    signature = Signature("classification" if class_names else "regression", inputs, len(class_names) or outputs)
    words = "Python code, not run here: it runs on your own node, in the sandbox, and on others that let it in"
    return Converted("python", data, signature, class_names, None, words)


def _attempts(
    writing: Sequence[writers.Write], source: Original, values: NDArray[np.float32], failures: list[str]
) -> Iterator[Written]:
    """What could be written, safest first; what could not goes to ``failures`` in words."""
    for write in writing:
        try:
            yield write(source, values)
        except ModelRefused as error:
            failures.append(f"{error.message}" + (f" ({error.hint})" if error.hint else ""))


def _finite(answers: NDArray[Any], source: Original) -> NDArray[np.float64]:
    found = np.asarray(answers, np.float64)
    if found.ndim != 2 or found.shape[1] != source.signature.outputs or not np.isfinite(found).all():
        raise ModelError(f"{source.name} answers with {found.shape}, or with NaN or infinite values, on the rows given")
    return found


def _compared(expected: NDArray[np.float64], answers: NDArray[Any], signature: Signature) -> tuple[float, bool]:
    """The largest difference, and whether the two say the same."""
    found = np.asarray(answers, np.float64)
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise ModelError(
            f"it answers with {found.shape} where {expected.shape} was expected, or not with finite values"
        )
    difference = float(np.abs(found - expected).max())
    same = difference <= TOLERANCE * max(1e-30, float(np.abs(expected).max()))
    if signature.task == "classification" and not same:
        same = bool((found.argmax(axis=1) == expected.argmax(axis=1)).all())
    return difference, same


def _words(written: Written, source: Original, difference: float, failures: list[str], rows: int) -> str:
    why = WHY.get(written.format, "the safest that fits")
    words = f"{source.name} as {written.format}: {why}; differs by at most {difference:.2g} on {rows} rows"
    rejected = f"; not as {'; '.join(failures)}" if failures else ""
    return f"{words}{rejected}{''.join(f'; {note}' for note in source.notes)}"
