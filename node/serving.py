"""The owner's side of search and reuse: matching on its own full specifications, prediction, packages.

Every act is checked against the policy in the listing of the federation it is asked in. Plain blocking code: the
p2p layer and the HTTP layer call it from worker threads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from atoll.engine.encoding import Array
from atoll.engine.errors import DimensionMismatch, QueryTooNarrow, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.matching import RkmeIndex
from atoll.engine.matching.oracle import check_query, nearest_told
from atoll.engine.packages import Manifest
from atoll.engine.runtime import ModelPool
from atoll.engine.specs.rkme import Rkme
from atoll.node.identity import Identity
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock
from atoll.protocol.errors import NotFound, PolicyDenied
from atoll.protocol.listings import Audience, Listing
from atoll.protocol.match import MAX_LIMIT, MatchAnswer, MatchReply, MatchRequest
from atoll.protocol.predict import MAX_ROWS, Prediction, PredictRequest
from numpy.typing import NDArray

OPEN_TO_MEMBERS: tuple[Audience, ...] = ("members", "anyone")


class Owner:
    """Answers members of a federation; whether the asker is one has been checked by the caller."""

    def __init__(self, identity: Identity, catalogue: Catalogue, dock: Dock, models: ModelPool) -> None:
        self._identity = identity
        self._catalogue = catalogue
        self._dock = dock
        self._models = models

    def match(self, request: MatchRequest) -> MatchReply:
        """Rank the learnwares that may be matched: exactly those whose RKME is disclosed to members, which comes with
        the answer; the others as far as can be told of them (engine.matching.oracle).

        Of a learnware under differential privacy there is nothing to say that its listing does not: it is left out.
        Raises QueryTooNarrow if the query is, and nothing is disclosed.
        """
        query = Rkme.from_record(request.rkme)
        island = self._catalogue.island(request.island)
        if not query.comparable(island):
            raise DimensionMismatch("the query does not come from the island that it names")
        listings = {
            listing.learnware_id.hex(): listing
            for listing in self._listings(request.federation)
            if listing.offers.match in OPEN_TO_MEMBERS and request.semantic.matches(listing.semantic)
        }
        found = {id_: self._dock.get(bytes.fromhex(id_)).rkme(island.digest) for id_ in listings}
        rkmes = {id_: rkme for id_, rkme in found.items() if rkme is not None}
        shown = {id_: rkme for id_, rkme in rkmes.items() if listings[id_].offers.disclose in OPEN_TO_MEMBERS}
        hidden = {id_: rkme for id_, rkme in rkmes.items() if id_ not in shown}
        pairs = _ranked(query, shown, hidden, min(request.limit, MAX_LIMIT))
        return MatchReply(tuple(self._answer(listings[id_], island, shown.get(id_), mmd2) for id_, mmd2 in pairs))

    def predict(self, request: PredictRequest) -> Prediction:
        """Run an own model on the rows that were sent."""
        listing = self._offered(request.federation, request.learnware_id)
        if listing.offers.predict not in OPEN_TO_MEMBERS:
            raise PolicyDenied(f"{listing.semantic.name}: the owner does not offer prediction")
        rows = request.rows.numpy()
        if rows.ndim != 2 or not 1 <= len(rows) <= MAX_ROWS:
            raise DimensionMismatch(f"rows of shape {rows.shape}: expected 1 to {MAX_ROWS} rows")
        return Prediction(Array.of(self.run(request.learnware_id, request.island, rows)), listing.class_names)

    def run(self, learnware_id: bytes, island: bytes, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """Run an own model for this node itself; rows (n, d) in the island's feature order, raw units."""
        learnware = self._dock.get(learnware_id)
        arranged = arrange(rows, self._catalogue.island(island), learnware.manifest)
        return self._models.predict(
            learnware.row.model.hex(), self._dock.model_path(learnware), learnware.manifest.signature, arranged
        )

    def package(self, federation: bytes, revision: bytes) -> Path:
        """The file of a package that may be downloaded."""
        for listing in self._listings(federation):
            if listing.revision == revision:
                if listing.offers.download not in OPEN_TO_MEMBERS:
                    raise PolicyDenied(f"{listing.semantic.name}: the owner does not offer download")
                return self._dock.served_path(self._dock.get(listing.learnware_id))
        raise NotFound("no package of this revision here")

    def island(self, federation: bytes, digest: bytes) -> bytes:
        """An island definition, inside federations that use it only."""
        if not self._catalogue.uses_island(federation, digest):
            raise NotFound("no such island in this federation")
        return self._catalogue.island(digest).definition

    def _listings(self, federation: bytes) -> list[Listing]:
        own = self._catalogue.of_owner(federation, self._identity.public)
        return [listing for listing in own if listing.status == "live"]

    def _offered(self, federation: bytes, learnware_id: bytes) -> Listing:
        listing = self._catalogue.listing(federation, self._identity.public, learnware_id)
        if listing is None or listing.status != "live":
            raise NotFound("no such learnware here")
        return listing

    def _answer(self, listing: Listing, island: Island, shown: Rkme | None, mmd2: float) -> MatchAnswer:
        if shown is None:
            listed = next(spec.norm2 for spec in listing.specifications if spec.island == island.digest)
            return MatchAnswer(listing.learnware_id, listing.revision, mmd2, listed)
        row = self._dock.get(listing.learnware_id).row
        salt = next(spec.salt for spec in row.specifications if spec.island == island.digest)
        return MatchAnswer(listing.learnware_id, listing.revision, mmd2, shown.norm2, shown.record(), salt)


def _ranked(query: Rkme, shown: dict[str, Rkme], hidden: dict[str, Rkme], limit: int) -> list[tuple[str, float]]:
    """The ``limit`` nearest ids and what may be said of their distance, ascending, ties by id."""
    ids, distances = RkmeIndex(shown).nearest(query, limit)
    pairs = list(zip(ids, distances.tolist(), strict=True))
    try:
        if hidden:
            check_query(query)
            ids, distances = nearest_told(query, hidden, limit)
            pairs += zip(ids, distances.tolist(), strict=True)
    except QueryTooNarrow:
        if not shown:
            raise
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))[:limit]


def arrange(rows: NDArray[np.floating], island: Island, manifest: Manifest) -> NDArray[np.float32]:
    """Rows (n, d) in the island's feature order, put into the order of the model's columns; float32."""
    if rows.shape[1] != island.dimension:
        raise DimensionMismatch(f"rows have {rows.shape[1]} columns, the island {island.dimension}")
    places = {name: place for place, name in enumerate(island.names)}
    missing = [name for name in manifest.columns if name not in places]
    if missing:
        raise SpecificationError(f"the model takes columns that the island lacks: {', '.join(missing[:8])}")
    return np.ascontiguousarray(rows[:, [places[name] for name in manifest.columns]], dtype=np.float32)
