"""Drafts: what somebody has begun to publish, in a folder of its own, until it is in the dock or a day has passed.

Rows are never in it. Each belongs to the token that has begun it. Nobody else is told that it is there, but for
administrators, who see whose it is and what it takes, not what is in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import EncodingError
from atoll.engine.semantic import SemanticSpec
from atoll.node.errors import RequestInvalid
from atoll.node.store.durable import replacing
from atoll.node.web.reading.fitting import Packed
from atoll.protocol.errors import NotFound
from atoll.protocol.limits import DAY, MINUTE

log = logging.getLogger("atoll.web")
AT_A_TIME, IN_ALL = 8, 256  # drafts of one token, and of all
ROOM = 2  # times the size of the largest upload, that one token's drafts may take
FORGOTTEN = DAY
SWEEP_SECONDS = 10 * MINUTE / 1000
LEFT_FREE = 256 << 20  # bytes of the disk that drafts leave to the store
MAX_ROW = 64 << 20  # bytes of what is kept of a draft, but for its files
ROW, PARTS = "draft", "parts"
GIVEN, MODEL = "given", "model"  # what was uploaded, and the model as it is packed
PASSING = "passing"

Way = Literal["model", "package", "words"]


class Draft(msgspec.Struct, frozen=True):
    """``owner`` is the id of a token. ``way``: a model with rows, a package, or other words for one of this dock;
    ``revises`` is the id (hex) of the one of which this becomes a revision. ``name``, ``size`` and ``key`` are those of
    the file that comes or has come, ``whole`` once all of it is here and fit to go on with; ``packed`` are the parts
    made of it without the specification's bytes; ``submission`` (hex) is where its checks are told."""

    id: str
    owner: str
    way: Way
    begun_at: int
    touched_at: int
    revises: str = ""
    name: str = ""
    size: int = 0
    key: str = ""
    whole: bool = False
    packed: Packed | None = None
    target: str = ""
    notes: tuple[str, ...] = ()
    words: SemanticSpec | None = None
    submission: str = ""

    @property
    def ready(self) -> bool:
        """Whether there is all that a package is put together of, but for the words."""
        return self.packed is not None if self.way == "model" else self.whole

    @property
    def worded(self) -> str:
        """Tells these words from others; empty without any."""
        return hashlib.sha256(pack(self.words)).hexdigest()[:16] if self.words is not None else ""


class Taking(NamedTuple):
    """A draft as administrators see it; ``bytes`` is what it takes, or will once the file that comes is here."""

    id: str
    owner: str
    way: Way
    touched_at: int
    bytes: int


class Drafts:
    """Thread-safe; every call blocks on the disk. ``limit`` is of one file, in bytes; ``clock`` gives ms."""

    def __init__(self, folder: Path, limit: int, clock: Callable[[], int]) -> None:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self._folder = folder
        self._limit = limit
        self._clock = clock
        self._lock = threading.RLock()
        self._coming: dict[str, list[int]] = {}  # bytes of forms under way, by owner
        self._held: set[str] = set()
        for left in folder.glob(f"*/{PASSING}*"):  # the node ended while a form came
            shutil.rmtree(left, ignore_errors=True)

    def begin(self, owner: str, way: Way, revises: str = "") -> Draft:
        """An empty one; RequestInvalid where there are enough."""
        with self._lock:
            self.sweep()
            if len(self.all(owner)) >= AT_A_TIME:
                raise RequestInvalid(
                    f"you have {AT_A_TIME} drafts, and no token has more",
                    hint="publish or delete one of them first: they are listed on the page Publish",
                )
            if len(list(self._folder.iterdir())) >= IN_ALL:
                raise RequestInvalid(
                    f"this node has {IN_ALL} drafts of all its users, and takes no more",
                    hint="an administrator can delete some, on the page Storage; what nobody touches goes after a day",
                )
            now = self._clock()
            draft = Draft(secrets.token_hex(16), owner, way, now, now, revises)
            self._place(draft.id).mkdir(mode=0o700)
            return self._write(draft)

    def all(self, owner: str) -> list[Draft]:
        """Those of a token, the one that was touched last first."""
        return sorted((draft for draft in self._all() if draft.owner == owner), key=lambda draft: -draft.touched_at)

    def takings(self) -> list[Taking]:
        """Those of all tokens, the largest first."""
        with self._lock:
            found = [Taking(each.id, each.owner, each.way, each.touched_at, self._bytes(each)) for each in self._all()]
        return sorted(found, key=lambda each: (-each.bytes, each.touched_at))

    def remove(self, id_: str) -> Draft:
        """Delete one, whosever it is; it as it was. NotFound for none."""
        with self._lock:
            draft = self._find(id_)
            if draft is None:
                raise NotFound("no such draft (any more)")
            self.delete(draft)
            return draft

    def get(self, id_: str, owner: str) -> Draft:
        """NotFound unless it is that token's."""
        with self._lock:
            draft = self._find(id_)
        if draft is None or draft.owner != owner:
            raise NotFound("no such draft (any more)", hint="begin another one: drafts are kept for a day")
        return draft

    def change(self, draft: Draft, **fields: object) -> Draft:
        """With these fields, and touched now; the others stay as they are on the disk, where another page of the same
        person may have changed them since ``draft`` was read. NotFound if it was deleted meanwhile."""
        with self._lock:
            now = self._read(draft.id)
            if now is None:
                raise NotFound("the draft was deleted meanwhile", hint="begin another one")
            return self._write(msgspec.structs.replace(now, touched_at=self._clock(), **fields))

    def reword(self, draft: Draft, words: SemanticSpec, seen: str | None) -> Draft | None:
        """With these words; None, and nothing changes, where by now there are others than those which were ``seen``
        (Draft.worded) when these were written. None seen: they are not compared."""
        with self._lock:
            now = self._read(draft.id)
            if now is not None and seen not in (None, now.worded) and now.words not in (None, words):
                return None
            return self.change(draft, words=words)

    def delete(self, draft: Draft) -> None:
        with self._lock:
            shutil.rmtree(self._place(draft.id), ignore_errors=True)

    def sweep(self) -> None:
        """Remove what nobody has touched for a day."""
        with self._lock:
            before = self._clock() - FORGOTTEN
            for place in list(self._folder.iterdir()):
                draft = self._read(place.name)
                if draft is None or draft.touched_at < before:
                    shutil.rmtree(place, ignore_errors=True)

    async def tidy(self) -> None:
        """Sweep, until cancelled."""
        while True:
            await asyncio.to_thread(self.sweep)
            await asyncio.sleep(SWEEP_SECONDS)

    def path(self, draft: Draft, name: str) -> Path:
        """Of one of its files."""
        return self._place(draft.id) / name

    def received(self, draft: Draft, key: str) -> int:
        """Bytes that are here of the file with that key; of another one, none."""
        path = self.path(draft, GIVEN)
        return path.stat().st_size if key and draft.key == key and path.exists() else 0

    def append(self, draft: Draft, key: str, name: str, size: int, offset: int, data: bytes) -> int:
        """Bytes that are here then, of a file of ``size``. Another ``key`` takes the place of what was here.
        RequestInvalid if it does not go on where it stands, or gets too long."""
        with self._lock:
            draft = self.get(draft.id, draft.owner)
            path, stands = self.path(draft, GIVEN), self.received(draft, key)
            if offset != stands:
                raise RequestInvalid(f"the upload stands at {stands} bytes, not at {offset}", hint="go on from there")
            if draft.key != key:
                self.check_room(draft, size)
            elif size != draft.size:
                raise RequestInvalid(f"{size} bytes of a file that had {draft.size}", hint="begin anew")
            if stands + len(data) > size:
                raise RequestInvalid(f"more has come than the {size} bytes that were announced", hint="begin anew")
            if draft.key != key:
                path.unlink(missing_ok=True)
                self.change(draft, key=key, name=name, size=size, whole=False)
            elif self._clock() - draft.touched_at > MINUTE:
                self.change(draft)
            with path.open("ab") as file:
                file.write(data)
            return stands + len(data)

    def reserve(self, draft: Draft, size: int) -> None:
        """Room for a form that begins to come, until it is released; RequestInvalid where the token's drafts, and the
        forms that come for them, leave none."""
        with self._lock:
            coming = self._coming.setdefault(draft.owner, [])
            if len(coming) >= AT_A_TIME:
                raise RequestInvalid("too many forms come at a time", hint="try again when one of them is here")
            self.check_room(draft, size, sum(coming))
            coming.append(size)

    def release(self, draft: Draft, size: int) -> None:
        with self._lock:
            self._coming[draft.owner].remove(size)

    @contextmanager
    def alone(self, draft: Draft) -> Iterator[bool]:
        """Whether nobody else is within such a block for it, be it the same person who has clicked twice."""
        with self._lock:
            first = draft.id not in self._held
            self._held.add(draft.id)
        try:
            yield first
        finally:
            if first:
                self._held.discard(draft.id)

    def take(self, draft: Draft, path: Path, name: str) -> Draft:
        """A file that has come in one piece is the draft's."""
        with self._lock:
            size = path.stat().st_size
            self.check_room(draft, size)
            path.replace(self.path(draft, GIVEN))
            return self.change(draft, key=f"whole:{name}", name=name, size=size, whole=False)

    def drop(self, draft: Draft) -> Draft:
        """Without the file that was given."""
        self.path(draft, GIVEN).unlink(missing_ok=True)
        return self.change(draft, key="", name="", size=0, whole=False)

    def keep_parts(self, draft: Draft, packed: Packed, target: str) -> Draft:
        """What the given model and rows were made into, but for the model's bytes, which the caller has put there."""
        with replacing(self.path(draft, PARTS)) as file:
            file.write(packed.specification)
        return self.change(draft, packed=msgspec.structs.replace(packed, specification=b""), target=target)

    def specification(self, draft: Draft) -> bytes:
        return self.path(draft, PARTS).read_bytes()

    def check_room(self, draft: Draft, size: int, coming: int = 0) -> None:
        """RequestInvalid for a file that is too large, or that the token's other drafts leave no room for."""
        if size > self._limit:
            raise RequestInvalid(
                f"the file has {size} bytes, this node takes {self._limit}", hint="see http.max_upload_bytes"
            )
        others = sum(self._bytes(each) for each in self.all(draft.owner) if each.id != draft.id)
        if others + coming + size > ROOM * self._limit:
            raise RequestInvalid(
                "your drafts take too many bytes", hint="publish or delete one of them first: see the page Publish"
            )
        if shutil.disk_usage(self._folder).free - coming - size < LEFT_FREE:
            raise RequestInvalid("this node's disk has no room for the file", hint="an administrator can make some")

    def _bytes(self, draft: Draft) -> int:
        """What it takes, or will take once the file that comes is here."""
        paths = {name: self.path(draft, name) for name in (GIVEN, MODEL, PARTS)}
        sizes = {name: path.stat().st_size for name, path in paths.items() if path.exists()}
        return max(draft.size, sizes.pop(GIVEN, 0)) + sum(sizes.values())

    def _find(self, id_: str) -> Draft | None:
        """By what an address says, which may be anything."""
        return self._read(id_) if re.fullmatch("[0-9a-f]{32}", id_) else None

    def _all(self) -> list[Draft]:
        with self._lock:
            found = [self._read(each.name) for each in self._folder.iterdir()]
        return [draft for draft in found if draft is not None]

    def _write(self, draft: Draft) -> Draft:
        with replacing(self._place(draft.id) / ROW) as file:
            file.write(pack(draft))
        return draft

    def _place(self, id_: str) -> Path:
        return self._folder / id_

    def _read(self, id_: str) -> Draft | None:
        try:
            return unpack((self._place(id_) / ROW).read_bytes(), Draft, limit=MAX_ROW)
        except (OSError, EncodingError):
            return None
