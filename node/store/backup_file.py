"""The file of a backup: an uncompressed tar whose first member, the manifest, says exactly what follows.

The manifest can come first in a stream, because all of it is known before the first byte leaves: blobs are named by
their hash, the snapshot of the store is hashed once on disk, the rest is small. So the length of the whole is known
ahead, and a reader checks every member as it comes: nothing is taken that the manifest did not announce.
Members have the paths they have in a home.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Annotated

import msgspec
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import AtollError, IntegrityError
from atoll.node.errors import StoreTooNew
from atoll.node.store.blobs import place

FORMAT = 1
MANIFEST, STORE, CONFIG, KEY = "manifest.json", "store/data.mdb", "atoll.toml", "identity.key"
MAX_MANIFEST = 64 << 20  # some 300 000 blobs
CHUNK, BLOCK = 1 << 20, tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
BLOB = re.compile(r"blobs/sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})")
Whole = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Progress = Callable[[int, int], None]  # bytes done, bytes in all


class Member(msgspec.Struct, frozen=True):
    """A file of the backup; ``sha256`` in hex."""

    name: str
    size: Whole
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds, in order; ``atoll`` is the version that made it."""

    format: int
    created_at: Whole
    peer_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z]{1,100}\Z")]
    atoll: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.+!-]{1,100}\Z")]
    members: tuple[Member, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(member.name for member in self.members)

    @property
    def length(self) -> int:
        """Bytes of the whole file."""
        sizes = [len(msgspec.json.encode(self)), *(member.size for member in self.members)]
        return sum(BLOCK + size + _padding(size) for size in sizes) + len(END)


def blob_name(digest: str) -> str:
    """Where a blob (hex) lies in a home, and in a backup."""
    return f"blobs/{place(digest)}"


def write(manifest: Manifest, contents: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """The file, in pieces of about a MiB; ``contents`` are the bytes of the members, in order.

    IntegrityError where a member is not what the manifest says: then the file must not be kept.
    """
    waiting = bytearray()
    for piece in _pieces(manifest, contents):
        waiting += piece
        if len(waiting) >= CHUNK:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def read_manifest(file: IO[bytes]) -> Manifest:
    """The checked manifest at the start of a file; IntegrityError, or StoreTooNew for a format of the future."""
    first = file.read(BLOCK)
    try:
        found = tarfile.TarInfo.frombuf(first, "ascii", "strict")
    except (tarfile.HeaderError, ValueError):
        raise IntegrityError("this is not a backup of Atoll, or its first bytes are damaged") from None
    if found.name != MANIFEST or not 0 <= found.size <= MAX_MANIFEST:
        raise IntegrityError("this is not a backup of Atoll: it does not begin with a manifest")
    body = file.read(found.size)
    try:
        manifest = unpack_json(body, Manifest, limit=MAX_MANIFEST)
    except AtollError as error:
        raise IntegrityError(f"the manifest of the backup cannot be read: {error.message}") from None
    if manifest.format > FORMAT:
        raise StoreTooNew(
            f"the backup has format {manifest.format}, this Atoll knows up to {FORMAT}",
            hint=f"use Atoll {manifest.atoll} or a newer one",
        )
    _check(manifest)
    if first != _header(MANIFEST, len(body), manifest) or body != msgspec.json.encode(manifest):
        raise IntegrityError("the manifest of the backup is damaged")
    _skip(file, _padding(len(body)), MANIFEST)
    return manifest


def read_members(file: IO[bytes], manifest: Manifest) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Each member with its bytes, to be read to their end, where IntegrityError says that the hash does not hold.

    IntegrityError from this iterator itself says that the file is not laid out as its manifest says.
    """
    for member in manifest.members:
        if file.read(BLOCK) != _header(member.name, member.size, manifest):
            raise IntegrityError(f"the backup is damaged where {member.name} should begin")
        yield member, _checked(member, _body(file, member))
        _skip(file, _padding(member.size), member.name)
    if file.read(len(END) + 1) != END:
        raise IntegrityError("the backup does not end where its manifest says")


def _pieces(manifest: Manifest, contents: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    body = msgspec.json.encode(manifest)
    yield _header(MANIFEST, len(body), manifest)
    yield body + bytes(_padding(len(body)))
    for member, content in zip(manifest.members, contents, strict=True):
        yield _header(member.name, member.size, manifest)
        yield from _checked(member, content)
        yield bytes(_padding(member.size))
    yield END


def _checked(member: Member, content: Iterable[bytes]) -> Iterator[bytes]:
    digest, left = hashlib.sha256(), member.size
    for piece in content:
        digest.update(piece)
        left -= len(piece)
        yield piece
    if left or digest.hexdigest() != member.sha256:
        raise IntegrityError(f"{member.name} is damaged: it is not what its hash says")


def _body(file: IO[bytes], member: Member) -> Iterator[bytes]:
    left = member.size
    while left:
        piece = file.read(min(left, CHUNK))
        if not piece:
            raise IntegrityError(f"the backup ends within {member.name}")
        left -= len(piece)
        yield piece


def _check(manifest: Manifest) -> None:
    """Only what belongs into a home, each once, and a store among it."""
    for member in manifest.members:
        blob = BLOB.fullmatch(member.name)
        if member.name not in (STORE, CONFIG, KEY) and (blob is None or blob[2] != member.sha256):
            raise IntegrityError(f"the backup holds {member.name[:100]!r}, which does not belong into one")
    if len(manifest.names) != len(manifest.members) or STORE not in manifest.names:
        raise IntegrityError("the backup holds a file twice, or no store")


def _header(name: str, size: int, manifest: Manifest) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, manifest.created_at // 1000
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> int:
    return -size % BLOCK


def _skip(file: IO[bytes], count: int, name: str) -> None:
    if file.read(count) != bytes(count):
        raise IntegrityError(f"the backup is damaged behind {name}")
