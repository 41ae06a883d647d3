"""Whether an answer holds, offline: every hit is compared with the listing that its owner has signed.

What no owner signs is not judged: names of owners, which are the node's, and whether the list is complete. An owner's
node may allow a user more than its listing promises to all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.matching import ERROR_BAND, SketchIndex, similarity
from atoll.engine.specs.noised import Specification
from atoll.engine.specs.sketch import Sketch
from atoll.node.search.query import Hit, SearchResult, SpecificationQuery
from atoll.protocol.ids import parse_digest, public_key
from atoll.protocol.listings import Listing, SpecSummary, open_listing
from atoll.protocol.match import TOLD_BAND

ROUNDING = 1e-3  # of distances between sketches, whose last digits may differ by machine
NORM_TOLERANCE = 2e-3  # of squared norms: what a listing says, and what its owner does
SHOWN = ("name", "description", "task", "data", "library", "scenario", "license")


class Proof(msgspec.Struct, frozen=True):
    """A hit and what is wrong with it, in words; nothing, if it is what its owner has signed."""

    learnware_id: str
    owner: str
    name: str
    faults: tuple[str, ...]


def proofs(answer: SearchResult, fitted: Sequence[tuple[Island, Specification]] = ()) -> list[Proof]:
    """One for each hit. With what was searched by, distances are compared with the signed sketches too: ``fitted`` is
    what was sent and, for islands into which the node has moved it, what ``search.fitting.elsewhere`` makes of it."""
    asked = {
        island.id: (query, query.sketch(island))
        for island, query in ((island, SpecificationQuery(island.digest, given)) for island, given in fitted)
    }
    return [Proof(hit.learnware_id, hit.owner, hit.name, tuple(_faults(hit, asked))) for hit in answer.hits]


def unproven(answer: SearchResult) -> list[str]:
    """Names in the mixture that are not among the hits: their signed listings did not come with the answer."""
    there = {(hit.learnware_id, hit.owner): hit.name for hit in answer.hits}
    members = answer.mixture.members if answer.mixture else ()
    return [member.name for member in members if there.get((member.learnware_id, member.owner)) != member.name]


def _faults(hit: Hit, asked: Mapping[str, tuple[SpecificationQuery, Sketch]]) -> Iterator[str]:
    if hit.record is None:
        yield "it comes without its signed listing"
        return
    try:
        owner, federation = public_key(hit.owner), parse_digest(hit.federation)
        listing = open_listing(hit.record, owner=owner, federation=federation).listing
    except AtollError as error:
        yield error.message
        return
    yield from _differences(hit, listing)
    if hit.island is None:
        return
    summary = next((each for each in listing.specifications if each.island.hex() == hit.island), None)
    if summary is None:
        yield "the signed listing has no specification in the island shown"
    elif hit.island in asked:
        yield from _distances(hit, summary, *asked[hit.island])


def _differences(hit: Hit, listing: Listing) -> Iterator[str]:
    signed: dict[str, object] = {name: getattr(listing.semantic, name) for name in SHOWN}
    signed |= {
        "learnware_id": listing.learnware_id.hex(), "revision": listing.revision.hex(), "offers": listing.offers,
        "class_names": listing.class_names, "dimension": listing.inputs,
    }  # fmt: skip
    different = [name for name, value in signed.items() if getattr(hit, name) != value]
    if different:
        yield f"not as signed: {', '.join(different)}"
    if listing.status != hit.state:
        yield f"its owner has signed that it is {listing.status}"


def _distances(hit: Hit, summary: SpecSummary, query: SpecificationQuery, own: Sketch) -> Iterator[str]:
    """An owner's distance is exact; the sketch says about where it must be."""
    if hit.mmd2 is None or hit.similarity is None:
        yield "it has no distance"
        return
    (expected,) = SketchIndex({"": summary.to_sketch()}).distances(own)
    tolerance = ROUNDING if hit.estimated else ERROR_BAND + TOLD_BAND
    if not abs(hit.mmd2 - expected) <= tolerance:
        yield f"its MMD² of {hit.mmd2:.4f} is not that to the signed sketch, {expected:.4f}"
    least, most = (
        similarity(hit.mmd2, query.norm2, max(0.0, summary.norm2 + off)) for off in (-NORM_TOLERANCE, NORM_TOLERANCE)
    )
    if not least - 1e-6 <= hit.similarity <= most + 1e-6:
        yield f"its similarity of {hit.similarity:.4f} does not follow from its MMD²"
