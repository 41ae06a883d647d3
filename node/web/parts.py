"""The forms of the page as they come: read part by part, files onto disk, nothing longer than it may be."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs

from aiohttp import BodyPartReader, web
from atoll.engine.specs.formats import SUFFIXES
from atoll.engine.tables import READERS
from atoll.node.errors import RequestInvalid
from atoll.node.language import gettext
from atoll.node.language import size as in_words
from atoll.protocol.errors import NotFound

TABLES = (".csv", *READERS)
MAX_UPLOAD = 32 * 1024 * 1024
UPLOAD_SECONDS = 120.0
MAX_FIELD, MAX_PARTS, MAX_CALLED = 4096, 200, 200
MAX_SMALL_FORM, MAX_SMALL_FIELDS = 16_384, 20
PIECE = 256 * 1024
DELETED = "what this belongs to was deleted meanwhile"

Suffixes = tuple[str, ...]
ANY: Suffixes = ()  # told by their bytes, whatever they are called
NONE: Mapping[str, int] = MappingProxyType({})


@dataclass
class Parts:
    """``values`` of the fields, ``files`` by field and what they were ``called``, and what is wrong with them."""

    values: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def first(self, name: str) -> str:
        return next(iter(self.values.get(name, ())), "")


@asynccontextmanager
async def passing_folder(prefix: str = "atoll-page-", within: Path | None = None) -> AsyncIterator[Path]:
    """For files that nobody else may read, and that are gone with it."""
    try:
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix=prefix, dir=within)
    except FileNotFoundError:
        raise NotFound(DELETED) from None
    try:
        yield Path(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def read_parts(
    request: web.Request, folder: Path, check: Callable[[str], None] | None, begin: Callable[[], None],
    takes: Mapping[str, Suffixes], *, most: Mapping[str, int] = NONE, long: Mapping[str, int] = NONE,
    seconds: float = UPLOAD_SECONDS,
) -> Parts:  # fmt: skip
    """The form, its files in ``folder``: by field, those with one of the suffixes that it ``takes``, or ANY. ``check``
    is handed the form's token, which must come first (None: a header has carried it), and ``begin`` called before the
    first file. ``most`` says of a field how many bytes its file may have, where that is not MAX_UPLOAD; ``long`` how
    many a field without a file may have, where that is not MAX_FIELD. RequestInvalid for what no page of ours sends, or
    not in time; NotFound where the folder goes meanwhile; whatever ``check`` and ``begin`` raise."""
    if not request.content_type == "multipart/form-data":
        raise RequestInvalid("not the form of this page")
    try:
        async with asyncio.timeout(seconds):
            return await _read_parts(request, folder, check, begin, takes, most, long)
    except TimeoutError:
        raise RequestInvalid(f"the form did not come within {seconds:.0f} seconds") from None


async def _read_parts(
    request: web.Request, folder: Path, check: Callable[[str], None] | None, begin: Callable[[], None],
    takes: Mapping[str, Suffixes], most: Mapping[str, int], long: Mapping[str, int],
) -> Parts:  # fmt: skip
    found, checked = Parts(), check is None
    try:
        reader, count = await request.multipart(), 0
        while (part := await reader.next()) is not None:
            count += 1
            if not isinstance(part, BodyPartReader) or not part.name or count > MAX_PARTS:
                raise RequestInvalid("not the form of this page")
            if part.filename is None:
                limit = MAX_FIELD if part.name in found.values else long.get(part.name, MAX_FIELD)
                text = (await _bytes(part, limit)).decode("utf-8", "replace")
                found.values.setdefault(part.name, []).append(text)
            elif part.name in found.called:
                raise RequestInvalid("not the form of this page")  # one file a field, or its limit would be none
            elif checked and part.name in takes:
                await _keep(part, folder, found, begin, takes[part.name], most.get(part.name))
            if check is not None and not checked:
                check(found.first("csrf"))
                checked = True
            if found.errors:
                break  # the rest is not worth waiting for
    except FileNotFoundError:
        raise NotFound(DELETED) from None
    except (ValueError, AssertionError, RuntimeError):  # of aiohttp, for a body that is no multipart
        raise RequestInvalid("not the form of this page") from None
    if not checked:
        raise RequestInvalid("an empty form")
    return found


async def read_form(request: web.Request, size: int, count: int) -> dict[str, list[str]]:
    """The fields of a form without files, at most so many in at most so many bytes, and every value of each."""
    data = b""
    while len(data) <= size and (more := await request.content.read(size + 1)):
        data += more
    if len(data) > size:
        raise RequestInvalid("the form is too large")
    try:
        return parse_qs(data.decode(), keep_blank_values=True, max_num_fields=count)
    except ValueError:
        raise RequestInvalid("not the form of this page") from None


async def _keep(
    part: BodyPartReader, folder: Path, found: Parts, begin: Callable[[], None], takes: Suffixes, most: int | None
) -> None:
    """The file under the name of its field with the suffix that it had; a fault is one of the field."""
    name, suffix = str(part.name), Path(part.filename or "").suffix.lower()
    size, path = 0, folder / (f"{name}{suffix}" if takes else name)
    found.called[name] = (part.filename or "")[:MAX_CALLED]
    while piece := await part.read_chunk(PIECE):
        if takes and suffix not in takes:
            found.errors[name] = _takes(takes)
            return
        if not size and not found.files:
            begin()
        size += len(piece)
        if most is not None and size > most:
            found.errors[name] = gettext("Larger than the {size} that this node takes.").format(size=in_words(most))
            return
        if most is None and size > MAX_UPLOAD:
            found.errors[name] = gettext(
                "Larger than the {mib} MiB that this page takes; the command line, `atoll search --data` and "
                "`atoll predict`, takes files of any size."
            ).format(mib=MAX_UPLOAD >> 20)
            return
        await asyncio.to_thread(_append, path, piece)
    if size:
        found.files[name] = path
    elif part.filename:
        found.errors[name] = gettext("This file is empty.")


def _takes(takes: Suffixes) -> str:
    tables, specifications = ", ".join(TABLES), ", ".join(SUFFIXES)
    if set(SUFFIXES) <= set(takes):
        either = gettext("Give a table ({tables}) or a specification ({specifications}).")
        return either.format(tables=tables, specifications=specifications)
    return gettext("Give a table ({tables}).").format(tables=tables)


def _append(path: Path, piece: bytes | bytearray) -> None:
    with path.open("ab") as file:
        file.write(piece)


async def _bytes(part: BodyPartReader, limit: int) -> bytes:
    data = b""
    while piece := await part.read_chunk(limit + 1):
        data += piece
        if len(data) > limit:
            raise RequestInvalid(f"a field is longer than {limit} bytes")
    return data
