"""The owner's side of search and reuse: matching (node.matching), prediction, packages.

Every act is checked against the policy in the listing of the federation it is asked in. Plain blocking code: the
p2p layer and the HTTP layer call it from worker threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from atoll.engine.encoding import Array
from atoll.engine.errors import DimensionMismatch, SandboxBusy
from atoll.engine.islands import Island
from atoll.engine.matching import support
from atoll.engine.packages import Manifest
from atoll.engine.packages.runnable import require_runnable
from atoll.engine.runtime import ModelPool
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.node.identity import Identity
from atoll.node.matching import Desk, Matcher
from atoll.node.policy import Gate
from atoll.node.policy.support import Supports
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock, Learnware
from atoll.protocol.ask import AskReply, AskRequest
from atoll.protocol.errors import NotFound, OffSpecification
from atoll.protocol.listings import Listing
from atoll.protocol.match import MatchReply, MatchRequest
from atoll.protocol.policy import Asker
from atoll.protocol.predict import MAX_ROWS, Prediction, PredictRequest
from numpy.typing import NDArray


class Owner:
    """Answers users of member nodes; whether the asker's node is one has been checked by the caller."""

    def __init__(
        self,
        identity: Identity,
        catalogue: Catalogue,
        dock: Dock,
        models: ModelPool,
        gate: Gate,
        matcher: Matcher,
        desk: Desk,
    ) -> None:
        self._identity = identity
        self._catalogue = catalogue
        self._dock = dock
        self._models = models
        self.gate = gate
        self.desk = desk
        self._matcher = matcher
        self._supports = Supports()

    def match(self, asker: Asker, request: MatchRequest) -> MatchReply:
        """As the matcher, here and now; whoever serves others does it at the desk."""
        return self._matcher.match(asker, request)

    async def match_soon(self, asker: Asker, request: MatchRequest) -> MatchReply:
        """As :meth:`match`, for the own users: at the desk, or NodeBusy."""
        return await asyncio.wrap_future(self.desk.take(partial(self.match, asker, request)))

    def predict(self, asker: Asker, request: PredictRequest) -> Prediction:
        """Run an own model on the rows that were sent, (n, d) in the island's feature order, raw units.

        OffSpecification where the rows of a peer are nothing like what the model was made for: whoever wants to copy it
        asks everywhere (a guard; quotas bound what is left).
        """
        listing = self._offered(request.federation, request.learnware_id)
        now = now_ms()
        self.gate.require("predict", listing, asker, now)
        rows = request.rows.numpy()
        if rows.ndim != 2 or not 1 <= len(rows) <= MAX_ROWS:
            raise DimensionMismatch(f"rows of shape {rows.shape}: expected 1 to {MAX_ROWS} rows")
        learnware, island = self._dock.get(request.learnware_id), self._catalogue.island(request.island)
        require_runnable(learnware.manifest)
        arranged = arrange(rows, island, learnware.manifest)
        with self._counted(listing, len(rows), asker, now):
            if asker.peer != self._identity.peer:
                self._require_support(asker.peer, rows, learnware, island)
            values = self._models.predict(
                learnware.row.model.hex(), self._dock.model_path(learnware), learnware.manifest.signature, arranged,
                trust="own", needs=learnware.needs,
            )  # fmt: skip
        return Prediction(Array.of(values), listing.class_names)

    def package(self, asker: Asker, federation: bytes, revision: bytes, *, resumed: bool = False) -> tuple[Path, bytes]:
        """The file of a package that may be downloaded, and its SHA-256; one that is ``resumed`` counts no more, if it
        has counted."""
        listing = next((each for each in self._listings(federation) if each.revision == revision), None)
        now = now_ms()
        if listing is None or not self.gate.acts(listing, asker, now):
            raise NotFound("no package of this revision here")
        self.gate.require("download", listing, asker, now)
        counted = resumed and self.gate.used("download", listing, asker, now) > 0
        self.gate.count("download", [(listing, 0 if counted else 1)], asker, now)
        learnware = self._dock.get(listing.learnware_id)
        if learnware.row.revision != revision:  # what is listed is not what is here any more, and promised less
            raise NotFound("there is a newer revision, which is not listed yet")
        return self._dock.served_path(learnware), learnware.row.served

    def ask(self, asker: Asker, request: AskRequest) -> AskReply:
        """Take a request for what the policy grants on request, and say how things stand."""
        return self.gate.ask(self._offered(request.federation, request.learnware_id), asker, request, now_ms())

    def island(self, federation: bytes, digest: bytes) -> bytes:
        """An island definition, inside federations that use it only."""
        if not self._catalogue.uses_island(federation, digest):
            raise NotFound("no such island in this federation")
        return self._catalogue.island(digest).definition

    @contextmanager
    def _counted(self, listing: Listing, rows: int, asker: Asker, now: int) -> Iterator[None]:
        """The rows count from now on, so that no number of frames at a time goes beyond a quota; not any more if in the
        end no model has seen them."""
        counted = self.gate.count("predict", [(listing, rows)], asker, now)
        try:
            yield
        except (SandboxBusy, NotFound):
            self.gate.usage.give_back(counted)
            raise
        except OffSpecification:
            if self._supports.forgiven(asker.peer, listing.learnware_id):
                self.gate.usage.give_back(counted)
            raise

    def _require_support(self, peer: str, rows: NDArray[np.floating], learnware: Learnware, island: Island) -> None:
        specification = learnware.specifications.get(island.digest)
        if specification is None:
            raise NotFound("the learnware has no specification in this island")
        units = island.transform(Table(rows.astype(np.float64), island.names))
        found = support(units, specification, island, np.random.default_rng())
        if not self._supports.admit(peer, learnware.id, len(rows), found):  # how far off would tell of the points
            raise OffSpecification(
                f"{learnware.manifest.semantic.name}: these rows are unlike the data that it is good on",
                hint="search with exactly these rows, and take what is found for them",
            )

    def _listings(self, federation: bytes) -> list[Listing]:
        own = self._catalogue.of_owner(federation, self._identity.public)
        return [listing for listing in own if listing.status == "live"]

    def _offered(self, federation: bytes, learnware_id: bytes) -> Listing:
        listing = self._catalogue.listing(federation, self._identity.public, learnware_id)
        if listing is None or listing.status != "live":
            raise NotFound("no such learnware here")
        return listing


def arrange(rows: NDArray[np.floating], island: Island, manifest: Manifest) -> NDArray[np.float32]:
    """Rows (n, d) in the island's feature order, put into the order of the model's columns; float32."""
    if rows.shape[1] != island.dimension:
        raise DimensionMismatch(f"rows have {rows.shape[1]} columns, the island {island.dimension}")
    return np.ascontiguousarray(rows[:, island.places(manifest.columns)], dtype=np.float32)
