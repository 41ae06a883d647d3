"""Which format a model file is in, told by its bytes, never by a name; and which sandbox each format needs.

Only heads, lengths and directories are read here, nothing is parsed into objects: this runs in the node. Of code, which
has no head, the whole is read. Formats that run code when they are loaded are told here as well; :func:`require` says
for whom they are run.
"""

from __future__ import annotations

import importlib.util
import stat
import zipfile
from typing import IO, Literal, NamedTuple

from atoll.engine.beimingwu.contents import YAML
from atoll.engine.errors import ModelRefused
from atoll.engine.zips import length, open_zip

Level = Literal["strong", "limited", "none"]
Trust = Literal["own", "admitted", "foreign"]  # admitted: the administrator has let this very code in
LEVELS: tuple[Level, ...] = ("none", "limited", "strong")  # weakest first
MAX_ENTRIES = 4096
MAX_HEADER = 1 << 20
HEAD = 4096  # bytes that tell most formats
MAX_FIELDS = 1 << 16  # of an ONNX file's top level
MAX_CODE = 4 << 20  # bytes of Python code
LONGEST = 10  # bytes of a number in protobuf
EXPANSION = 4  # an archive may unpack to so many times the largest file
ONNX_GRAPH, ONNX_OPSETS = 7, 8  # field numbers of ModelProto
CODE_HINT = "convert it to ONNX, or save it with skops"
OTHERS_HINT = "predict at its owner, or have the administrator let it in: `atoll code allow`"
BEIMINGWU = "beimingwu"  # many files in an archive, unpacked to run


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
    BEIMINGWU: Format("beimingwu", "beimingwu_model", "BeimingwuModel", "numpy", "", "strong"),
}
CODE = ("pickle", "python", BEIMINGWU)  # these run code of the publisher's
WORDS = {"python": "Python code", BEIMINGWU: "a learnware in Beimingwu's format"}
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


def detect(file: IO[bytes]) -> str:
    """The format's name; ModelRefused for what is not run, naming what it seems to be. ``file`` is read here and there,
    a few MB of it at most, and stands anywhere then."""
    size = length(file)
    head = file.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        return _archive(file, size)
    python = _is_python(file, size)
    for found, name in (
        (_is_pickle(file, head, size) and not python, "pickle"),
        (head.startswith(b"tree\nversion=v"), "lightgbm"),
        (head.startswith(b"{L\0\0\0\0\0\0\0\x07learner") or _is_xgboost_json(head), "xgboost"),
        (_is_safetensors(file, head, size), "safetensors"),
        (_is_onnx(file, size), "onnx"),
    ):
        if found:
            return name
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            raise ModelRefused(f"{name} is not a model format that is run", hint=CODE_HINT)
    if python:
        return "python"
    raise ModelRefused("the file is in no model format that is run", hint=f"known: {', '.join(sorted(FORMATS))}")


def require(name: str, trust: Trust, level: Level, missing: str, hint: str) -> None:
    """ModelRefused unless a model in this format may run at ``level``; ``missing`` says why it is no higher."""
    format_, own = FORMATS[name], trust == "own"
    if trust == "foreign" and name in CODE:
        raise _code(WORDS.get(name, name), " for others", OTHERS_HINT)
    if not own and LEVELS.index(level) < LEVELS.index(format_.level):
        raise ModelRefused(f"others' {name} models need the {format_.level} sandbox: {missing}", hint=hint)
    if importlib.util.find_spec(format_.library) is None:
        raise ModelRefused(
            f"{name} models need the library {format_.library}",
            hint=f"pip install 'atoll[{format_.extra or 'models'}]'",
        )


def _code(name: str, whom: str, hint: str = CODE_HINT) -> ModelRefused:
    return ModelRefused(f"{name} runs code when it is loaded and is not run{whom}", hint=hint)


def _is_pickle(file: IO[bytes], head: bytes, size: int) -> bool:
    """Protocols 2 to 5 by their head, 0 and 1 by their first operation and their last, ``STOP``; code may too."""
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    return head[:1] in b"(]}clI" and size > 0 and _at(file, size - 1, 1) == b"."


def _is_xgboost_json(head: bytes) -> bool:
    head = head.lstrip()
    return head.startswith(b"{") and b'"learner"' in head[:256]


def _is_safetensors(file: IO[bytes], head: bytes, size: int) -> bool:
    header = int.from_bytes(head[:8], "little")
    if not 2 <= header <= min(MAX_HEADER, size - 8) or head[8:9] != b"{":
        return False
    last = min(header, 64)
    return b"}" in _at(file, 8 + header - last, last)


def _is_onnx(file: IO[bytes], size: int) -> bool:
    """Whether the file is one protobuf message with a graph and operator sets, read at the top level only."""
    found: set[int] = set()
    place = 0
    for _ in range(MAX_FIELDS):
        if place >= size:
            break
        field = _at(file, place, 2 * LONGEST)
        tag, read = _varint(field, 0)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            return False
        following = 0
        if kind == 0:
            _, read = _varint(field, read)
        elif kind == 2:
            following, read = _varint(field, read)
        elif kind in (1, 5):
            following = 8 if kind == 1 else 4
        else:
            return False
        if read > len(field):
            return False
        place += read + following
        found.add(number)
    return place == size and {ONNX_GRAPH, ONNX_OPSETS} <= found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """(value, next place); past the end, or too long, it gives (0, a place past the end)."""
    value = 0
    for shift in range(0, 7 * LONGEST, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    return 0, len(data) + 1


def _is_python(file: IO[bytes], size: int) -> bool:
    if size > MAX_CODE:
        return False
    try:
        text = _at(file, 0, size).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\ndef predict(" in f"\n{text}" and "\0" not in text


def _at(file: IO[bytes], place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _archive(file: IO[bytes], size: int) -> str:
    """A zip file: Beimingwu's, skops or a torch.export program, by the names inside; nothing is unpacked."""
    try:
        entries = open_zip(file).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, OSError):
        raise ModelRefused("the archive is broken, or its table of contents too long") from None
    names = {entry.filename for entry in entries}
    if YAML in names:  # first, since it is code whatever else is in it; whoever unpacks it checks it
        return BEIMINGWU
    _check_entries(entries, size)
    if "schema.json" in names:
        return "skops"
    if any(name.endswith("/models/model.json") for name in names):
        return "torch_export"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        raise _code("pickle (torch.save)", "")
    raise ModelRefused(
        "the archive holds no model that is run", hint="known archives: skops, torch.export, Beimingwu's"
    )


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
