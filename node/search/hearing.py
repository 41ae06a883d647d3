"""Round 1, received: what one owner has answered to one question, checked against the listings that it has signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.matching import ERROR_BAND, RkmeIndex
from atoll.engine.packages.manifest import commitment
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import sketch
from atoll.node.search.plan import Candidate, Field, Question
from atoll.node.search.query import SearchQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import SpecSummary
from atoll.protocol.match import TOLD_BAND, MatchAnswer, MatchReply

ANSWERS = 50  # learnwares that an owner names, at most
NORM_TOLERANCE = 1e-3
CREDIBLE, APART = 0.6, 0.01  # honest distances are 0.77 to 1.28 of what sketches say; small ones differ by some 0.005
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
    pairs = {
        numbers[each.learnware_id]: each
        for each in (*reply.wanted, *reply.answers)
        if each.learnware_id in numbers
    }  # fmt: skip
    candidates = {number: field.candidate(number, query.user) for number in pairs}
    disclosed = {
        number: found for number, each in pairs.items() if (found := _disclosed(candidates[number], each, field.island))
    }
    distances: dict[int, float] = {}
    if rkme is not None and disclosed:
        index = RkmeIndex({f"{number:09d}": each for number, each in disclosed.items()})
        distances = dict(zip(map(int, index.ids), index.distances(rkme).tolist(), strict=True))
    settled = {
        number: _settled(candidates[number], each, field.island, disclosed.get(number), distances.get(number), told)
        for number, each in pairs.items()
    }
    return Heard(settled, _floor(reply, told))


def _settled(
    candidate: Candidate, answer: MatchAnswer, island: Island, rkme: Rkme | None, distance: float | None, told: bool
) -> Candidate:
    """The candidate with its owner's answer; one that contradicts the signed listing, or itself, makes it suspect.

    ``rkme`` is the one disclosed, if it is the one that the listing commits to, and ``distance`` the query's to it: it
    is computed here. Of a noised sketch nobody knows more than the listing says.
    """
    summary = candidate.summary
    if summary is None or summary.dp is not None or answer.revision != candidate.listing.revision:
        return candidate
    if distance is None and not told:  # its owner could not measure, and what it tells is no news
        made = rkme is None or not _public(candidate) or _same(summary, rkme, island)
        return msgspec.structs.replace(candidate, may=answer.may, rkme=rkme if made else None, suspect=not made)
    measured = answer.mmd2 if distance is None else distance
    norm2 = summary.norm2 if rkme is None else rkme.norm2
    if not (_near(candidate, summary, measured, island, rkme) and abs(answer.norm2 - norm2) <= NORM_TOLERANCE):
        return msgspec.structs.replace(candidate, suspect=True)
    return msgspec.structs.replace(
        candidate,
        mmd2=max(0.0, measured),
        norm2=answer.norm2,
        estimated=False,
        band=TOLD_BAND if rkme is None else 0.0,
        rkme=rkme,
        may=answer.may,
        suspect=told and distance is not None and not abs(answer.mmd2 - distance) <= EXACT_TOLERANCE,
    )


def _floor(reply: MatchReply, told: bool) -> float | None:
    if len(reply.answers) < ANSWERS:
        return None
    named = [answer.mmd2 for answer in reply.answers if np.isfinite(answer.mmd2)]
    return max(named, default=0.0) - TOLD_BAND if told else 0.0


def _numbers(field: Field, federation: bytes, owner: str) -> dict[bytes, int]:
    """The numbers of what an owner lists in a federation, by learnware."""
    owners = field.nearest.placed.owners
    group = next(place for place, each in enumerate(owners) if each[0] == federation and peer_id(each[1]) == owner)
    return {field.row(number)[0].learnware_id: number for number in np.flatnonzero(field.groups == group).tolist()}


def _disclosed(candidate: Candidate, answer: MatchAnswer, island: Island) -> Rkme | None:
    """The RKME of an answer, if it is the one that the listing commits to, and of the island."""
    if answer.rkme is None or answer.salt is None or candidate.summary is None:
        return None
    try:
        rkme = Rkme.from_record(answer.rkme)
    except AtollError:
        return None
    committed = rkme.comparable(island) and commitment(answer.salt, rkme.to_bytes())
    return rkme if committed == candidate.summary.commitment else None


def _near(candidate: Candidate, summary: SpecSummary, measured: float, island: Island, rkme: Rkme | None) -> bool:
    """Whether a distance is as the listed sketch lets expect, or the sketch is indeed that of the RKME: some err more.

    What is disclosed to some only is listed by its stand-in, from which the truth may differ by its band.
    """
    apart = 0.0 if _public(candidate) or rkme is None else TOLD_BAND
    if np.isfinite(measured) and abs(measured - candidate.mmd2) <= ERROR_BAND + apart:
        return rkme is not None or measured >= CREDIBLE * candidate.mmd2 - APART
    return rkme is not None and _public(candidate) and _same(summary, rkme, island)


def _public(candidate: Candidate) -> bool:
    """Whether its listed sketch is that of the RKME itself."""
    return candidate.listing.offers.discloses


def _same(summary: SpecSummary, rkme: Rkme, island: Island) -> bool:
    """Whether a listed sketch is that of the RKME; the last digit may differ by machine."""
    listed, made = summary.to_sketch().values, sketch(rkme, island).values
    return bool(np.abs(listed.astype(int) - made.astype(int)).max() <= 1)
