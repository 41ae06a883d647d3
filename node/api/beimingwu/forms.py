"""Forms as Beimingwu's client sends them, url-encoded or in parts: fields are short texts, a file goes where it is told
to, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO
from urllib.parse import parse_qsl

import msgspec
from aiohttp import BodyPartReader, web
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import EncodingError
from atoll.node.errors import RequestInvalid

MAX_FIELD = 4 << 20  # bytes of a field, and of a form without files
MAX_PARTS = 32
PIECE = 1 << 18

Put = Callable[[bytes], object]  # may block
NOWHERE: Mapping[str, Put] = MappingProxyType({})


class Form(msgspec.Struct, frozen=True):
    """``files`` are the names of those that came."""

    fields: dict[str, str]
    files: frozenset[str] = frozenset()

    def require(self, name: str) -> str:
        if not self.fields.get(name):
            raise RequestInvalid(f"the form has no {name}")
        return self.fields[name]

    def number(self, name: str, default: int | None = None) -> int:
        """A number from 0 on; RequestInvalid where it is none, or missing without a ``default``."""
        text = self.fields.get(name, "") or ("" if default is None else str(default))
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise RequestInvalid(f"{name} is a number, not {text[:40]!r}")
        return int(text)


class Held:
    """A file that is kept in memory, up to ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    def put(self, piece: bytes) -> None:
        if len(self._data) + len(piece) > self._limit:
            raise RequestInvalid(f"the file is larger than {self._limit} bytes")
        self._data += piece

    @property
    def data(self) -> bytes:
        return bytes(self._data)


class Written:
    """A file that is written to disk, up to ``limit`` bytes."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._room = limit
        self._limit = limit
        self.path = Path(file.name)

    def put(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room < 0:
            raise RequestInvalid(f"the file is larger than {self._limit} bytes", hint="see http.max_upload_bytes")
        self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()


async def read_form(request: web.Request, files: Mapping[str, Put] = NOWHERE) -> Form:
    """The form; the pieces of each file in ``files`` go to its function, in a thread. RequestInvalid for what is no
    form; what :class:`Held` and :class:`Written` raise."""
    if request.content_type.startswith("multipart/"):
        return await _parts(request, files)
    body = await request.content.read(MAX_FIELD + 1) if request.can_read_body else b""
    while not request.content.at_eof() and len(body) <= MAX_FIELD:
        body += await request.content.read(MAX_FIELD + 1 - len(body))
    if len(body) > MAX_FIELD:
        raise RequestInvalid(f"the form is larger than {MAX_FIELD} bytes")
    if request.content_type == "application/json":
        return Form(_of_json(body))
    try:
        return Form(dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_PARTS)))
    except ValueError:
        raise RequestInvalid("the body is no form") from None


def _of_json(body: bytes) -> dict[str, str]:
    try:
        tree = unpack_json(body, dict[str, str | int], limit=MAX_FIELD)
    except EncodingError as error:
        raise RequestInvalid(f"the body is not as expected: {error.message}") from None
    return {name: str(value) for name, value in tree.items()}


async def _parts(request: web.Request, files: Mapping[str, Put]) -> Form:
    fields: dict[str, str] = {}
    came: set[str] = set()
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            name = part.name or "" if isinstance(part, BodyPartReader) else ""
            if not isinstance(part, BodyPartReader) or not name or len(fields) + len(came) >= MAX_PARTS:
                raise RequestInvalid("the form has a part without a name, or too many of them")
            if name in fields or name in came:
                raise RequestInvalid(f"the form has {name[:40]} twice")
            if part.filename is None:
                fields[name] = await _text(part, name)
                continue
            put = files.get(name)
            if put is None:
                raise RequestInvalid(f"the form has a file {name[:40]!r} that nobody asked for")
            came.add(name)
            while piece := await part.read_chunk(PIECE):
                await asyncio.to_thread(put, piece)
    except (ValueError, AssertionError, KeyError) as error:  # what aiohttp says of parts that are none
        raise RequestInvalid(f"the form does not read: {' '.join(str(error).split())[:100]}") from None
    return Form(fields, frozenset(came))


async def _text(part: BodyPartReader, name: str) -> str:
    held = Held(MAX_FIELD)
    while piece := await part.read_chunk(PIECE):
        held.put(piece)
    try:
        return held.data.decode()
    except UnicodeDecodeError:
        raise RequestInvalid(f"{name[:40]} is not text") from None
