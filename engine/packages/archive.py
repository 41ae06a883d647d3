"""Packages as zip files: written deterministically, read with distrust.

Nothing is ever extracted by the archive's own paths: the manifest says which files there are, how long they are
and what they hash to; any other entry, size or content refuses the package.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from atoll.engine.errors import IntegrityError, PackageError
from atoll.engine.packages.manifest import MAX_BYTES, NAME, Manifest, SpecEntry, read_manifest, revision_of
from atoll.engine.runtime.environments import Needs
from atoll.engine.specs.noised import NoisedSketch, Specification
from atoll.engine.specs.rkme import Rkme

_EPOCH = (1980, 1, 1, 0, 0, 0)  # one timestamp for all: the same content gives the same archive
_UNREADABLE = (KeyError, zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error)


class Package:
    """An opened package whose table of contents has been checked; contents are checked as they are read."""

    def __init__(self, archive: zipfile.ZipFile, manifest_bytes: bytes, manifest: Manifest) -> None:
        self._archive = archive
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

    def read(self, path: str) -> bytes:
        """The bytes of a listed file; IntegrityError unless they hash to what the manifest says."""
        entry = self.manifest.file(path)
        try:
            with self._archive.open(path) as file:
                data = file.read(entry.size + 1)
        except _UNREADABLE as error:
            raise PackageError(f"{path} cannot be read: {error}") from None
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise IntegrityError(f"{path} is not what the manifest promises")
        return data

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
        self._archive.close()

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write(target: IO[bytes] | Path, manifest: bytes, files: Mapping[str, bytes]) -> None:
    """Write a package: the manifest, then ``files`` sorted by path."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in [(NAME, manifest), *sorted(files.items())]:
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), data, zipfile.ZIP_DEFLATED)


def open_package(source: IO[bytes] | Path, *, specifications: bool = True, limit: int = 2 * 1024**3) -> Package:
    """Open a foreign package; PackageError unless its entries are exactly those that its manifest lists.

    ``specifications=False`` takes the form that owners serve: the model without them.
    """
    try:
        archive = zipfile.ZipFile(source)
    except (*_UNREADABLE, ValueError) as error:
        raise PackageError(f"not a package: {error}", hint="packages are made by `atoll learnware pack`") from None
    try:
        manifest_bytes = _manifest_bytes(archive)
        manifest = read_manifest(manifest_bytes)
        _check_entries(archive, manifest, specifications, limit)
    except BaseException:
        archive.close()
        raise
    return Package(archive, manifest_bytes, manifest)


def _manifest_bytes(archive: zipfile.ZipFile) -> bytes:
    try:
        with archive.open(NAME) as file:
            data = file.read(MAX_BYTES + 1)
    except _UNREADABLE as error:
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
