"""What is to be said of a learnware beside its specification: offers and to whom, quality, checks, use."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from atoll.engine.packages.acceptance import AcceptanceReport
from atoll.engine.runtime.formats import CODE
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.clock import now_ms
from atoll.node.language import later
from atoll.node.reuse.measured import measured
from atoll.node.web.learnwares.browsing import acts
from atoll.node.web.learnwares.finding import Shown, may
from atoll.node.web.learnwares.kept import Said
from atoll.protocol.ids import public_key
from atoll.protocol.limits import DAY
from atoll.protocol.listings import Audience, Listing
from atoll.protocol.policy import ACTS, Act

if TYPE_CHECKING:
    from atoll.node.web.visit import Visit

DAYS = 30
AUDIENCES: dict[Audience, str] = {
    "nobody": later("nobody"), "ask": later("whoever its owner says yes to"),
    "members": later("the signed-in users of all member nodes"), "anyone": later("anyone at a member node"),
}  # fmt: skip
OFFERED: dict[Act, str] = {
    "match": later("Find it, and match data with it"), "disclose": later("See its reduced set"),
    "predict": later("Have rows predicted by its owner"), "download": later("Download the package"),
}  # fmt: skip
DONE: dict[Act, str] = {
    "match": later("matches"), "disclose": later("disclosures"), "predict": later("rows predicted"),
    "download": later("downloads"),
}  # fmt: skip
STANDS: dict[str, str] = {
    "open": later("allowed"), "closed": later("not offered"), "pending": later("asked, not answered yet"),
    "granted": later("granted"), "denied": later("denied"), "revoked": later("taken back"), "expired": later("ended"),
}  # fmt: skip
OUTCOMES: dict[str, str] = {"passed": later("passed"), "failed": later("failed"), "advisory": later("worth a look")}


class Quality(NamedTuple):
    """A figure measured on ``rows`` labelled rows, and where it is a share, its 95 % interval."""

    metric: str
    value: float
    rows: int
    low: float | None
    high: float | None


class Offer(NamedTuple):
    """An act, for whom it is in each federation of ``listings``, and how it stands with the visitor: allowed, or that
    its owner may be asked."""

    act: Act
    audiences: tuple[Audience, ...]
    allowed: bool
    on_request: bool
    state: str = ""
    until: int = 0


class Used(NamedTuple):
    """How much was done with an own learnware in the last days, and by how many institutions."""

    act: Act
    amount: int
    peers: int


def quality(shown: Shown) -> Quality | None:
    """As its owner's checks have measured it."""
    found = shown.own.row.quality if shown.own is not None else shown.listing.quality if shown.listing else None
    if found is None:
        return None
    if found.metric != "accuracy" or not 0.0 <= found.value <= 1.0 or found.rows < 1:
        return Quality(found.metric, found.value, found.rows, None, None)
    errors = measured((1.0 - found.value, 0.0), found.rows, "classification")
    return Quality(found.metric, found.value, found.rows, 1.0 - errors.high, 1.0 - errors.low)


def offers(visit: Visit, shown: Shown, said: Said | None) -> tuple[Offer, ...]:
    """By act. What the owner has said holds over what the listings promise to all."""
    promised, states = may(shown, visit), {each.act: each for each in said.states} if said is not None else {}
    found = []
    for act in ACTS:
        audiences = tuple(getattr(each.offers, act) for each in shown.listings)
        told = states.get(act)
        allowed = act in promised if told is None else told.state in ("open", "granted")
        on_request = not allowed and "ask" in audiences and (told is None or told.state != "pending")
        state, until = (told.state, told.until) if told is not None else ("", 0)
        found.append(Offer(act, audiences, allowed, on_request, state, until))
    return tuple(found)


def acting(visit: Visit, shown: Shown, act: Act) -> Listing | None:
    """The live listing by which the visitor acts: one that allows it, else one that takes requests, else any."""
    live = shown.live_listings
    allows = [each for each in live if act in acts(visit, each)]
    asks = [each for each in live if getattr(each.offers, act) == "ask"]
    return next(iter(allows + asks + live), None)


def is_code(shown: Shown) -> bool:
    """Whether its package, which is here, holds code that this node has not let in, of somebody else."""
    return shown.fetched is not None and shown.fetched.model_format in CODE


def admitted(visit: Visit, shown: Shown) -> bool:
    return visit.node.code.admits(public_key(shown.owner), shown.revision)


def taken_in(visit: Visit, shown: Shown) -> tuple[SubmissionRow, ...]:
    """The packages of an own learnware that were accepted, the newest first."""
    return tuple(each for each in visit.node.acceptance.all() if each.learnware_id == shown.id)


def checks(submissions: tuple[SubmissionRow, ...]) -> AcceptanceReport | None:
    """Of the newest that went through all of them: other words alone are not checked again."""
    reports = [each.report for each in submissions if each.report is not None]
    return next((each for each in reports if len(each.steps) > 1), reports[0] if reports else None)


def used(visit: Visit, shown: Shown) -> tuple[Used, ...]:
    """What was done with an own learnware; reads the store: call it in a thread."""
    since, amounts = now_ms() - DAYS * DAY, Counter[Act]()
    peers: dict[Act, set[str]] = {}
    for each in visit.node.gate.usage.of(shown.id):
        if each.day >= since - DAY:
            amounts[each.act] += each.amount
            peers.setdefault(each.act, set()).add(each.peer_id)
    return tuple(Used(act, amounts[act], len(peers[act])) for act in ACTS if amounts[act])
