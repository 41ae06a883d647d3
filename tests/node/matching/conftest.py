"""An owner with real stores, dock, policies and log, without network; packages of drawn RKMEs, which cost nothing."""

import hashlib
import io
from contextlib import contextmanager
from itertools import count

import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.packages import archive
from atoll.engine.packages.manifest import FileEntry, Manifest, SpecEntry
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme
from atoll.node import identity as identities
from atoll.node.clock import now_ms
from atoll.node.matching import Matcher
from atoll.node.matching.specifications import OwnSpecifications
from atoll.node.matching.stand_ins import StandIns
from atoll.node.policy import Gate
from atoll.node.policy.requests import Requests
from atoll.node.policy.rules import Policies
from atoll.node.policy.usage import Usage
from atoll.node.publishing import Publisher
from atoll.node.store.blobs import BlobStore
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federations


class Institution:
    """All of a node that answers a match."""

    def __init__(self, folder, islands, make=None):
        folder.mkdir()
        self.identity, self.store = identities.create(folder), Store(folder / "store")
        self.federations = Federations(self.store, self.identity)
        self.catalogue = Catalogue(self.store, self.federations)
        self.dock = Dock(self.store, BlobStore(folder / "blobs"), self.identity.peer)
        policies = Policies(self.store)
        self.publisher = Publisher(self.identity, self.federations, self.catalogue, self.dock, policies)
        self.gate = Gate(self.identity.peer, policies, Requests(self.store), Usage(self.store, now_ms()))
        self.stand_ins = StandIns(self.store, make) if make else StandIns(self.store)
        self.specifications = OwnSpecifications(
            self.identity.public, self.catalogue, self.dock, self.gate, self.stand_ins
        )
        self.matcher = Matcher(self.catalogue, self.specifications, self.gate)
        self.islands, self._path, self._times = islands, folder / "package", count(1)
        for island in islands:
            self.catalogue.add_island(island)

    def add(self, rkmes, learnware=None, name="made"):
        """Put RKMEs, one an island, into the dock: as a new learnware, or as a revision of one."""
        self._path.write_bytes(package(self.identity.peer, rkmes, next(self._times), learnware, name))
        return self.dock.add(self._path).id

    def publish(self, learnware, federation, policy):
        self.publisher.publish(learnware, federation, policy, now_ms())


def package(owner, rkmes, created_at, learnware, name):
    files, entries = {"model.onnx": b"model"}, []
    for island, rkme in rkmes.items():
        path = f"specifications/{island.id[:16]}.rkme"
        files[path] = rkme.to_bytes()
        entries.append(SpecEntry(island.id, path, hashlib.sha256(files[path]).hexdigest()[:32]))
    manifest = Manifest(
        owner, created_at, SemanticSpec(name), Signature("regression", 2, 1), ("a", "b"), "model.onnx", "onnx",
        tuple(FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()),
        tuple(entries), learnware_id=learnware.hex() if learnware else None,
    )  # fmt: skip
    target = io.BytesIO()
    archive.write(target, manifest.to_bytes(), files)
    return target.getvalue()


@pytest.fixture(scope="session")
def islands():
    random = np.random.default_rng(0)
    return [Island.mint(random.normal(size=(60, 3)) * spread) for spread in (1.0, 5.0)]


@pytest.fixture(scope="session")
def draw():
    """``draw(random, island, points)``: an RKME."""

    def drawn(random, island, points=6):
        centre = random.normal(size=island.dimension)
        values = (centre + 0.6 * random.normal(size=(points, island.dimension))).astype(np.float32)
        return Rkme(values, np.full(points, 1 / points, np.float32), island.gamma, 500)

    return drawn


@pytest.fixture
def institution(tmp_path, islands):
    """``with institution(make) as owner``; ``make`` makes stand-ins, if not as usual. It ends with the block."""

    @contextmanager
    def opened(make=None, islands=islands):
        made = Institution(tmp_path / "owner", islands, make)
        try:
            yield made
        finally:
            made.specifications.close()
            made.store.close()

    return opened
