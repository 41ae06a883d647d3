"""What is known of all candidates after some owners have answered, and what of those that nobody has named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from atoll.engine.matching import ERROR_BAND, at_least
from atoll.node.search.hearing import Heard
from atoll.node.search.plan import Candidate, Field, Floats, Plan, Question
from atoll.node.search.query import SearchQuery
from atoll.protocol.ids import peer_id

FAR = 2.0  # times what a sketch says no distance is

Asked = tuple[str, bytes]  # (owner, federation)


class Settled(msgspec.Struct, frozen=True):
    """All candidates as they are known now. No learnware of those that are none is nearer than ``outside``; the
    ``doubted`` owners contradict themselves."""

    candidates: tuple[Candidate, ...]
    outside: float
    doubted: frozenset[str]


def settle(planned: Plan, query: SearchQuery, heard: Mapping[Question, Heard]) -> Settled:
    """What is known after these answers."""
    if not planned.fields:
        return Settled(planned.candidates, np.inf, frozenset())
    candidates: list[Candidate] = []
    outside = np.inf
    for field, shortlisted in zip(planned.fields, planned.shortlisted, strict=True):
        here = {
            (owner, federation): each for (owner, federation, of), each in heard.items() if of == field.island.digest
        }
        named = {number: found for each in here.values() for number, found in each.candidates.items()}
        chosen = sorted({int(number) for number in shortlisted} | named.keys())
        candidates += [named.get(number) or _left_out(field.candidate(number, query), here) for number in chosen]
        outside = min(outside, field.unit * _outside(field, chosen, here))
    return Settled(tuple(candidates), float(outside), frozenset(each.owner for each in candidates if each.suspect))


def _left_out(candidate: Candidate, here: Mapping[Asked, Heard]) -> Candidate:
    """The candidate if its owner has answered and not named it: it is farther than those that were named, or, if these
    are fewer than was asked for, not for this user."""
    heard = here.get((candidate.owner, candidate.listing.federation))
    if heard is None or candidate.summary is None or candidate.summary.dp is not None:
        return candidate
    if heard.floor is None:
        return msgspec.structs.replace(candidate, declined=True)
    if heard.floor > FAR * candidate.mmd2 + ERROR_BAND:
        return msgspec.structs.replace(candidate, suspect=True)  # it is nearer than that
    return msgspec.structs.replace(candidate, floor=heard.floor)


def _outside(field: Field, chosen: Iterable[int], here: Mapping[Asked, Heard]) -> float:
    """What the distances of the others are at least, given which of them their owners have not named."""
    found = field.nearest
    noised = found.placed.noised[found.places]
    least: Floats = np.where(noised, found.mmd2 - ERROR_BAND, at_least(found.mmd2))
    for number, (federation, owner) in enumerate(found.placed.owners):
        heard = here.get((peer_id(owner), federation))
        if heard is not None:
            of_owner = (field.groups == number) & ~noised
            least[of_owner] = np.inf if heard.floor is None else np.maximum(least[of_owner], heard.floor)
    least[list(chosen)] = np.inf
    return float(least.min(initial=np.inf))
