"""The islands of a search: those of what was given, and all others that it can be moved into."""

from __future__ import annotations

import msgspec
from atoll.engine.islands import Island
from atoll.engine.specs.moving import moved, reachable
from atoll.node.search.plan import SEEN, may_be_found
from atoll.node.search.query import MAX_ISLANDS, SearchQuery, SpecificationQuery
from atoll.node.store.catalogue import Catalogue

ALIKE = 256  # islands of the same features that are looked at


def everywhere(query: SearchQuery, catalogue: Catalogue, now: int) -> tuple[SearchQuery, list[Island]]:
    """The query in every island that what was given can be moved into, those in which most owners list first, and the
    islands."""
    islands = [catalogue.island(each.island) for each in query.specifications]
    known = catalogue.islands()
    more: dict[bytes, tuple[int, Island, SpecificationQuery]] = {}
    for source, each in zip(islands, query.specifications, strict=True):
        for target in reachable(source, known)[:ALIKE] if each.rkme is not None else ():
            if target.digest not in more and target not in islands:
                listed = catalogue.in_island(target.digest, now)
                owners = {listing.owner for listing in listed if may_be_found(listing, query.user)}
                more[target.digest] = (len(owners), source, each)
    chosen = sorted(more, key=lambda digest: (-more[digest][0], digest))[: max(0, MAX_ISLANDS - len(islands))]
    added = []
    for digest in chosen:
        owners_there, source, each = more[digest]
        if owners_there and each.rkme is not None:
            target = catalogue.island(digest)
            there = SpecificationQuery(digest, moved(each.rkme, source, target))
            if there.norm2 < SEEN:  # its units are so coarse, or its kernel so wide, that it tells nothing apart
                islands.append(target)
                added.append(there)
    return msgspec.structs.replace(query, specifications=(*query.specifications, *added)), islands
