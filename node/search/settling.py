"""Round 1, received: what owners have answered, checked against the listings that they have signed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from atoll.protocol.listings import SpecSummary
from atoll.protocol.match import TOLD_BAND, MatchAnswer, MatchReply

ANSWERS = 50  # learnwares that an owner names, at most
NORM_TOLERANCE = 1e-3
CREDIBLE, APART = 0.6, 0.01  # honest distances are 0.77 to 1.28 of what sketches say; small ones differ by some 0.005
EXACT_TOLERANCE = 1e-6  # between machines, whose exponentials differ in the last digits

Asked = tuple[str, bytes]  # (owner, federation)
Named = tuple[str, bytes, bytes]  # (owner, federation, learnware)


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
        heard = Heard.of(field.island, asked.rkme, query.privacy == "rkme", replies)
        chosen = {int(number) for number in shortlisted} | heard.named(field)
        candidates += heard.settle([field.candidate(number, query.user) for number in sorted(chosen)])
        outside = min(outside, field.unit * heard.outside(field, chosen))
    return Settled(tuple(candidates), float(outside), frozenset(each.owner for each in candidates if each.suspect))


@dataclass(frozen=True)
class Heard:
    """What owners have said of one island. ``query`` is the user's RKME, None where nobody has it but the user; owners
    that were not ``told`` it can say no distance that their listings do not."""

    island: Island
    query: Rkme | None
    told: bool
    replies: Mapping[Asked, MatchReply]
    answers: Mapping[Named, MatchAnswer]

    @classmethod
    def of(cls, island: Island, query: Rkme | None, told: bool, replies: Mapping[Question, MatchReply]) -> Heard:
        here = {(owner, federation): reply for (owner, federation, of), reply in replies.items() if of == island.digest}
        answers = {
            (*who, each.learnware_id): each for who, reply in here.items() for each in (*reply.wanted, *reply.answers)
        }
        return cls(island, query, told and query is not None, here, answers)

    def named(self, field: Field) -> set[int]:
        """The numbers of those that owners have named."""
        wanted: defaultdict[Asked, set[bytes]] = defaultdict(set)
        for owner, federation, learnware_id in self.answers:
            wanted[owner, federation].add(learnware_id)
        found = set()
        for group, (federation, public) in enumerate(field.nearest.placed.owners):
            ids = wanted.get((peer_id(public), federation))
            if ids:
                numbers = np.flatnonzero(field.groups == group).tolist()
                found |= {number for number in numbers if field.row(number)[0].learnware_id in ids}
        return found

    def outside(self, field: Field, chosen: set[int]) -> float:
        """What the distances of the others are at least, given which of them their owners have not named."""
        found = field.nearest
        least: Floats = found.mmd2 - ERROR_BAND
        noised = found.placed.noised[found.places]
        for number, (federation, owner) in enumerate(found.placed.owners):
            reply = self.replies.get((peer_id(owner), federation))
            if reply is not None:
                floor = self._floor(reply)
                of_owner = (field.groups == number) & ~noised
                least[of_owner] = np.inf if floor is None else np.maximum(least[of_owner], floor)
        least[list(chosen)] = np.inf
        return float(least.min(initial=np.inf))

    def settle(self, found: Sequence[Candidate]) -> list[Candidate]:
        """The candidates as they are known now."""
        disclosed = {number: rkme for number, each in enumerate(found) if (rkme := self._disclosed(each)) is not None}
        distances: dict[int, float] = {}
        if self.query is not None and disclosed:
            index = RkmeIndex({f"{number:06d}": rkme for number, rkme in disclosed.items()})
            distances = dict(zip(map(int, index.ids), index.distances(self.query).tolist(), strict=True))
        return [
            self._settle_one(each, disclosed.get(number), distances.get(number)) for number, each in enumerate(found)
        ]

    def _settle_one(self, candidate: Candidate, rkme: Rkme | None, distance: float | None) -> Candidate:
        """The candidate with its owner's answer; one that contradicts the signed listing, or itself, makes it suspect.

        ``rkme`` is the one disclosed, if it is the one that the listing commits to, and ``distance`` the query's to it:
        it is computed here. Of a noised sketch nobody knows more than the listing says.
        """
        summary, answer = candidate.summary, self._answer(candidate)
        if summary is None or summary.dp is not None:
            return candidate
        if answer is None:
            return self._left_out(candidate)
        if answer.revision != candidate.listing.revision:
            return candidate
        if distance is None and not self.told:  # its owner could not measure, and what it tells is no news
            made = rkme is None or not _public(candidate) or _same(summary, rkme, self.island)
            return msgspec.structs.replace(candidate, may=answer.may, rkme=rkme if made else None, suspect=not made)
        measured = answer.mmd2 if distance is None else distance
        norm2 = summary.norm2 if rkme is None else rkme.norm2
        if not (_near(candidate, measured, self.island, rkme) and abs(answer.norm2 - norm2) <= NORM_TOLERANCE):
            return msgspec.structs.replace(candidate, suspect=True)
        return msgspec.structs.replace(
            candidate,
            mmd2=max(0.0, measured),
            norm2=answer.norm2,
            estimated=False,
            band=TOLD_BAND if rkme is None else 0.0,
            rkme=rkme,
            may=answer.may,
            suspect=self.told and distance is not None and not abs(answer.mmd2 - distance) <= EXACT_TOLERANCE,
        )

    def _left_out(self, candidate: Candidate) -> Candidate:
        """The candidate if its owner has answered and not named it: it is farther than those that were named, or, if
        these are fewer than was asked for, not for this user."""
        reply = self.replies.get((candidate.owner, candidate.listing.federation))
        if reply is None:
            return candidate
        floor = self._floor(reply)
        if floor is None:
            return msgspec.structs.replace(candidate, declined=True)
        return msgspec.structs.replace(candidate, floor=floor)

    def _floor(self, reply: MatchReply) -> float | None:
        """What an owner has not named is no nearer than this; None if it has named all that the user may match."""
        if len(reply.answers) < ANSWERS:
            return None
        named = [answer.mmd2 for answer in reply.answers if np.isfinite(answer.mmd2)]
        return max(named, default=0.0) - TOLD_BAND if self.told else 0.0

    def _answer(self, candidate: Candidate) -> MatchAnswer | None:
        return self.answers.get((candidate.owner, candidate.listing.federation, candidate.listing.learnware_id))

    def _disclosed(self, candidate: Candidate) -> Rkme | None:
        """The RKME of its answer, if it is the one that the listing commits to, and of the island."""
        answer = self._answer(candidate)
        if answer is None or answer.rkme is None or answer.salt is None or candidate.summary is None:
            return None
        try:
            rkme = Rkme.from_record(answer.rkme)
        except AtollError:
            return None
        committed = rkme.comparable(self.island) and commitment(answer.salt, rkme.to_bytes())
        return rkme if committed == candidate.summary.commitment else None


def _near(candidate: Candidate, measured: float, island: Island, rkme: Rkme | None) -> bool:
    """Whether a distance is as the listed sketch lets expect, or the sketch is indeed that of the RKME: some err more.

    What is disclosed to some only is listed by its stand-in, from which the truth may differ by its band.
    """
    apart = 0.0 if _public(candidate) or rkme is None else TOLD_BAND
    if np.isfinite(measured) and abs(measured - candidate.mmd2) <= ERROR_BAND + apart:
        return rkme is not None or measured >= CREDIBLE * candidate.mmd2 - APART
    return rkme is not None and _public(candidate) and candidate.summary is not None and (
        _same(candidate.summary, rkme, island)
    )  # fmt: skip


def _public(candidate: Candidate) -> bool:
    """Whether its listed sketch is that of the RKME itself."""
    return candidate.listing.offers.discloses


def _same(summary: SpecSummary, rkme: Rkme, island: Island) -> bool:
    """Whether a listed sketch is that of the RKME; the last digit may differ by machine."""
    listed, made = summary.to_sketch().values, sketch(rkme, island).values
    return bool(np.abs(listed.astype(int) - made.astype(int)).max() <= 1)
