"""Round 2: owners' answers into one ranking, and one mixture over learnwares of several owners."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np
from atoll.engine.matching import (
    MAX_MEMBERS,
    MIN_GAIN,
    Mixture,
    mixture_of_rkmes,
    mixture_of_sketches,
    mmd2_of_sketches,
    similarity,
)
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch
from atoll.node.search.plan import NEAREST, Candidate, Field, Key, rank
from atoll.node.search.query import PER_OWNER, Hit, Holder, Member, MixtureView, Representation, SpecificationQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.signing import Record

SERVED = 0.5  # share of the user's squared norm that a mixture must explain to be worth reusing
WORTH, DOUBT = 0.05, 2e-3  # of MMD^2, that an unknown RKME is worth; what sketches that were chosen as the best err by
WEIGHT = 0.2  # in the mixture: of use to this user, however doubtful

Owned = tuple[bytes, bytes]  # Candidate.key


class Folded(msgspec.Struct, frozen=True):
    """``ranked`` is a ranking without the copies of what is in it; ``copies`` are those, by the key of what is shown,
    and in which other federations that is listed."""

    ranked: tuple[Candidate, ...]
    copies: dict[Owned, tuple[Candidate, ...]]

    @property
    def hidden(self) -> set[Owned]:
        """The keys of all copies."""
        return {each.key for copies in self.copies.values() for each in copies} - {each.key for each in self.ranked}


def folded(candidates: Iterable[Candidate]) -> Folded:
    """The ranking of what the user may match, folded: the others are asked about, since their owners may allow it to
    some."""
    matchable = [candidate for candidate in candidates if "match" in candidate.may]
    return fold(rank(matchable), matchable)


def fold(ranked: Sequence[Candidate], everything: Sequence[Candidate]) -> Folded:
    """Of what is listed more than once, or nearly the same, the eldest that is here; ``everything`` is what was ranked,
    as it is listed in whatever island or federation."""
    ranks = {each.key: each for each in ranked}
    eldest: dict[tuple[bytes, Key], Candidate] = {}
    for each in everything:
        if each.key in ranks and (each.group not in eldest or each.age < eldest[each.group].age):
            eldest[each.group] = each
    elder = {key: eldest[each.group].key for key, each in ranks.items()}
    shown = {key: _eldest(elder, key) for key in ranks}
    copies: dict[Owned, dict[Key, Candidate]] = {}
    for each in everything:
        face = shown.get(each.key)
        if face is not None and each.place != ranks[face].place:
            copies.setdefault(face, {})[each.place] = each
    return Folded(
        tuple(each for each in ranked if shown[each.key] == each.key),
        {face: tuple(found.values()) for face, found in copies.items()},
    )


def _eldest(elder: Mapping[Owned, Owned], key: Owned) -> Owned:
    """Where the line of elders from ``key`` ends; ages in several islands may make it a circle."""
    line = [key]
    while (following := elder[line[-1]]) not in line:
        line.append(following)
    return min(line[line.index(following) :])


def hits(
    folded: Folded, weights: Mapping[Owned, float], asked: dict[bytes, float], name: Callable[[str], str],
    record: Callable[[Listing], Record | None], limit: int, per_owner: int = PER_OWNER,
) -> tuple[Hit, ...]:  # fmt: skip
    """The ranking as people see it; ``weights`` are those of the mixture, ``asked`` maps islands to the user's squared
    norm, ``name`` owners to names, and ``record`` gives what an owner has signed."""
    found = []
    for each in shown(folded, weights, limit, per_owner):
        holders = tuple(_holder(copy, name(copy.owner)) for copy in folded.copies.get(each.key, ()))
        found.append(hit_of(each, asked, name(each.owner), record(each.listing), holders))
    return tuple(found)


def shown(folded: Folded, weights: Mapping[Owned, float], limit: int, per_owner: int = PER_OWNER) -> list[Candidate]:
    """Those that are in the list, in its order."""
    taken: dict[str, int] = {}
    found: list[Candidate] = []
    for candidate in sorted(folded.ranked, key=lambda each: demoted(each, weights)):
        taken[candidate.owner] = taken.get(candidate.owner, 0) + 1
        if taken[candidate.owner] <= per_owner:
            found.append(candidate)
        if len(found) == limit:
            break
    return found


def demoted(candidate: Candidate, weights: Mapping[Owned, float]) -> bool:
    """Whether it comes after all others: a hub, of an odd norm or a newcomer's, and of no weight in the mixture."""
    return candidate.doubtful and weights.get(candidate.key, 0.0) < WEIGHT


def _holder(copy: Candidate, owner_name: str) -> Holder:
    return Holder(copy.id, copy.owner, owner_name, copy.listing.federation.hex())


def hit_of(
    candidate: Candidate, asked: dict[bytes, float], owner_name: str, record: Record | None,
    holders: tuple[Holder, ...],
) -> Hit:  # fmt: skip
    """A candidate as people see it."""
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
        hub=candidate.hub,
        holders=holders,
        record=record,
        state="paused" if listing.status == "paused" else "live",
    )


def mixture(
    ranked: Sequence[Candidate], query: SpecificationQuery, field: Field
) -> tuple[MixtureView, tuple[Candidate, ...]]:
    """The mixture for one island and its members, in one representation."""
    return mixture_of(considered(ranked, query, field), query.rkme, field.asked)


def considered(ranked: Sequence[Candidate], query: SpecificationQuery, field: Field) -> list[Candidate]:
    """What the mixture for one island may be made of.

    What is useful only in a mixture ranks badly alone: beside the nearest, what the best mixture of all sketches gives
    weight may be in it (algorithms: matching).
    """
    usable = [c for c in ranked if c.summary and c.summary.island == query.island and not c.suspect]
    wanted = {(listing.learnware_id, listing.owner) for listing, _ in map(field.row, field.nearest.support)}
    for doubtful in (False, True):
        wanted |= {each.key for each in [each for each in usable if each.doubtful == doubtful][:NEAREST]}
    near = [each for each in usable if each.key in wanted]
    sound = [each for each in near if not each.doubtful]
    if sound and all(each.points for each in sound):
        near = [each for each in near if each.points]  # what is doubtful makes no mixture less exact
    return near


def mixture_of(
    near: Sequence[Candidate], user: Rkme | None, asked: Sketch, max_members: int = MAX_MEMBERS,
    min_gain: float = MIN_GAIN,
) -> tuple[MixtureView, tuple[Candidate, ...]]:  # fmt: skip
    """The mixture over ``near``: of RKMEs and stand-ins, which are weighted points both, unless those that are not
    known are worth more than their not being, then of sketches. ``user`` is the user's RKME, if it is to count, and
    ``asked`` the sketch."""
    known = [candidate for candidate in near if candidate.points]
    by_points: Representation = "rkme" if all(candidate.rkme for candidate in known) else "stand-in"
    exact = None
    if user is not None and known:
        points = [candidate.points for candidate in known if candidate.points]
        exact = mixture_of_rkmes(user, points, max_members=max_members, min_gain=min_gain)
        if len(known) == len(near):
            return _view(exact, known, user.norm2, by_points)
    estimated = mixture_of_sketches(asked, _sketches(near), max_members=max_members, min_gain=min_gain)
    if user is not None and exact is not None:
        members = _sketches([known[place] for place in exact.members])
        apart = mmd2_of_sketches(asked, members, exact.weights) - estimated.mmd2
        if apart <= WORTH * estimated.mmd2 + DOUBT:
            return _view(exact, known, user.norm2, by_points)
    norm2 = float(np.square(asked.floats(), dtype=np.float64).sum()) - asked.bias
    return _view(estimated, near, norm2, "sketch")


def _sketches(candidates: Sequence[Candidate]) -> list[Sketch]:
    return [candidate.summary.to_sketch() for candidate in candidates if candidate.summary]


def _view(
    solved: Mixture, near: Sequence[Candidate], norm2: float, representation: Representation
) -> tuple[MixtureView, tuple[Candidate, ...]]:
    chosen = tuple(near[place] for place in solved.members)
    explained = 1.0 - solved.mmd2 / norm2 if norm2 > 0.0 else 0.0  # noise may be all that there is
    members = tuple(
        Member(candidate.id, peer_id(candidate.listing.owner), candidate.listing.semantic.name, weight)
        for candidate, weight in zip(chosen, solved.weights, strict=True)
    )
    view = MixtureView(
        members, solved.mmd2, solved.uncovered, explained, bool(members) and explained >= SERVED, representation
    )  # fmt: skip
    return view, chosen
