"""One learnware's specification: what its owner discloses of it, asked for as searches ask."""

from __future__ import annotations

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.specs.rkme import Rkme
from atoll.node.search.merge import hit_of
from atoll.node.search.plan import Candidate
from atoll.node.search.query import Filters, SearchQuery, SearchResult, SpecificationQuery
from atoll.node.search.running import Running
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Act
from atoll.protocol.signing import Record

PROBES = 64  # points of a question whose answer is of no interest


def question(listing: Listing, island: Island, deadline_ms: int, user: str) -> SearchQuery:
    """A search for this listing alone, by points that say nothing of anybody's data."""
    one = Filters(
        federation=(listing.federation.hex(),), owner=(peer_id(listing.owner),),
        learnware_id=(listing.learnware_id.hex(),),
    )  # fmt: skip
    asked = SpecificationQuery(island.digest, _anything(island))
    return SearchQuery((asked,), filters=one, limit=1, deadline_ms=deadline_ms, user=user)


def candidate_of(running: Running, listing: Listing, island: bytes | None = None) -> Candidate | None:
    """What a search has learnt of a listing, as it is now: in an island, or in that in which most is known."""
    found = [
        each
        for each in running.candidates
        if (each.listing.owner, each.listing.revision) == (listing.owner, listing.revision)
        and each.listing.learnware_id == listing.learnware_id
        and (island is None or (each.summary is not None and each.summary.island == island))
    ]
    return min(found, key=lambda each: (each.rkme is None, each.stand_in is None, each.estimated), default=None)


def disclosed(running: Running, listing: Listing, island: bytes) -> Rkme | None:
    """The RKME that its owner has given to this user, checked against what the listing commits to."""
    found = candidate_of(running, listing, island)
    return found.rkme if found is not None else None


def signed(listing: Listing, record: Record, owner_name: str, may: tuple[Act, ...]) -> SearchResult:
    """A listing with what its owner has signed, as an answer that `atoll verify` checks."""
    candidate = Candidate(listing, may=may)
    hit = hit_of(candidate, {}, owner_name, record, ())
    return SearchResult("", (hit,), None, (), (), (), {}, True, "", 0)


def _anything(island: Island) -> Rkme:
    points = np.random.default_rng(0).standard_normal((PROBES, island.dimension)).astype(np.float32)
    return Rkme(points, np.full(PROBES, 1.0 / PROBES, np.float32), island.gamma, PROBES)
