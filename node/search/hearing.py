"""Round 1, received: what one owner has answered to one question, checked against the listings that it has signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.matching import ERROR_BAND, RkmeIndex, at_least
from atoll.engine.packages.manifest import commitment
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import FREQUENCIES, agrees
from atoll.node.search.plan import Candidate, Field, Question
from atoll.node.search.query import SearchQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import SpecSummary
from atoll.protocol.match import MAX_WANTED, TOLD_BAND, MatchAnswer, MatchReply

ANSWERS = 50  # learnwares that an owner names, at most
EVERYWHERE = np.arange(FREQUENCIES)
PROBED = 32  # frequencies at which a stand-in is compared with the listed sketch, others each time
NORM_TOLERANCE = 1e-3
OFF = 0.01  # small distances, of owners who know them, differ by some 0.005 from what sketches say
EXACT_TOLERANCE = 1e-6  # between machines, whose exponentials differ in the last digits


@dataclass(frozen=True)
class Heard:
    """The candidates that an owner has named, as they are known now, by their numbers in the field. What it has not
    named is no nearer than ``floor``; None if it has named all that the user may match."""

    candidates: Mapping[int, Candidate]
    floor: float | None


def hear(query: SearchQuery, field: Field, rkme: Rkme | None, question: Question, reply: MatchReply) -> Heard:
    """``rkme`` is the user's in the field's island, None where nobody has it but the user. Owners that were not told it
    can say no distance that their listings do not."""
    owner, federation, _ = question
    told = query.privacy == "rkme" and rkme is not None
    numbers = _numbers(field, federation, owner)
    answers = {
        numbers[each.learnware_id]: each
        for each in (*reply.wanted[:MAX_WANTED], *reply.answers[:ANSWERS])
        if each.learnware_id in numbers
    }  # fmt: skip
    candidates = {number: field.candidate(number, query) for number in answers}
    given = {number: _given(candidates[number], each, field.island) for number, each in answers.items()}
    distances: dict[int, float] = {}
    points = {f"{number:09d}": each.points for number, each in given.items() if each.points is not None}
    if rkme is not None and points:
        index = RkmeIndex(points)
        distances = dict(zip(map(int, index.ids), index.distances(rkme).tolist(), strict=True))
    settled = {
        number: _settled(candidates[number], each, field.island, given[number], distances.get(number), told)
        for number, each in answers.items()
    }
    return Heard(settled, _floor([each for each in reply.answers if each.learnware_id in numbers], told))


class Given(NamedTuple):
    """What an answer gives of a specification: the RKME that the listing commits to, or the stand-in that its sketch is
    of; ``false`` if it claims to be one and is not."""

    rkme: Rkme | None = None
    stand_in: Rkme | None = None
    false: bool = False

    @property
    def points(self) -> Rkme | None:
        return self.rkme or self.stand_in


def _settled(
    candidate: Candidate, answer: MatchAnswer, island: Island, given: Given, distance: float | None, told: bool
) -> Candidate:
    """The candidate with its owner's answer; one that contradicts the signed listing, or itself, makes it suspect.

    ``distance`` is the query's to what was ``given``: it is computed here. Of a noised sketch nobody knows more than
    the listing says.
    """
    summary = candidate.summary
    if summary is None or summary.dp is not None or answer.revision != candidate.listing.revision:
        return candidate
    if given.false:
        return msgspec.structs.replace(candidate, suspect=True)
    found = msgspec.structs.replace(candidate, may=answer.may, rkme=given.rkme, stand_in=given.stand_in)
    if distance is None and not told:  # its owner could not measure, and what it tells is no news
        return found
    measured = answer.mmd2 if distance is None else distance
    norm2 = summary.norm2 if given.rkme is None else given.rkme.norm2
    near = given.stand_in is not None or _near(candidate, summary, measured, island, given.rkme)
    if not (near and abs(answer.norm2 - norm2) <= NORM_TOLERANCE):
        return msgspec.structs.replace(candidate, suspect=True)
    return msgspec.structs.replace(
        found,
        mmd2=max(0.0, measured),
        norm2=answer.norm2,
        estimated=False,
        band=TOLD_BAND if given.rkme is None else 0.0,
        suspect=told and distance is not None and not abs(answer.mmd2 - distance) <= _tolerance(given, distance),
    )


def _tolerance(given: Given, distance: float) -> float:
    """What an honest answer differs by from what is computed here: of a stand-in it has three digits."""
    return EXACT_TOLERANCE if given.rkme is not None else EXACT_TOLERANCE + 0.006 * distance


def _given(candidate: Candidate, answer: MatchAnswer, island: Island) -> Given:
    summary, record = candidate.summary, answer.rkme or answer.stand_in
    if summary is None or record is None or summary.dp is not None:
        return Given()
    try:
        points = Rkme.from_record(record)
    except AtollError:
        return Given(false=True)
    if not points.comparable(island):
        return Given(false=True)
    if answer.rkme is not None:
        committed = answer.salt is not None and commitment(answer.salt, points.to_bytes()) == summary.commitment
        return Given(rkme=_under(island, points)) if committed else Given(false=True)
    if _public(candidate):  # the listing is not of it, so that it proves nothing
        return Given()
    chosen = np.random.default_rng().choice(FREQUENCIES, PROBED, replace=False)
    true = agrees(summary.to_sketch(), points, island, chosen)
    return Given(stand_in=_under(island, points)) if true else Given(false=True)


def _floor(answers: Sequence[MatchAnswer], told: bool) -> float | None:
    if len(answers) < ANSWERS:
        return None
    named = [answer.mmd2 for answer in answers if np.isfinite(answer.mmd2)]
    return max(named, default=0.0) - TOLD_BAND if told else 0.0


def _numbers(field: Field, federation: bytes, owner: str) -> dict[bytes, int]:
    """The numbers of what an owner lists in a federation, by learnware."""
    owners = field.nearest.placed.owners
    group = next(place for place, each in enumerate(owners) if each[0] == federation and peer_id(each[1]) == owner)
    return {field.row(number)[0].learnware_id: number for number in np.flatnonzero(field.groups == group).tolist()}


def _under(island: Island, points: Rkme) -> Rkme:
    """Under exactly the kernel of the island: two owners' may differ by rounding, and then not be of one island."""
    return replace(points, gamma=island.gamma)


def _near(candidate: Candidate, summary: SpecSummary, measured: float, island: Island, rkme: Rkme | None) -> bool:
    """Whether a distance is as the listed sketch lets expect, or the sketch is indeed that of the RKME: some err more.

    What is disclosed to some only is listed by its stand-in, from which the truth may differ by its band.
    """
    apart = 0.0 if _public(candidate) or rkme is None else TOLD_BAND
    if np.isfinite(measured) and abs(measured - candidate.mmd2) <= ERROR_BAND + apart:
        return rkme is not None or measured >= float(at_least(candidate.mmd2, OFF))
    return rkme is not None and _public(candidate) and agrees(summary.to_sketch(), rkme, island, EVERYWHERE)


def _public(candidate: Candidate) -> bool:
    """Whether its listed sketch is that of the RKME itself."""
    return candidate.listing.offers.discloses
