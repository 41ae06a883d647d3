"""Forms as Beimingwu's client sends them, url-encoded or in parts: fields are short texts, a file goes where it is told
to, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO
from urllib.parse import parse_qsl

import msgspec
from aiohttp import BodyPartReader, web
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import EncodingError
from atoll.node.errors import RequestInvalid

MAX_FIELDS = 4 << 20  # bytes of all fields together
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


class Room:
    """How many bytes there may be, of several things together; ``hint`` is what to do where there are more."""

    def __init__(self, limit: int, hint: str | None = None) -> None:
        self._limit = limit
        self._hint = hint
        self._left = limit

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise RequestInvalid(f"more than {self._limit} bytes have come", hint=self._hint)


class Held:
    """What is kept in memory, as long as there is room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._data = bytearray()

    def put(self, piece: bytes) -> None:
        self._room.take(len(piece))
        self._data += piece

    @property
    def data(self) -> bytes:
        return bytes(self._data)


class Written:
    """A file that is written to disk, as long as there is room."""

    def __init__(self, file: IO[bytes], room: Room) -> None:
        self._file = file
        self._room = room
        self.path = Path(file.name)

    def put(self, piece: bytes) -> None:
        self._room.take(len(piece))
        self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()


async def read_form(request: web.Request, fields: Collection[str], files: Mapping[str, Put] = NOWHERE) -> Form:
    """The form, of these ``fields``; the pieces of each file in ``files`` go to its function, in a thread.
    RequestInvalid for what is no form or has anything else; what :class:`Held` and :class:`Written` raise."""
    if request.content_type.startswith("multipart/"):
        return await _parts(request, fields, files)
    body = Held(Room(MAX_FIELDS))
    async for piece in request.content.iter_chunked(PIECE):
        body.put(piece)
    if request.content_type == "application/json":
        found = await asyncio.to_thread(_of_json, body.data)
    else:
        found = await asyncio.to_thread(_of_url, body.data)
    return Form({name: value for name, value in found.items() if name in fields})


def _of_json(body: bytes) -> dict[str, str]:
    try:
        tree = unpack_json(body, dict[str, str | int], limit=MAX_FIELDS)
    except EncodingError as error:
        raise RequestInvalid(f"the body is not as expected: {error.message}") from None
    return {name: str(value) for name, value in tree.items()}


def _of_url(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_PARTS))
    except ValueError:
        raise RequestInvalid("the body is no form") from None


async def _parts(request: web.Request, fields: Collection[str], files: Mapping[str, Put]) -> Form:
    found: dict[str, Held] = {}
    came: set[str] = set()
    room = Room(MAX_FIELDS)
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            name = part.name or "" if isinstance(part, BodyPartReader) else ""
            if not isinstance(part, BodyPartReader) or name not in (fields if part.filename is None else files):
                raise RequestInvalid(f"the form has a part {name[:40]!r} that nobody asked for")
            if name in found or name in came:
                raise RequestInvalid(f"the form has {name[:40]} twice")
            if part.filename is None:
                found[name] = Held(room)
                while piece := await part.read_chunk(PIECE):
                    found[name].put(piece)
                continue
            came.add(name)
            while piece := await part.read_chunk(PIECE):
                await asyncio.to_thread(files[name], piece)
    except (ValueError, AssertionError, KeyError) as error:  # what aiohttp says of parts that are none
        raise RequestInvalid(f"the form does not read: {' '.join(str(error).split())[:100]}") from None
    return Form({name: _text(name, held.data) for name, held in found.items()}, frozenset(came))


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RequestInvalid(f"{name[:40]} is not text") from None
