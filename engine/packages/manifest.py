"""The package's table of contents. Its SHA-256 is the revision; the first one's is the learnware id."""

from __future__ import annotations

import hashlib
import re

import msgspec
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import AtollError, PackageError
from atoll.engine.naming import ALIAS, ALIAS_IS
from atoll.engine.runtime.formats import CODE
from atoll.engine.runtime.requirements import MAX_BYTES as MAX_REQUIREMENTS
from atoll.engine.runtime.requirements import NAMES
from atoll.engine.runtime.signature import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs.noised import DpParameters
from atoll.engine.specs.report import PrivacyReport

NAME = "manifest.json"
MAX_BYTES = 1024 * 1024
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


class FileEntry(msgspec.Struct, frozen=True):
    """One file of the package; ``sha256`` in hex."""

    path: str
    size: int
    sha256: str


class SpecEntry(msgspec.Struct, frozen=True):
    """One statistical specification: its island, its file, the salt of its commitment (hex), and either the privacy
    gate's report on its points or, where the file holds a noised sketch, the ``dp`` parameters."""

    island: str
    path: str
    salt: str
    privacy: PrivacyReport | None = None
    dp: DpParameters | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What a package holds. ``owner`` is a PeerId; ``learnware_id`` is None in a first revision. ``environment`` is
    the file that lists the packages which a model of code needs, or ""; ``alias`` is what the learnware was called
    elsewhere (naming.ALIAS), or ""."""

    owner: str
    created_at: int
    semantic: SemanticSpec
    signature: Signature
    columns: tuple[str, ...]
    model: str
    model_format: str
    files: tuple[FileEntry, ...]
    specifications: tuple[SpecEntry, ...]
    class_names: tuple[str, ...] = ()
    learnware_id: str | None = None
    version: int = 1
    environment: str = ""
    alias: str = ""

    def to_bytes(self) -> bytes:
        """Readable JSON; these bytes are what is hashed, so they are kept as they are."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def file(self, path: str) -> FileEntry:
        for entry in self.files:
            if entry.path == path:
                return entry
        raise PackageError(f"the manifest names no file {path!r}")


def revision_of(manifest: bytes) -> bytes:
    """SHA-256 of the manifest bytes."""
    return hashlib.sha256(b"atoll/manifest/1\0" + manifest).digest()


def commitment(salt: bytes, specification: bytes) -> bytes:
    """What a listing publishes of an undisclosed specification: binding by SHA-256, hiding by the salt."""
    return hashlib.sha256(b"atoll/commitment/1\0" + salt + specification).digest()


def read_manifest(data: bytes) -> Manifest:
    """A manifest from foreign bytes, or PackageError saying what is wrong with it."""
    try:
        manifest = unpack_json(data, Manifest, limit=MAX_BYTES)
        manifest.semantic.check()
    except AtollError as error:
        raise PackageError(f"{NAME}: {error.message}", hint=error.hint) from None
    paths = [entry.path for entry in manifest.files]
    needed = {manifest.model, *(spec.path for spec in manifest.specifications), manifest.environment} - {""}
    for path in (*paths, *needed):
        if len(path) > 200 or not _PATH.fullmatch(path) or path == NAME:
            raise PackageError(f"{NAME}: {path[:80]!r} is not a plain relative path")
    if len(set(paths)) != len(paths):
        raise PackageError(f"{NAME} names a file twice")
    if not needed <= set(paths):
        raise PackageError(f"{NAME} refers to a file that it does not list")
    if manifest.version != 1:
        raise PackageError(f"{NAME}: package version {manifest.version} is not known")
    if manifest.alias and not ALIAS.fullmatch(manifest.alias):
        raise PackageError(f"{NAME}: {manifest.alias[:80]!r} is no alias: {ALIAS_IS}")
    _check_shapes(manifest)
    _check_environment(manifest)
    return manifest


def _check_environment(manifest: Manifest) -> None:
    if not manifest.environment:
        return
    if manifest.environment not in NAMES or manifest.file(manifest.environment).size > MAX_REQUIREMENTS:
        raise PackageError(f"{NAME}: the list of requirements is no {' or '.join(NAMES)}, or is too long")
    if manifest.model_format not in CODE:
        raise PackageError(f"{NAME}: a model in {manifest.model_format[:20]} needs no environment, only code does")


def _check_shapes(manifest: Manifest) -> None:
    signature = manifest.signature
    if len(manifest.columns) != signature.inputs or len(set(manifest.columns)) != signature.inputs:
        raise PackageError(f"{NAME}: {len(manifest.columns)} column names for {signature.inputs} inputs")
    if signature.task == "classification" and len(manifest.class_names) != signature.outputs:
        raise PackageError(f"{NAME}: {len(manifest.class_names)} class names for {signature.outputs} outputs")
    for spec in manifest.specifications:
        if not re.fullmatch("[0-9a-f]{64}", spec.island) or not re.fullmatch("[0-9a-f]{32}", spec.salt):
            raise PackageError(f"{NAME}: island or salt of a specification is malformed")
