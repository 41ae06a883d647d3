"""Reading one's OWN model file on one's own machine, told by its bytes, never by its name.

Only here may a pickle be loaded, which runs whatever code is in it: ``load_own`` is for the path that a user gives of a
file that the user has made. A dock never calls it; ``load_data`` loads no code.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.engine.errors import ModelRefused
from atoll.engine.packages.originals import optional
from atoll.engine.packages.writers import TORCH_EXPORT
from atoll.engine.runtime.trusted import TRUSTED

PICKLE = (
    "{path} is a pickle: loading it runs the code inside, as you. Do so only with a file of your own making. "
    "The package will hold the model in a format without code."
)
COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00")


@dataclass(frozen=True)
class OwnModel:
    """``model`` is what ``from_estimator`` takes (of Python code, which is not run, the bytes); ``format`` is the
    file's; ``warning`` is to be shown."""

    model: Any
    format: str
    warning: str | None = None


def load_own(path: Path, warn: Callable[[str], None] = lambda words: None) -> OwnModel:
    """The user's own model: ONNX, LightGBM text, XGBoost, safetensors, torch.export, skops, or pickle and joblib.

    ``warn`` is told *before* a pickle is loaded. ModelRefused where the file is none of these, or its library is
    missing or does not read it.
    """
    data = path.read_bytes()
    kind = told(data)
    warning = PICKLE.format(path=path) if kind in ("pickle", "torch.save") else None
    if warning:
        warn(warning)
    return OwnModel(_read(path, data, kind, READERS), kind, warning)


def load_data(path: Path) -> Any:
    """The model of a file that is no code and holds none, as it is told HERE, where it is loaded: bytes that pass for
    ONNX elsewhere may be a pickle. A skops file holds no types but those that are run. ModelRefused for code, and as
    :func:`load_own`."""
    data = path.read_bytes()
    kind = told(data)
    if kind not in DATA:
        raise ModelRefused(f"{kind} is code, or holds code, and is not loaded here", hint="pack it where it was made")
    return _read(path, data, kind, DATA)


def _read(path: Path, data: bytes, kind: str, readers: Mapping[str, Callable[[bytes], Any]]) -> Any:
    try:
        return readers[kind](data)
    except ModelRefused:
        raise
    except Exception as error:  # each library has its own, and a pickle any
        raise ModelRefused(
            f"{path} looks like {kind} and does not load: {' '.join(str(error).split())[:300]}"
        ) from error


def told(data: bytes) -> str:
    """The format by its bytes: a name of READERS; ModelRefused for what is none of them."""
    if data.startswith(b"PK\x03\x04"):
        return _archive(data)
    if data.startswith(b"tree\n"):
        return "lightgbm"
    if data.startswith(b"{L\0\0\0\0\0\0\0\x07learner") or (data[:1] == b"{" and b'"learner"' in data[:256]):
        return "xgboost"
    size = int.from_bytes(data[:8], "little")
    if 2 <= size <= len(data) - 8 and data[8:9] == b"{":
        return "safetensors"
    if (data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or data.startswith(COMPRESSED):
        return "pickle"
    if data[:1] in (b"\x08", b"\x0a", b"\x12", b"\x3a", b"\x42"):  # the first field of a ModelProto
        return "onnx"
    if b"\ndef predict(" in b"\n" + data and b"\0" not in data:
        return "python"
    raise ModelRefused(
        "the file is in no model format that is known here",
        hint="ONNX, LightGBM text, XGBoost UBJ or JSON, skops, torch.export, safetensors; pickle or joblib of your own",
    )


def _archive(data: bytes) -> str:
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        raise ModelRefused("the archive is broken") from None
    if "schema.json" in names:
        return "skops"
    if any(name.endswith("/models/model.json") for name in names):
        return TORCH_EXPORT
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch.save"
    raise ModelRefused("the archive holds no model that is known here", hint="known: skops, torch.export, torch.save")


def _lightgbm(data: bytes) -> Any:
    return optional("lightgbm", "lightgbm", "a LightGBM model").Booster(model_str=data.decode())


def _xgboost(data: bytes) -> Any:
    booster = optional("xgboost", "xgboost", "an XGBoost model").Booster()
    booster.load_model(bytearray(data))
    return booster


def _skops(data: bytes) -> Any:
    skops = optional("skops.io", "skops", "the skops format")
    return _built(skops, data, {each for each in skops.get_untrusted_types(data=data) if each.startswith("sklearn.")})


def _others_skops(data: bytes) -> Any:
    return _built(optional("skops.io", "skops", "the skops format"), data, TRUSTED)


def _built(skops: Any, data: bytes, trusted: Set[str]) -> Any:
    foreign = sorted(set(skops.get_untrusted_types(data=data)) - trusted)
    if foreign:
        raise ModelRefused(f"the skops file holds types that no dock trusts: {', '.join(foreign[:5])}")
    return skops.loads(data, trusted=sorted(trusted))


def _program(data: bytes) -> Any:
    from atoll.engine.packages.torch_models import without_code

    return without_code(io.BytesIO(data))


def _safetensors(data: bytes) -> Any:
    from atoll.engine.packages.torch_models import perceptron

    return perceptron(data)


def _pickle(data: bytes) -> Any:
    joblib = optional("joblib", "models", "a pickle")  # reads plain ones too, compressed or not
    return joblib.load(io.BytesIO(data))


def _torch_save(data: bytes) -> Any:
    import torch

    model = torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    if not isinstance(model, torch.nn.Module):
        raise ModelRefused(
            "the file holds weights without their module", hint="save the module itself with torch.export.save"
        )
    return model


READERS: dict[str, Callable[[bytes], Any]] = {
    "onnx": bytes, "python": bytes, "lightgbm": _lightgbm, "xgboost": _xgboost, "skops": _skops, TORCH_EXPORT: _program,
    "safetensors": _safetensors, "pickle": _pickle, "torch.save": _torch_save,
}  # fmt: skip
DATA: dict[str, Callable[[bytes], Any]] = {
    **{kind: READERS[kind] for kind in ("onnx", "lightgbm", "xgboost", TORCH_EXPORT, "safetensors")},
    "skops": _others_skops,
}
