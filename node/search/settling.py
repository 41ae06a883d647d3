"""Round 1, received: what owners have answered, checked against the listings that they have signed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec
import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.matching import ERROR_BAND, RkmeIndex
from atoll.engine.packages.manifest import commitment
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import sketch
from atoll.node.search.plan import Candidate, Field, Floats, Plan, Question
from atoll.node.search.query import SearchQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.match import TOLD_BAND, MatchAnswer, MatchReply

ANSWERS = 50  # learnwares that an owner names, at most
NORM_TOLERANCE = 1e-3
EXACT_TOLERANCE = 1e-6  # between machines, whose exponentials differ in the last digits

Answers = dict[tuple[str, bytes, bytes], MatchAnswer]  # (owner, federation, learnware)


class Settled(msgspec.Struct, frozen=True):
    """All candidates as they are known now. No learnware of those that are none is nearer than ``outside``; the
    ``doubted`` owners contradict themselves."""

    candidates: tuple[Candidate, ...]
    outside: float
    doubted: frozenset[str]


def settle(query: SearchQuery, planned: Plan, replies: Mapping[Question, MatchReply]) -> Settled:
    """What is known after these replies."""
    if not planned.fields:
        return Settled(planned.candidates, np.inf, frozenset())
    candidates: list[Candidate] = []
    outside = np.inf
    for field, shortlisted, asked in zip(planned.fields, planned.shortlisted, query.specifications, strict=True):
        here = {(q[0], q[1]): reply for q, reply in replies.items() if q[2] == field.island.digest}
        answers = {(*who, each.learnware_id): each for who, reply in here.items() for each in reply.answers}
        chosen = {int(number) for number in shortlisted} | _named(field, answers)
        found = [field.candidate(number, query.user) for number in sorted(chosen)]
        candidates += _settle_all(found, asked.rkme, field.island, here, answers)
        outside = min(outside, _outside(field, chosen, here))
    return Settled(tuple(candidates), float(outside), frozenset(each.owner for each in candidates if each.suspect))


def settle_one(
    candidate: Candidate, answer: MatchAnswer, island: Island, rkme: Rkme | None, distance: float | None
) -> Candidate:
    """The candidate with its owner's answer; one that contradicts the signed listing, or itself, makes it suspect.

    ``rkme`` is the one disclosed, if it is the one that the listing commits to, and ``distance`` the query's to it: it
    is computed here. Of a noised sketch nobody knows more than the listing says.
    """
    summary = candidate.summary
    if summary is None or summary.dp is not None or answer.revision != candidate.listing.revision:
        return candidate
    measured = answer.mmd2 if distance is None else distance
    norm2 = summary.norm2 if rkme is None else rkme.norm2
    if not (_near(candidate, measured, island, rkme) and abs(answer.norm2 - norm2) <= NORM_TOLERANCE):
        return msgspec.structs.replace(candidate, suspect=True)
    return msgspec.structs.replace(
        candidate,
        mmd2=max(0.0, measured),
        norm2=answer.norm2,
        estimated=False,
        band=TOLD_BAND if rkme is None else 0.0,
        rkme=rkme,
        may=answer.may,
        suspect=distance is not None and not abs(answer.mmd2 - distance) <= EXACT_TOLERANCE,
    )


def _near(candidate: Candidate, measured: float, island: Island, rkme: Rkme | None) -> bool:
    """Whether a distance is as the listed sketch lets expect, or the sketch is indeed that of the RKME: some err more.

    What is disclosed to some only is listed by its stand-in, from which the truth may differ by its band.
    """
    public = candidate.listing.offers.discloses
    apart = 0.0 if public or rkme is None else TOLD_BAND
    if np.isfinite(measured) and abs(measured - candidate.mmd2) <= ERROR_BAND + apart:
        return True
    if rkme is None or not public or candidate.summary is None:
        return False
    listed, made = candidate.summary.to_sketch().values, sketch(rkme, island).values
    return bool(np.abs(listed.astype(int) - made.astype(int)).max() <= 1)  # the last digit may differ by machine


def left_out(candidate: Candidate, reply: MatchReply, asked: int) -> Candidate:
    """The candidate if its owner was ``asked`` for so many and has not named it: it is farther than those that were
    named, or, if there were fewer, not for this user."""
    if candidate.summary is None or candidate.summary.dp is not None:
        return candidate
    floor = _floor(reply, asked)
    if floor is None:
        return msgspec.structs.replace(candidate, declined=True)
    return msgspec.structs.replace(candidate, floor=floor)


def _settle_all(
    found: list[Candidate],
    query: Rkme,
    island: Island,
    replies: Mapping[tuple[str, bytes], MatchReply],
    answers: Answers,
) -> list[Candidate]:
    disclosed = {}
    for number, each in enumerate(found):
        answer = answers.get((each.owner, each.listing.federation, each.listing.learnware_id))
        if answer is not None and each.summary is not None:
            rkme = _disclosed(answer, each.summary.commitment, query)
            if rkme is not None:
                disclosed[f"{number:06d}"] = rkme
    index = RkmeIndex(disclosed)
    distances = dict(zip(index.ids, index.distances(query).tolist(), strict=True))
    settled = []
    for number, each in enumerate(found):
        who = (each.owner, each.listing.federation)
        answer, name = answers.get((*who, each.listing.learnware_id)), f"{number:06d}"
        if answer is not None:
            each = settle_one(each, answer, island, disclosed.get(name), distances.get(name))
        elif who in replies:
            each = left_out(each, replies[who], ANSWERS)
        settled.append(each)
    return settled


def _named(field: Field, answers: Answers) -> set[int]:
    """The numbers of those that owners have named."""
    wanted: defaultdict[tuple[str, bytes], set[bytes]] = defaultdict(set)
    for owner, federation, learnware_id in answers:
        wanted[owner, federation].add(learnware_id)
    found = set()
    for group, (federation, public) in enumerate(field.nearest.placed.owners):
        ids = wanted.get((peer_id(public), federation))
        if ids:
            numbers = np.flatnonzero(field.groups == group).tolist()
            found |= {number for number in numbers if field.row(number)[0].learnware_id in ids}
    return found


def _outside(field: Field, chosen: set[int], replies: Mapping[tuple[str, bytes], MatchReply]) -> float:
    """What the others' distances are at least, given which of them their owners have not named."""
    found = field.nearest
    least: Floats = found.mmd2 - ERROR_BAND
    noised = found.placed.noised[found.places]
    for number, (federation, owner) in enumerate(found.placed.owners):
        reply = replies.get((peer_id(owner), federation))
        if reply is not None:
            floor = _floor(reply, ANSWERS)
            of_owner = (field.groups == number) & ~noised
            least[of_owner] = np.inf if floor is None else np.maximum(least[of_owner], floor)
    least[list(chosen)] = np.inf
    return float(least.min(initial=np.inf))


def _floor(reply: MatchReply, asked: int) -> float | None:
    """What an owner has not named is no nearer than this; None if it has named all that the user may match."""
    if len(reply.answers) < asked:
        return None
    named = [answer.mmd2 for answer in reply.answers if np.isfinite(answer.mmd2)]
    return max(named, default=0.0) - TOLD_BAND


def _disclosed(answer: MatchAnswer, committed: bytes, query: Rkme) -> Rkme | None:
    """The RKME of an answer, if it is the one that the listing commits to, and of the query's island."""
    if answer.rkme is None or answer.salt is None:
        return None
    try:
        rkme = Rkme.from_record(answer.rkme)
    except AtollError:
        return None
    return rkme if rkme.comparable(query) and commitment(answer.salt, rkme.to_bytes()) == committed else None
