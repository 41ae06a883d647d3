"""Round 2: owners' answers into one ranking, and one mixture over learnwares of several owners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from atoll.engine.matching import Mixture, mixture_of_rkmes, mixture_of_sketches, similarity
from atoll.node.search.plan import NEAREST, Candidate, Field
from atoll.node.search.query import Hit, Member, MixtureView, SpecificationQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.signing import Record

PER_OWNER = 5  # places of one owner in a list
SERVED = 0.5  # share of the user's squared norm that a mixture must explain to be worth reusing


def hits(
    candidates: Sequence[Candidate], asked: dict[bytes, float], name: Callable[[str], str],
    record: Callable[[Listing], Record | None], limit: int,
) -> tuple[Hit, ...]:  # fmt: skip
    """The ranking as people see it; ``asked`` maps islands to the user's squared norm, ``name`` owners to names, and
    ``record`` gives what an owner has signed."""
    taken: dict[str, int] = {}
    shown = []
    for candidate in candidates:
        taken[candidate.owner] = taken.get(candidate.owner, 0) + 1
        if taken[candidate.owner] <= PER_OWNER:
            shown.append(candidate)
        if len(shown) == limit:
            break
    return tuple(_hit(each, asked, name(each.owner), record(each.listing)) for each in shown)


def _hit(candidate: Candidate, asked: dict[bytes, float], owner_name: str, record: Record | None) -> Hit:
    listing, summary, semantic = candidate.listing, candidate.summary, candidate.listing.semantic
    score = similarity(candidate.mmd2, asked[summary.island], candidate.norm2) if summary else None
    return Hit(
        learnware_id=candidate.id,
        revision=listing.revision.hex(),
        federation=listing.federation.hex(),
        owner=candidate.owner,
        owner_name=owner_name,
        name=semantic.name,
        description=semantic.description,
        task=semantic.task,
        class_names=listing.class_names,
        island=summary.island.hex() if summary else None,
        similarity=score,
        mmd2=candidate.mmd2 if summary else None,
        estimated=candidate.estimated,
        band=candidate.band if summary else None,
        offers=listing.offers,
        may=candidate.may,
        suspect=candidate.suspect,
        data=semantic.data,
        library=semantic.library,
        scenario=semantic.scenario,
        license=semantic.license,
        dimension=listing.inputs,
        record=record,
    )


def mixture(
    ranked: Sequence[Candidate], query: SpecificationQuery, field: Field
) -> tuple[MixtureView, tuple[Candidate, ...]]:
    """The mixture for one island and its members, in one representation: RKMEs if all are known, else sketches.

    What is useful only in a mixture ranks badly alone: beside the nearest, what the best mixture of all sketches gives
    weight may be in it (algorithms: matching).
    """
    usable = [c for c in ranked if c.summary and c.summary.island == query.island and not c.suspect]
    support = {(listing.learnware_id, listing.owner) for listing, _ in map(field.row, field.nearest.support)}
    near = [
        candidate
        for place, candidate in enumerate(usable)
        if place < NEAREST or (candidate.listing.learnware_id, candidate.listing.owner) in support
    ]
    rkmes = [candidate.rkme for candidate in near if candidate.rkme]
    if query.rkme is not None and near and len(rkmes) == len(near):
        return _view(mixture_of_rkmes(query.rkme, rkmes), near, query.rkme.norm2, "rkme")
    norm2 = float(np.square(field.asked.floats(), dtype=np.float64).sum()) - field.asked.bias
    sketches = [candidate.summary.to_sketch() for candidate in near if candidate.summary]
    return _view(mixture_of_sketches(field.asked, sketches), near, norm2, "sketch")


def _view(
    solved: Mixture, near: list[Candidate], norm2: float, representation: Literal["rkme", "sketch"]
) -> tuple[MixtureView, tuple[Candidate, ...]]:
    chosen = tuple(near[place] for place in solved.members)
    explained = 1.0 - solved.mmd2 / norm2
    members = tuple(
        Member(candidate.id, peer_id(candidate.listing.owner), candidate.listing.semantic.name, weight)
        for candidate, weight in zip(chosen, solved.weights, strict=True)
    )
    view = MixtureView(
        members, solved.mmd2, solved.uncovered, explained, bool(members) and explained >= SERVED, representation
    )  # fmt: skip
    return view, chosen
