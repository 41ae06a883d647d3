"""The answer to what is known: hits and whether they are certain, mixture, advice. No effects, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from atoll.engine.semantic import SemanticQuery
from atoll.node.language import later
from atoll.node.search import merge
from atoll.node.search.certainty import certain, contends
from atoll.node.search.plan import Candidate, Plan
from atoll.node.search.query import Filters, Hit, MixtureView, SearchQuery
from atoll.node.search.running import Ground, Session
from atoll.node.search.settling import Settled
from atoll.protocol.listings import Listing
from atoll.protocol.signing import Record


class Found(msgspec.Struct, frozen=True):
    """``session`` is what a prediction needs, where there is a mixture."""

    hits: tuple[Hit, ...]
    certain: bool
    mixture: MixtureView | None
    session: Session | None
    advice: str


@dataclass(frozen=True)
class Directory:
    """What is known beside the candidates: the ``name`` of a peer, and the ``record`` that an owner has signed."""

    name: Callable[[str], str]
    record: Callable[[Listing], Record | None]


def provisional(query: SearchQuery, planned: Plan, directory: Directory) -> tuple[Hit, ...]:
    """The hits before anybody was asked."""
    return _hits(query, merge.folded(planned.candidates), None, directory)


def answered(query: SearchQuery, planned: Plan, settled: Settled, directory: Directory) -> Found:
    """The answer to what owners have said so far."""
    folded = merge.folded(settled.candidates)
    found, session = _best_mixture(query, folded.ranked, planned)
    if session is not None:
        session = msgspec.structs.replace(session, grounds=_grounds(query, settled, planned))
    hits = _hits(query, folded, session, directory)
    sure = not query.specifications or (not settled.doubted and _certain(query, folded, settled, hits, session))
    return Found(hits, sure, found, session, _advice(query, settled, found))


def _hits(query: SearchQuery, folded: merge.Folded, session: Session | None, directory: Directory) -> tuple[Hit, ...]:
    norms = {each.island: each.norm2 for each in query.specifications}
    return merge.hits(folded, _weights(session), norms, directory.name, directory.record, query.limit, query.per_owner)


def _weights(session: Session | None) -> dict[tuple[bytes, bytes], float]:
    """Of the mixture's members."""
    if session is None:
        return {}
    weights = (member.weight for member in session.mixture.members)
    return {each.key: weight for each, weight in zip(session.members, weights, strict=True)}


def _certain(
    query: SearchQuery, folded: merge.Folded, settled: Settled, shown: tuple[Hit, ...], session: Session | None
) -> bool:
    """Whether what is shown, in its order, is what owners would say who had all been asked about everything.

    Copies come in with what they are copies of. What is demoted comes after whatever else there is, and is that for
    certain if it has been measured and an exact mixture gives it no weight. Of a user whom nobody knows but by noise
    nothing is certain.
    """
    if any(each.rkme is None for each in query.specifications) or any(hit.estimated for hit in shown):
        return False
    weights = _weights(session)
    last, here = {each.key for each in folded.ranked if merge.demoted(each, weights)}, {e.key for e in folded.ranked}
    ranked = [each for each in folded.ranked if each.key not in last]
    places = {(each.id, each.owner): place for place, each in enumerate(ranked)}
    deepest = max((places.get((hit.learnware_id, hit.owner), len(ranked)) for hit in shown), default=len(ranked))
    full = len(shown) == query.limit and deepest < len(ranked)
    considered = ranked[: deepest + 1] if full else ranked
    reach = max((each.most for each in considered), default=np.inf) if full else np.inf
    doubtful = [each for each in folded.ranked if each.doubtful and each.least <= reach]
    exact = session is not None and session.mixture.representation == "rkme"
    if doubtful and not (exact and all(not each.estimated and each.key not in weights for each in doubtful)):
        return False
    aside = last | folded.hidden
    others = [each for each in settled.candidates if contends(each) and each.key not in aside]
    if not full and (np.isfinite(settled.outside) or not {each.key for each in others} <= here):
        return False
    return certain(ranked, others, settled.outside, len(considered))


def _best_mixture(
    query: SearchQuery, ranked: Sequence[Candidate], planned: Plan
) -> tuple[MixtureView | None, Session | None]:
    """Of the query's islands, the one whose mixture explains the user best."""
    best: tuple[MixtureView, Session] | None = None
    for field, asked in zip(planned.fields, query.specifications, strict=True):
        view, members = merge.mixture(ranked, asked, field)
        if best is None or view.explained > best[0].explained:
            best = (view, Session(field.island, members, view))
    return best or (None, None)


def _grounds(query: SearchQuery, settled: Settled, planned: Plan) -> tuple[Ground, ...]:
    """What the user may reuse, island by island. What may not be used takes no weight from what may, and hides none of
    its copies."""
    usable = merge.folded(each for each in settled.candidates if {"predict", "download"} & set(each.may)).ranked
    grounds = []
    for field, asked in zip(planned.fields, query.specifications, strict=True):
        near = tuple(merge.considered(usable, asked, field))
        if near:
            grounds.append(Ground(field.island, asked, field.asked, near))
    return tuple(grounds)


def _advice(query: SearchQuery, settled: Settled, found: MixtureView | None) -> str:
    """A sentence, which is translated where it is shown."""
    anything = any("match" in each.may for each in settled.candidates)
    if not query.specifications:
        return "" if anything else later("No learnware fits these words and tags.")
    if not anything and query.semantic == SemanticQuery() and query.filters == Filters():
        return later("No learnware is in an island compatible with your data.")
    if not anything:
        return later("No learnware that fits these words, tags and filters is in an island compatible with your data.")
    if found is None or not found.served:
        return later("No learnware here covers your data: predictions would be guesses.")
    if not found.well:
        return later("The learnwares here explain only a part of your data: they may not know what is in your rows.")
    return ""
