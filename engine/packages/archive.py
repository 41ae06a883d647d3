"""Packages as zip files: written deterministically, read with distrust, both piece by piece.

Nothing is ever extracted by the archive's own paths: the manifest says which files there are, how long they are
and what they hash to; any other entry, size or content refuses the package. Files are stored as they are: models hardly
shrink. Only manifest and specifications are ever held whole.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from atoll.engine.errors import IntegrityError, PackageError
from atoll.engine.packages.manifest import MAX_BYTES, NAME, FileEntry, Manifest, SpecEntry, read_manifest, revision_of
from atoll.engine.runtime.environments import Needs
from atoll.engine.semantic import told_apart
from atoll.engine.specs.noised import NoisedSketch, Specification
from atoll.engine.specs.rkme import MAX_BYTES as MAX_SPECIFICATION
from atoll.engine.specs.rkme import Rkme
from atoll.engine.zips import EPOCH, LIMIT, PIECE, UNREADABLE, length, open_zip

MODEL_LIMIT = LIMIT - (20 << 20)  # room for specification, manifest and table of contents, in later revisions too


class Package:
    """An opened package whose table of contents has been checked; contents are checked as they are read."""

    def __init__(self, archive: zipfile.ZipFile, manifest_bytes: bytes, manifest: Manifest, held: ExitStack) -> None:
        self._archive = archive
        self._held = held
        self.manifest_bytes = manifest_bytes
        self.manifest = manifest

    @property
    def revision(self) -> bytes:
        return revision_of(self.manifest_bytes)

    @property
    def learnware_id(self) -> bytes:
        """Stable over revisions: the hash of the first manifest."""
        first = self.manifest.learnware_id
        return bytes.fromhex(first) if first else self.revision

    def has(self, path: str) -> bool:
        return path in self._archive.namelist()

    def pieces(self, path: str) -> Iterator[bytes]:
        """The bytes of a listed file, at most PIECE at a time; IntegrityError, after the last of them at the latest,
        unless they hash to what the manifest says."""
        entry = self.manifest.file(path)
        hashed, size = hashlib.sha256(), 0
        try:
            with self._archive.open(path) as file:
                while size <= entry.size and (piece := file.read(PIECE)):
                    hashed.update(piece)
                    size += len(piece)
                    yield piece
        except UNREADABLE as error:
            raise PackageError(f"{path} cannot be read: {error}") from None
        if size != entry.size or hashed.hexdigest() != entry.sha256:
            raise IntegrityError(f"{path} is not what the manifest promises")

    def read(self, path: str) -> bytes:
        """The bytes of a listed file that is small; PackageError where it is larger than a specification may be."""
        if (size := self.manifest.file(path).size) > MAX_SPECIFICATION:
            raise PackageError(f"{path} has {size} bytes, at most {MAX_SPECIFICATION} are read at once")
        return b"".join(self.pieces(path))

    def verify(self, path: str) -> int:
        """Read a listed file through; how many bytes it has, or IntegrityError as for :meth:`pieces`."""
        return sum(map(len, self.pieces(path)))

    @property
    def needs(self) -> Needs | None:
        """What a model of code needs to run; None where it needs nothing, or is none."""
        name = self.manifest.environment
        return Needs(name, self.read(name)) if name else None

    def specifications(self) -> dict[bytes, tuple[Specification, bytes]]:
        """By island id: the specification and the salt of its commitment."""
        return {
            bytes.fromhex(spec.island): (self._specification(spec), bytes.fromhex(spec.salt))
            for spec in self.manifest.specifications
        }

    def _specification(self, entry: SpecEntry) -> Specification:
        data = self.read(entry.path)
        if entry.dp is None:
            return Rkme.from_bytes(data)
        noised = NoisedSketch.from_bytes(data)
        if noised.dp != entry.dp:
            raise PackageError(f"{entry.path} has other parameters of differential privacy than the manifest")
        return noised

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Source = bytes | Path | Package  # a file's bytes, where they are on disk, or the package that has it under this path


def write(target: IO[bytes] | Path, manifest: bytes, files: Mapping[str, Source]) -> None:
    """Write a package: the manifest, then ``files`` sorted by path. PackageError before it would get too large."""
    contents: list[tuple[str, Source]] = [(NAME, manifest), *sorted(files.items(), key=lambda item: item[0])]
    sizes = {path: _size(path, source) for path, source in contents}
    require_size(sum(sizes.values()))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path, source in contents:
            info = zipfile.ZipInfo(path, EPOCH)
            info.file_size = sizes[path]  # told before: whether it needs the large form
            with archive.open(info, "w") as member:
                for piece in _pieces(path, source):
                    member.write(piece)


def require_size(size: int, limit: int = LIMIT) -> None:
    """PackageError for a package that is, or holds, more bytes than ``limit``."""
    if size > limit:
        raise PackageError(f"{size} bytes, where at most {limit} are allowed", hint="publish a smaller model")


def _size(path: str, source: Source) -> int:
    if isinstance(source, bytes):
        return len(source)
    return source.stat().st_size if isinstance(source, Path) else source.manifest.file(path).size


def _pieces(path: str, source: Source) -> Iterable[bytes]:
    if isinstance(source, bytes):
        return (source,)
    return pieces_of_file(source) if isinstance(source, Path) else source.pieces(path)


def entry_of(path: str, source: bytes | Path) -> FileEntry:
    """What a manifest says of a file that is to be called ``path``; one on disk is read piece by piece."""
    if isinstance(source, bytes):
        return FileEntry(path, len(source), hashlib.sha256(source).hexdigest())
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(path, file.tell(), digest)


def pieces_of_file(path: Path) -> Iterator[bytes]:
    """The bytes of a file, at most PIECE at a time."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def open_package(source: IO[bytes] | Path, *, specifications: bool = True, limit: int = LIMIT) -> Package:
    """Open a foreign package; PackageError unless its entries are exactly those that its manifest lists.

    ``specifications=False`` takes the form that owners serve: the model without them.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            require_size(length(file), limit)
            archive = stack.enter_context(open_zip(file))
        except UNREADABLE as error:
            raise PackageError(f"not a package: {error}", hint="packages are made by `atoll learnware pack`") from None
        manifest_bytes = _manifest_bytes(archive)
        manifest = read_manifest(manifest_bytes)
        if not told_apart(manifest.class_names):
            raise PackageError(f"{NAME}: two classes have one name, or one has control characters")
        _check_entries(archive, manifest, specifications, limit)
        return Package(archive, manifest_bytes, manifest, stack.pop_all())


def _manifest_bytes(archive: zipfile.ZipFile) -> bytes:
    try:
        with archive.open(NAME) as file:
            data = file.read(MAX_BYTES + 1)
    except UNREADABLE as error:
        raise PackageError(f"the package has no readable {NAME}: {error}") from None
    if len(data) > MAX_BYTES:
        raise PackageError(f"{NAME} is larger than {MAX_BYTES} bytes")
    return data


def _check_entries(archive: zipfile.ZipFile, manifest: Manifest, specifications: bool, limit: int) -> None:
    names = [info.filename for info in archive.infolist()]
    optional = set() if specifications else {spec.path for spec in manifest.specifications}
    listed = {entry.path for entry in manifest.files}
    if len(set(names)) != len(names) or not listed - optional <= set(names) - {NAME} <= listed:
        raise PackageError(f"the files in the package are not those that {NAME} lists")
    sizes = {entry.path: entry.size for entry in manifest.files}
    if sum(sizes.values()) > limit or any(size < 0 for size in sizes.values()):
        raise PackageError(f"the package unpacks to more than {limit} bytes")
    for info in archive.infolist():
        if info.filename != NAME and info.file_size != sizes[info.filename]:
            raise IntegrityError(f"{info.filename} has another size than the manifest says")
