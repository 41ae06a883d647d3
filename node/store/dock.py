"""The dock: the learnwares that this node itself hosts, with full specifications and packages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
from atoll.engine.packages import Manifest, Package, open_package
from atoll.engine.packages import archive as archives
from atoll.engine.packages.manifest import commitment, read_manifest
from atoll.engine.packages.quality import Measured
from atoll.engine.runtime.environments import Needs
from atoll.engine.specs.noised import NoisedSketch, Specification
from atoll.engine.specs.rkme import Rkme
from atoll.node.errors import RequestInvalid
from atoll.node.store.blobs import BlobStore, hash_of
from atoll.node.store.environment import Store
from atoll.protocol.errors import NotFound


class SpecRow(msgspec.Struct, frozen=True):
    """One specification: its blob, the salt of its commitment, and whether it is a noised sketch (else an RKME)."""

    island: bytes
    blob: bytes
    salt: bytes
    noised: bool = False


class DockRow(msgspec.Struct, frozen=True):
    """What is kept of a hosted learnware; packages and specifications are blobs."""

    learnware_id: bytes
    revision: bytes
    manifest: bytes  # blob
    model: bytes  # blob
    served: bytes  # blob: the package without its specifications
    specifications: tuple[SpecRow, ...]
    quality: Measured | None = None  # by the checks, where the publisher gave a labelled sample
    environment: bytes | None = None  # blob: what a model of code needs

    @property
    def blobs(self) -> tuple[bytes, ...]:
        needs = (self.environment,) if self.environment else ()
        return self.manifest, self.model, self.served, *(spec.blob for spec in self.specifications), *needs


class Learnware(msgspec.Struct, frozen=True):
    """A hosted learnware, opened."""

    row: DockRow
    manifest: Manifest
    specifications: dict[bytes, Specification]  # by island
    commitments: dict[bytes, bytes]
    needs: Needs | None = None  # of a model of code, to run

    @property
    def id(self) -> bytes:
        return self.row.learnware_id

    def rkme(self, island: bytes) -> Rkme | None:
        """The RKME in an island; None where there is none, also not for this node: under differential privacy."""
        found = self.specifications.get(island)
        return found if isinstance(found, Rkme) else None

    def salt(self, island: bytes) -> bytes:
        """Of the commitment to the specification in an island."""
        return next(spec.salt for spec in self.row.specifications if spec.island == island)


class Dock:
    """Thread-safe; specifications are kept in memory, so that matching never waits for the disk."""

    def __init__(self, store: Store, blobs: BlobStore, owner: str) -> None:
        self._store = store
        self._blobs = blobs
        self._owner = owner
        self._rows = store.table("dock", DockRow)
        self._lock = threading.RLock()
        self._open: dict[bytes, Learnware] = {}
        self._listeners: list[Callable[[bytes], None]] = []
        with store.view() as txn:
            rows = [row for _, row in self._rows.scan(txn)]
        for row in rows:
            self._open[row.learnware_id] = self._opened(row)

    def on_change(self, listener: Callable[[bytes], None]) -> None:
        """Call ``listener(learnware id)`` after each change, from whatever thread made it."""
        self._listeners.append(listener)

    def add(self, path: Path, *, quality: Measured | None = None) -> Learnware:
        """Take in an uploaded package after checking all of it; returns after commit."""
        with open_package(path) as package, self._blobs.claiming():
            if package.manifest.owner != self._owner:
                raise RequestInvalid(
                    "the package was made for another owner", hint="pack it with this node's peer id as owner"
                )
            if package.manifest.learnware_id and package.learnware_id not in self._open:
                raise RequestInvalid("the package revises a learnware that is not in this dock")
            row = msgspec.structs.replace(self._store_files(package), quality=quality)
            learnware = self._opened(row)
            self._store.write(lambda txn: self._rows.put(txn, row.learnware_id, row)).result()
        with self._lock:
            self._open[row.learnware_id] = learnware
        self._tell(row.learnware_id)
        return learnware

    def get(self, learnware_id: bytes) -> Learnware:
        with self._lock:
            if learnware_id not in self._open:
                raise NotFound(f"no learnware {learnware_id.hex()} in this dock", hint="see `atoll learnware list`")
            return self._open[learnware_id]

    def find(self, learnware_id: bytes) -> Learnware | None:
        with self._lock:
            return self._open.get(learnware_id)

    def holds(self, learnware_id: bytes) -> bool:
        with self._lock:
            return learnware_id in self._open

    def all(self) -> list[Learnware]:
        with self._lock:
            return [self._open[id_] for id_ in sorted(self._open)]

    def remove(self, learnware_id: bytes) -> None:
        """Forget a learnware; its blobs stay until the store is cleaned."""
        self.get(learnware_id)
        self._store.write(lambda txn: self._rows.delete(txn, learnware_id)).result()
        with self._lock:
            self._open.pop(learnware_id, None)
        self._tell(learnware_id)

    def model_path(self, learnware: Learnware) -> Path:
        return self._blobs.path(learnware.row.model)

    def folders(self) -> list[str]:
        """The names of the folders that running the learnwares needs: environments, and unpacked files."""
        needs = [each.needs.key for each in self.all() if each.needs is not None]
        return needs + [each.row.model.hex() for each in self.all()]

    def served_path(self, learnware: Learnware) -> Path:
        """The package as others may download it."""
        return self._blobs.path(learnware.row.served)

    def write_whole(self, learnware: Learnware, target: Path) -> None:
        """Write to ``target`` the package as it was taken in, with its specifications; blocking."""
        by_island = {spec.island.hex(): self._blobs.path(spec.blob) for spec in learnware.row.specifications}
        files: dict[str, archives.Source] = {
            entry.path: by_island[entry.island] for entry in learnware.manifest.specifications
        }
        with open_package(self.served_path(learnware), specifications=False) as served:
            rest = {entry.path for entry in learnware.manifest.files} - files.keys()
            archives.write(target, served.manifest_bytes, {**files, **dict.fromkeys(rest, served)})

    def _tell(self, learnware_id: bytes) -> None:
        for listener in self._listeners:
            listener(learnware_id)

    def _store_files(self, package: Package) -> DockRow:
        model = self._blobs.put_pieces(package.pieces(package.manifest.model))  # first: what is damaged leaves nothing
        specifications, needs = [], package.needs
        for island, (spec, salt) in package.specifications().items():
            noised = isinstance(spec, NoisedSketch)
            specifications.append(SpecRow(island, self._blobs.put(spec.to_bytes()), salt, noised))
        return DockRow(
            package.learnware_id,
            package.revision,
            self._blobs.put(package.manifest_bytes),
            model,
            self._store_served(package),
            tuple(specifications),
            environment=self._blobs.put(needs.data) if needs else None,
        )

    def _store_served(self, package: Package) -> bytes:
        private = {spec.path for spec in package.manifest.specifications}
        kept = {entry.path: package for entry in package.manifest.files if entry.path not in private}
        with self._blobs.growing() as file:
            archives.write(file, package.manifest_bytes, kept)
            file.flush()
            return self._blobs.adopt(Path(file.name), hash_of(Path(file.name)))

    def _opened(self, row: DockRow) -> Learnware:
        manifest = read_manifest(self._blobs.path(row.manifest).read_bytes())
        specifications: dict[bytes, Specification] = {}
        commitments = {}
        for spec in row.specifications:
            data = self._blobs.path(spec.blob).read_bytes()
            specifications[spec.island] = (NoisedSketch if spec.noised else Rkme).from_bytes(data)
            commitments[spec.island] = commitment(spec.salt, data)
        needs = None
        if row.environment is not None:
            needs = Needs(manifest.environment, self._blobs.path(row.environment).read_bytes())
        return Learnware(row, manifest, specifications, commitments, needs)
