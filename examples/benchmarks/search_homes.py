"""Homes of nodes in one federation that hold the learnwares of a market, made without starting a node or fitting
anything: listings, heads and certificates are signed, sketches, norms and commitments are true.

All nodes know all listings, as after replication; there are specifications to match, and no models.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.engine.packages.manifest import FileEntry, Manifest
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs.rkme import RkmeRecord
from atoll.node import config as configs
from atoll.node import identity as identities
from atoll.node.clock import now_ms
from atoll.node.identity import Identity
from atoll.node.store.blobs import place
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import DockRow, SpecRow
from atoll.node.store.environment import Store
from atoll.node.store.federations import FederationRow, Federations
from atoll.node.store.tokens import Tokens
from atoll.protocol import limits
from atoll.protocol.heads import Head, sign_head
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, Offers, SpecSummary, sign_listing
from atoll.protocol.log import Line, root_of
from atoll.protocol.membership import grant
from search_market import Learnware, Market

CONFIG = """[node]
name = "{name}"
[http]
port = 0
[p2p]
listen = "/ip4/127.0.0.1/tcp/0"
"""


@dataclass(frozen=True)
class Homes:
    """The first is the founder's, where ``token`` may search; ``owners`` are the peers of the market's owners."""

    paths: tuple[Path, ...]
    owners: tuple[str, ...]
    token: str
    federation: str


def make_homes(folder: Path, market: Market) -> Homes:
    """A home for every owner of the market."""
    now = now_ms() - 60_000
    paths = tuple(folder / f"n{number}" for number in range(market.owners))
    for path in paths:
        path.mkdir(parents=True)
        (path / configs.FILE).write_text(CONFIG.format(name=path.name))
    owners = [identities.create(path) for path in paths]
    store = Store(paths[0] / "store")
    federations = Federations(store, owners[0], name="n0")
    catalogue = Catalogue(store, federations)
    federation = federations.create("benchmark", now).id
    for island in market.places:
        catalogue.add_island(island)
    for number, owner in enumerate(owners):
        _list(catalogue, owners[0], owner, federation, market.of(number), now)
    token, _ = Tokens(store).create("benchmark", ("admin",), now, None)
    charter = federations.get(federation).row.charter
    certificates = [federations.certificate_of(federation, owner.public) for owner in owners]
    store.close()
    for path in paths[1:]:
        shutil.copytree(paths[0] / "store", path / "store")
    for number, (path, certificate) in enumerate(zip(paths, certificates, strict=True)):
        _stock(path, owners[number], FederationRow(charter, certificate), market.of(number))
    return Homes(paths, tuple(str(owner.peer) for owner in owners), token, federation.hex())


def _list(
    catalogue: Catalogue, founder: Identity, owner: Identity, federation: bytes, own: Sequence[Learnware], now: int
) -> None:  # fmt: skip
    signed = []
    for seq, each in enumerate(own, start=1):
        short = each.listed
        count = 1 << (each.rkme.count.bit_length() - 1)
        summary = SpecSummary(each.island.digest, short.values.tobytes(), short.norm2, count, each.committed)
        listing = Listing(
            owner.public, federation, each.id, _revision(each), seq, now, "live",
            SemanticSpec(f"learnware {seq} of {peer_id(owner.public)[-6:]}"), (summary,),
            Offers(disclose="members") if each.disclosed else Offers(), inputs=each.island.dimension, outputs=2,
        )  # fmt: skip
        signed.append(sign_listing(owner.key, listing))
    root = root_of(map(Line.of, signed))
    head = Head(owner.public, federation, now, len(own) + 1, len(own), root, now, now + limits.HEAD_LIFETIME)
    proof = grant(founder.key, federation, owner.public, "", now, roles=("member",), max_listings=limits.LISTINGS)
    if owner is founder:
        proof = grant(
            founder.key, federation, owner.public, "n0", now, roles=("admin", "member"), max_listings=limits.LISTINGS
        )
    records = [each.record for each in signed]
    catalogue.apply(federation, proof, sign_head(owner.key, head).record, records, now, whole=True)


def _stock(home: Path, owner: Identity, row: FederationRow, own: Sequence[Learnware]) -> None:
    """The dock, and the membership of its owner in place of the founder's."""
    manifest = _blob(home, _manifest(owner))
    rows = []
    for each in own:
        spec = SpecRow(each.island.digest, _blob(home, each.rkme.to_bytes()), each.salt)
        rows.append(DockRow(each.id, _revision(each), manifest, manifest, manifest, (spec,)))
    store = Store(home / "store")
    federations, dock = store.table("federations", FederationRow), store.table("dock", DockRow)
    stand_ins = store.table("stand_ins", RkmeRecord)
    made = {hashlib.sha256(each.rkme.to_bytes()).digest(): each.told.record() for each in own if not each.disclosed}
    store.write(lambda txn: federations.put(txn, row.charter.digest, row))
    store.write(lambda txn: [stand_ins.put(txn, key, record) for key, record in made.items()])
    store.write(lambda txn: [dock.put(txn, each.learnware_id, each) for each in rows]).result()
    store.close()


def _revision(each: Learnware) -> bytes:
    return hashlib.sha256(each.id).digest()


def _manifest(owner: Identity) -> bytes:
    """One for all learnwares of an owner: nothing of it is matched."""
    files = (FileEntry("model.onnx", 1, "00" * 32),)
    return Manifest(
        str(owner.peer), 1, SemanticSpec("benchmark"), Signature("classification", 1, 2), ("a",), "model.onnx", "onnx",
        files, (), ("0", "1"),
    ).to_bytes()  # fmt: skip


def _blob(home: Path, data: bytes) -> bytes:
    """A blob that need not outlive a power cut."""
    digest = hashlib.sha256(data).digest()
    path = home / "blobs" / place(digest.hex())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest
