"""Round 2: owners' answers into one ranking, and one mixture over learnwares of several owners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.matching import (
    ERROR_BAND,
    Mixture,
    mixture_candidates,
    mixture_of_rkmes,
    mixture_of_sketches,
    similarity,
)
from atoll.engine.packages.manifest import commitment
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch
from atoll.node.search.plan import Candidate
from atoll.node.search.query import Hit, Member, MixtureView, SpecificationQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.match import TOLD_BAND, MatchAnswer, MatchReply

PER_OWNER = 5  # places of one owner in a list
SERVED = 0.5  # share of the user's squared norm that a mixture must explain to be worth reusing
NORM_TOLERANCE = 1e-3


def settle(candidate: Candidate, answer: MatchAnswer) -> Candidate:
    """The candidate with its owner's answer; an answer that contradicts the signed sketch marks it suspect.

    A disclosed RKME counts only if it is the one that the listing commits to. Of a noised sketch nobody knows more
    than the listing says.
    """
    summary = candidate.summary
    if summary is None or summary.dp is not None or answer.revision != candidate.listing.revision:
        return candidate
    rkme = _disclosed(answer, summary.commitment)
    # what is disclosed to some only is listed by its stand-in, from which the truth may differ by the band
    apart = 0.0 if candidate.listing.offers.discloses or rkme is None else TOLD_BAND
    believable = (
        np.isfinite(answer.mmd2)
        and abs(answer.mmd2 - candidate.mmd2) <= ERROR_BAND + apart
        and abs(answer.norm2 - (summary.norm2 if rkme is None else rkme.norm2)) <= NORM_TOLERANCE
    )
    if not believable:
        return msgspec.structs.replace(candidate, suspect=True)
    return msgspec.structs.replace(
        candidate,
        mmd2=max(0.0, answer.mmd2),
        norm2=answer.norm2,
        estimated=False,
        band=TOLD_BAND if rkme is None else 0.0,
        rkme=rkme,
        may=answer.may,
    )


def left_out(candidate: Candidate, reply: MatchReply, asked: int) -> Candidate:
    """The candidate if its owner was ``asked`` for so many and has not named it: it is farther than those that were
    named, or, if there were fewer, not for this user."""
    if candidate.summary is None or candidate.summary.dp is not None:
        return candidate
    if len(reply.answers) < asked:
        return msgspec.structs.replace(candidate, declined=True)
    named = [answer.mmd2 for answer in reply.answers if np.isfinite(answer.mmd2)]
    return msgspec.structs.replace(candidate, floor=max(named, default=0.0) - TOLD_BAND)


def _disclosed(answer: MatchAnswer, committed: bytes) -> Rkme | None:
    if answer.rkme is None or answer.salt is None:
        return None
    try:
        rkme = Rkme.from_record(answer.rkme)
    except AtollError:
        return None
    return rkme if commitment(answer.salt, rkme.to_bytes()) == committed else None


def hits(
    candidates: Sequence[Candidate], asked: dict[bytes, float], names: dict[str, str], limit: int
) -> tuple[Hit, ...]:
    """The ranking as people see it; ``asked`` maps islands to the user's squared norm, ``names`` owners to names."""
    taken: dict[str, int] = {}
    shown = []
    for candidate in candidates:
        taken[candidate.owner] = taken.get(candidate.owner, 0) + 1
        if taken[candidate.owner] <= PER_OWNER:
            shown.append(_hit(candidate, asked, names))
    return tuple(shown[:limit])


def _hit(candidate: Candidate, asked: dict[bytes, float], names: dict[str, str]) -> Hit:
    listing, summary = candidate.listing, candidate.summary
    score = similarity(candidate.mmd2, asked[summary.island], candidate.norm2) if summary else None
    return Hit(
        learnware_id=candidate.id,
        revision=listing.revision.hex(),
        federation=listing.federation.hex(),
        owner=candidate.owner,
        owner_name=names.get(candidate.owner, ""),
        name=listing.semantic.name,
        description=listing.semantic.description,
        task=listing.semantic.task,
        class_names=listing.class_names,
        island=summary.island.hex() if summary else None,
        similarity=score,
        mmd2=candidate.mmd2 if summary else None,
        estimated=candidate.estimated,
        band=candidate.band if summary else None,
        offers=listing.offers,
        may=candidate.may,
        suspect=candidate.suspect,
    )


def mixture(
    candidates: Iterable[Candidate], query: SpecificationQuery, asked: Sketch
) -> tuple[MixtureView, tuple[Candidate, ...]]:
    """The mixture for one island and its members, in one representation: RKMEs if all are known, else sketches."""
    ranked = [c for c in candidates if c.summary and c.summary.island == query.island and not c.suspect]
    sketches = [c.summary.to_sketch() for c in ranked if c.summary]
    places = mixture_candidates(asked, sketches)
    near = [ranked[place] for place in places]
    # what a peer discloses may be of another island than it says
    rkmes = [candidate.rkme for candidate in near if candidate.rkme and candidate.rkme.comparable(query.rkme)]
    if near and len(rkmes) == len(near):
        return _view(mixture_of_rkmes(query.rkme, rkmes), near, query.rkme.norm2, "rkme")
    norm2 = float(np.square(asked.floats(), dtype=np.float64).sum())
    return _view(mixture_of_sketches(asked, [sketches[place] for place in places]), near, norm2, "sketch")


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
