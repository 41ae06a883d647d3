"""Images and texts in files, as the vectors of their encoder, which is loaded only for them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from atoll.engine.encoders import encode, island_of
from atoll.engine.errors import TableError
from atoll.engine.specs.rows import Progress
from numpy.typing import NDArray

Kind = Literal["image", "text"]


class _Line(msgspec.Struct):
    text: str


def read(path: Path, kind: Kind, tell: Progress) -> NDArray[np.float32]:
    """Vectors float32 (n, d) of the images in a .npy (uint8 (n, H, W[, C])) or of the texts in a file, one a line."""
    rows = _images(path) if kind == "image" else _texts(path)
    return encode(island_of(kind), rows, lambda done, total: tell(f"encoding {kind}s", done, total))


def _images(path: Path) -> NDArray[np.uint8]:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, ArithmeticError) as error:
        raise TableError(f"{path}: not a plain .npy array: {error}") from None
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise TableError(
            f"{path}: {array.dtype} of shape {array.shape}", hint="images are uint8 of shape (n, H, W) or (n, H, W, C)"
        )
    return np.asarray(array)


def _texts(path: Path) -> list[str]:
    """The lines that are not blank; of a .jsonl file strings, or objects with a ``text``."""
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not text in UTF-8: {error}") from None
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if path.suffix.lower() != ".jsonl":
        return [line.strip() for _, line in numbered]
    return [_text_of(line, f"{path}: line {number}") for number, line in numbered]


def _text_of(line: str, where: str) -> str:
    try:
        found = msgspec.json.decode(line, type=str | _Line)
    except msgspec.DecodeError as error:
        raise TableError(f"{where}: {error}", hint='a line is a string, or an object with a "text"') from None
    return found if isinstance(found, str) else found.text
