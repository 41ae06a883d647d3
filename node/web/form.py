"""The search form: read part by part, the file onto disk, nothing longer than it may be; faults are told by field."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import parse_qs

from aiohttp import BodyPartReader, web
from atoll.engine import semantic
from atoll.engine.semantic import MAX_TEXT, SemanticQuery
from atoll.engine.specs.formats import SUFFIXES
from atoll.engine.tables import READERS
from atoll.node.errors import RequestInvalid
from atoll.node.search.query import Privacy, SearchQuery

MAX_UPLOAD = 32 * 1024 * 1024
UPLOAD_SECONDS = 120.0
MAX_FIELD, MAX_PARTS, MAX_SMALL_FORM = 4096, 200, 16_384
PIECE = 256 * 1024
LIMITS = (10, 25, 50)
FILES = (".csv", *READERS, *SUFFIXES)
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "task": ("Task", semantic.TASKS),
    "data": ("Data", semantic.DATA),
    "scenario": ("Scenario", semantic.SCENARIOS),
    "library": ("Library", semantic.LIBRARIES),
    "license": ("Licence", semantic.LICENSES),
}


@dataclass
class Form:
    """What was filled in; ``same`` is the search whose specifications are to be taken again. ``errors`` by field."""

    words: str = ""
    tags: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict.fromkeys(GROUPS, ()))
    privacy: Privacy = "rkme"
    limit: int = LIMITS[0]
    island: str = ""
    impute: bool = False
    same: str = ""
    file: Path | None = None
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, query: SearchQuery) -> Form:
        """As it was filled in for a search."""
        asked = query.semantic
        return cls(asked.text, {group: getattr(asked, group) for group in GROUPS}, query.privacy, query.limit)

    @property
    def semantic(self) -> SemanticQuery:
        return SemanticQuery(text=self.words, **self.tags)

    @property
    def chosen(self) -> int:
        """How many tags."""
        return sum(map(len, self.tags.values()))

    def take(self, values: dict[str, list[str]]) -> None:
        """Check and keep what the fields hold."""
        self.words = _first(values, "words").strip()
        if len(self.words) > MAX_TEXT:
            self.errors["words"] = f"At most {MAX_TEXT} characters."
        for group, (label, vocabulary) in GROUPS.items():
            self.tags[group] = tuple(dict.fromkeys(values.get(group, ())))
            if not set(self.tags[group]) <= set(vocabulary):
                self.errors["tags"] = f"{label}: choose from the list."
        privacy = _first(values, "privacy") or self.privacy
        if privacy in get_args(Privacy):
            self.privacy = cast(Privacy, privacy)
        else:
            self.errors["privacy"] = "Choose one of these."
        limit = _first(values, "limit") or str(self.limit)
        if limit in map(str, LIMITS):
            self.limit = int(limit)
        else:
            self.errors["limit"] = "Choose one of these."
        self.island, self.same = _first(values, "island")[:64], _first(values, "same")[:64]
        self.impute = bool(_first(values, "impute"))


@asynccontextmanager
async def passing_folder() -> AsyncIterator[Path]:
    """For a file that nobody else may read, and that is gone with it."""
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="atoll-page-")
    try:
        yield Path(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)


async def read_form(
    request: web.Request, folder: Path, check: Callable[[str], None] | None, begin: Callable[[], None]
) -> Form:
    """The form, its file in ``folder``; ``check`` is handed the form's token, which must come first (None: a header
    has carried it), and ``begin`` called before the file. RequestInvalid for what no page of ours sends, or not in
    time; whatever ``check`` and ``begin`` raise."""
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await _read_form(request, folder, check, begin)
    except TimeoutError:
        raise RequestInvalid(f"the form did not come within {UPLOAD_SECONDS:.0f} seconds") from None


async def _read_form(
    request: web.Request, folder: Path, check: Callable[[str], None] | None, begin: Callable[[], None]
) -> Form:
    if not request.content_type == "multipart/form-data":
        raise RequestInvalid("not the form of this page")
    form, values, checked = Form(), dict[str, list[str]](), check is None
    try:
        reader, parts = await request.multipart(), 0
        while (part := await reader.next()) is not None:
            parts += 1
            if not isinstance(part, BodyPartReader) or not part.name or parts > MAX_PARTS:
                raise RequestInvalid("not the form of this page")
            if part.filename is None:
                values.setdefault(part.name, []).append((await _bytes(part, MAX_FIELD)).decode("utf-8", "replace"))
            elif checked and part.name == "file":
                await _keep(part, folder, form, begin)
            if check is not None and not checked:
                check(_first(values, "csrf"))
                checked = True
            if "file" in form.errors:
                break  # the rest is not worth waiting for
    except (ValueError, AssertionError, RuntimeError):  # of aiohttp, for a body that is no multipart
        raise RequestInvalid("not the form of this page") from None
    if not checked:
        raise RequestInvalid("an empty form")
    form.take(values)
    return form


async def read_small_form(request: web.Request) -> dict[str, str]:
    """The fields of a form without files."""
    data = await request.content.read(MAX_SMALL_FORM + 1)
    while len(data) <= MAX_SMALL_FORM and (more := await request.content.read(MAX_SMALL_FORM)):
        data += more
    if len(data) > MAX_SMALL_FORM:
        raise RequestInvalid("the form is too large")
    try:
        fields = parse_qs(data.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise RequestInvalid("not the form of this page") from None
    return {name: values[0] for name, values in fields.items()}


async def _keep(part: BodyPartReader, folder: Path, form: Form, begin: Callable[[], None]) -> None:
    """The file under a name of ours with the suffix that it had; a fault is one of the field."""
    suffix = Path(part.filename or "").suffix.lower()
    size, path = 0, folder / f"rows{suffix}"
    while piece := await part.read_chunk(PIECE):
        if suffix not in FILES:
            form.errors["file"] = f"Give a table ({', '.join(FILES[:5])}) or a specification ({', '.join(SUFFIXES)})."
            return
        if not size:
            begin()
        size += len(piece)
        if size > MAX_UPLOAD:
            form.errors["file"] = (
                f"Larger than the {MAX_UPLOAD >> 20} MiB that this page takes; "
                "`atoll search --data` takes files of any size."
            )
            return
        await asyncio.to_thread(_append, path, piece)
    if size:
        form.file = path
    elif part.filename:
        form.errors["file"] = "This file is empty."


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


def _first(values: dict[str, list[Any]], name: str) -> str:
    return str(next(iter(values.get(name, ())), ""))
