"""Which format a model file is in, told by its bytes, never by a name; and which sandbox each format needs.

Only heads, lengths and directories are read here, nothing is parsed into objects: this runs in the node.
Formats that run code when they are loaded are told here as well; :func:`require` says for whom they are run.
"""

from __future__ import annotations

import importlib.util
import io
import stat
import zipfile
from typing import Literal, NamedTuple

from atoll.engine.errors import ModelRefused

Level = Literal["strong", "limited", "none"]
Trust = Literal["own", "admitted", "foreign"]  # admitted: the administrator has let this very code in
LEVELS: tuple[Level, ...] = ("none", "limited", "strong")  # weakest first
MAX_ENTRIES = 4096
MAX_HEADER = 1 << 20
EXPANSION = 4  # an archive may unpack to so many times the largest file
ONNX_GRAPH, ONNX_OPSETS = 7, 8  # field numbers of ModelProto
CODE_HINT = "convert it to ONNX, or save it with skops"
OTHERS_HINT = "predict at its owner, or have the administrator let it in: `atoll code allow`"


class Format(NamedTuple):
    """``family``: the warm parent that runs it; ``extra``: the optional dependency; ``level``: what others' need."""

    family: str
    module: str
    model: str
    library: str
    extra: str
    level: Level


FORMATS: dict[str, Format] = {
    "onnx": Format("onnx", "onnx_model", "OnnxModel", "onnxruntime", "", "limited"),
    "skops": Format("skops", "skops_model", "SkopsModel", "skops", "skops", "strong"),
    "lightgbm": Format("lightgbm", "lightgbm_model", "LightgbmModel", "lightgbm", "lightgbm", "strong"),
    "xgboost": Format("xgboost", "xgboost_model", "XgboostModel", "xgboost", "xgboost", "strong"),
    "torch_export": Format("torch", "torch_export_model", "TorchExportModel", "torch", "", "strong"),
    "safetensors": Format("torch", "safetensors_model", "SafetensorsModel", "safetensors", "", "strong"),
    "pickle": Format("pickle", "pickle_model", "PickleModel", "joblib", "", "strong"),
    "python": Format("python", "python_model", "PythonModel", "numpy", "", "strong"),
}
CODE = ("pickle", "python")  # these run code of the publisher's
FAMILIES: dict[str, tuple[str, ...]] = {
    name: tuple(f.module for f in FORMATS.values() if f.family == name) for name in {f.family for f in FORMATS.values()}
}
MAGIC: dict[bytes, str] = {
    b"\x89HDF": "HDF5 (Keras)",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "gzip (joblib?)",
    b"\x78\x01": "zlib (joblib?)",
    b"\x78\x5e": "zlib (joblib?)",
    b"\x78\x9c": "zlib (joblib?)",
    b"\x78\xda": "zlib (joblib?)",
    b"BZh": "bzip2 (joblib?)",
    b"\xfd7zXZ": "xz (joblib?)",
    b"\x04\x22\x4d\x18": "lz4 (joblib?)",
}


def detect(data: bytes) -> str:
    """The format's name; ModelRefused for what is not run, naming what it seems to be."""
    if data.startswith(b"PK\x03\x04"):
        return _archive(data)
    for found, name in (
        (_is_pickle(data), "pickle"),
        (data.startswith(b"tree\nversion=v"), "lightgbm"),
        (data.startswith(b"{L\0\0\0\0\0\0\0\x07learner") or _is_xgboost_json(data), "xgboost"),
        (_is_safetensors(data), "safetensors"),
        (_is_onnx(data), "onnx"),
    ):
        if found:
            return name
    for magic, name in MAGIC.items():
        if data.startswith(magic):
            raise ModelRefused(f"{name} is not a model format that is run", hint=CODE_HINT)
    if _is_python(data):
        return "python"
    raise ModelRefused("the file is in no model format that is run", hint=f"known: {', '.join(sorted(FORMATS))}")


def require(name: str, trust: Trust, level: Level, missing: str, hint: str) -> None:
    """ModelRefused unless a model in this format may run at ``level``; ``missing`` says why it is no higher."""
    format_, own = FORMATS[name], trust == "own"
    if trust == "foreign" and name in CODE:
        raise _code("Python code" if name == "python" else name, " for others", OTHERS_HINT)
    if not own and LEVELS.index(level) < LEVELS.index(format_.level):
        raise ModelRefused(f"others' {name} models need the {format_.level} sandbox: {missing}", hint=hint)
    if importlib.util.find_spec(format_.library) is None:
        raise ModelRefused(
            f"{name} models need the library {format_.library}",
            hint=f"pip install 'atoll[{format_.extra or 'models'}]'",
        )


def _code(name: str, whom: str, hint: str = CODE_HINT) -> ModelRefused:
    return ModelRefused(f"{name} runs code when it is loaded and is not run{whom}", hint=hint)


def _is_pickle(data: bytes) -> bool:
    """Protocols 2 to 5 by their head, 0 and 1 by their first operation and their last, ``STOP``."""
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    return data[:1] in b"(]}clI" and data[:1] != b"" and data.endswith(b".") and not _is_python(data)


def _is_xgboost_json(data: bytes) -> bool:
    head = data[:4096].lstrip()
    return head.startswith(b"{") and b'"learner"' in head[:256]


def _is_safetensors(data: bytes) -> bool:
    size = int.from_bytes(data[:8], "little")
    return 2 <= size <= min(MAX_HEADER, len(data) - 8) and data[8:9] == b"{" and b"}" in data[8 : 8 + size][-64:]


def _is_onnx(data: bytes) -> bool:
    """Whether the bytes are one protobuf message with a graph and operator sets, read at the top level only."""
    found: set[int] = set()
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            return False
        size = 0
        if kind == 0:
            _, place = _varint(data, place)
        elif kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            return False
        place += size
        found.add(number)
    return place == len(data) and {ONNX_GRAPH, ONNX_OPSETS} <= found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """(value, next place); past the end it gives a place past the end."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            return 0, len(data) + 1
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    return 0, len(data) + 1


def _is_python(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\ndef predict(" in f"\n{text}" and "\0" not in text


def _archive(data: bytes) -> str:
    """A zip file: skops or a torch.export program, by the names inside; its directory is checked, nothing unpacked."""
    if int.from_bytes(data[data.rfind(b"PK\x05\x06") :][10:12], "little") > MAX_ENTRIES:
        raise ModelRefused(f"the archive has more than {MAX_ENTRIES} entries")
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, OSError):
        raise ModelRefused("the archive is broken") from None
    _check_entries(entries, len(data))
    names = {entry.filename for entry in entries}
    if "schema.json" in names:
        return "skops"
    if any(name.endswith("/models/model.json") for name in names):
        return "torch_export"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        raise _code("pickle (torch.save)", "")
    raise ModelRefused("the archive holds no model that is run", hint="known archives: skops, torch.export")


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise ModelRefused(f"the archive has more than {MAX_ENTRIES} entries")
    if len({entry.filename for entry in entries}) != len(entries):
        raise ModelRefused("the archive names a file twice")  # readers differ in which of them they take
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        if parts[0] == "" or ".." in parts or ":" in parts[0]:
            raise ModelRefused("the archive names a path outside itself")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ModelRefused("the archive holds a symbolic link")
    if sum(entry.file_size for entry in entries) > max(EXPANSION * size, 16 << 20):
        raise ModelRefused("the archive unpacks to far more than its size")
