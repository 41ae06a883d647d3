"""Reuse: route the user's rows over the members of a mixture, run each where its owner allows, combine.

A member that offers download is fetched once, checked, and run here in the sandbox; one that offers prediction
gets only the rows in which it has a say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import numpy as np
from atoll.engine.encoding import Array
from atoll.engine.errors import DimensionMismatch, ModelError, ModelRefused, NotFinite
from atoll.engine.islands import Island
from atoll.engine.packages import Manifest
from atoll.engine.reuse import mean, route_by_rkme, route_by_sketch, sparse, spread, union, vote_by_prob
from atoll.engine.runtime import ModelPool
from atoll.engine.tables import Table
from atoll.node.errors import NothingFound
from atoll.node.p2p.network import Network
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.reuse.downloads import Downloads
from atoll.node.reuse.result import Place, PredictionResult
from atoll.node.search.plan import Candidate
from atoll.node.search.running import Session
from atoll.node.search.service import Searcher
from atoll.node.serving import Owner, arrange
from atoll.node.store.blobs import BlobStore
from atoll.node.store.code import AdmittedCode
from atoll.protocol.ask import AskRequest
from atoll.protocol.errors import PolicyDenied
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Act, Asker
from atoll.protocol.predict import PredictRequest
from numpy.typing import NDArray


class Reuser:
    """Runs on the asyncio side; models and matrices in worker threads."""

    def __init__(
        self,
        searcher: Searcher,
        network: Network,
        owner: Owner,
        own: str,
        downloads: Downloads,
        blobs: BlobStore,
        models: ModelPool,
        pseudonyms: Pseudonyms,
        code: AdmittedCode,
    ) -> None:
        self._searcher = searcher
        self._network = network
        self._owner = owner
        self._own = own
        self._downloads = downloads
        self._blobs = blobs
        self._models = models
        self._pseudonyms = pseudonyms
        self._code = code

    async def predict(
        self, search_id: str, rows: Table, prefer: Place = "local", force: bool = False, user: str = ""
    ) -> PredictionResult:
        """Predict ``rows`` (raw units) with the mixture of a search, for ``user`` of this node.

        NothingFound where the search found nobody who covers the data, unless ``force``; PolicyDenied if no
        member may be used.
        """
        session = self._searcher.session(search_id, user)
        if not session.members or not (session.mixture.served or force):
            raise NothingFound("no learnware covers this data", hint="look for other learnwares, or force it")
        raw = _raw(rows, session.island)
        places, skipped = self._places(session.members, prefer)
        members = [member for member in session.members if member.id in places]
        weights = [m.weight for m in session.mixture.members if m.learnware_id in places]
        posterior = await asyncio.to_thread(_route, session, members, weights, rows)
        outputs = await asyncio.gather(
            *(
                self._run(member, places[member.id], session.island, raw, posterior[:, k], user)
                for k, member in enumerate(members)
            )
        )
        class_names, values = _combine([member.listing for member in members], outputs, posterior)
        counts = dict.fromkeys(("local", "remote"), 0)
        for k, member in enumerate(members):
            counts[places[member.id]] += int((posterior[:, k] > 0).sum())
        labels = tuple(class_names[place] for place in values.argmax(axis=1)) if class_names else ()
        return PredictionResult(
            class_names, labels, tuple(map(tuple, values.tolist())), counts["local"], counts["remote"], places, skipped
        )

    async def predict_with(
        self, listing: Listing, island: Island, rows: Table, prefer: Place = "local", user: str = ""
    ) -> PredictionResult:
        """Predict ``rows`` (raw units) with one learnware, here or at its owner, as its owner allows the user."""
        member = Candidate(listing, may=await self._may(listing, user))
        places, _ = self._places((member,), prefer)
        place = places[member.id]
        values = await self._run(member, place, island, _raw(rows, island), np.ones(len(rows.values)), user)
        names = listing.class_names
        labels = tuple(names[chosen] for chosen in values.argmax(axis=1)) if names else ()
        here, there = (len(values), 0) if place == "local" else (0, len(values))
        return PredictionResult(names, labels, tuple(map(tuple, values.tolist())), here, there, places, {})

    async def _may(self, listing: Listing, user: str) -> tuple[Act, ...]:
        """What the user may do with a learnware, by its owner."""
        owner, pseudonym = peer_id(listing.owner), self._pseudonyms.of(user, listing.federation)
        request = AskRequest(listing.federation, listing.learnware_id, user=pseudonym)
        if owner == self._own:
            reply = await asyncio.to_thread(self._owner.ask, Asker(owner, pseudonym), request)
        else:
            reply = await self._network.request(owner, request)
        return tuple(each.act for each in reply.states if each.state in ("open", "granted"))

    def _places(self, members: tuple[Candidate, ...], prefer: Place) -> tuple[dict[str, Place], dict[str, str]]:
        places: dict[str, Place] = {}
        skipped: dict[str, str] = {}
        for member in members:
            own = member.owner == self._own
            local, remote = ("predict" if own else "download") in member.may, not own and "predict" in member.may
            if local and (prefer == "local" or not remote):
                places[member.id] = "local"
            elif remote:
                places[member.id] = "remote"
            else:
                skipped[member.id] = "its owner offers you neither download nor prediction"
        if not places:
            raise PolicyDenied(
                "no owner offers you download or prediction",
                hint="ask the owners: `atoll learnware ask`",
            )
        return places, skipped

    async def _run(
        self, member: Candidate, place: Place, island: Island, raw: NDArray[np.float64], share: NDArray[np.float64],
        user: str,
    ) -> NDArray[np.float64]:  # fmt: skip
        """The member's output (n, outputs), zero in the rows where it has no say."""
        chosen = np.flatnonzero(share > 0)
        outputs = np.zeros((len(raw), member.listing.outputs))
        if len(chosen) == 0:
            return outputs
        rows = raw[chosen].astype(np.float32)
        if member.owner == self._own or place == "remote":
            values = await self._at_owner(member, island, rows, self._pseudonyms.of(user, member.listing.federation))
        else:
            values = await self._here(member, island, rows, user)
        if values.shape != (len(rows), member.listing.outputs):
            raise ModelError(f"{member.listing.semantic.name} answered with shape {values.shape}")
        outputs[chosen] = values
        return outputs

    async def _at_owner(
        self, member: Candidate, island: Island, rows: NDArray[np.float32], user: str
    ) -> NDArray[np.float32]:
        """At the member's owner, which may be this node."""
        listing = member.listing
        if member.owner == self._own:
            message = PredictRequest(listing.federation, listing.learnware_id, island.digest, Array.of(rows), user)
            answer = await asyncio.to_thread(self._owner.predict, Asker(self._own, user), message)
            return np.asarray(answer.values.numpy(), dtype=np.float32)
        remote = self._network.predicting(member.owner, listing.federation, listing.learnware_id, island.digest, user)
        async with remote as model:
            return await model.predict(rows)

    async def _here(
        self, member: Candidate, island: Island, rows: NDArray[np.float32], user: str
    ) -> NDArray[np.float32]:
        async with self._downloads.using(member.owner, member.listing, user) as (manifest, model):
            run = self._prepared(member, island, rows, user, manifest, model)
            return await asyncio.to_thread(run)

    def _prepared(
        self, member: Candidate, island: Island, rows: NDArray[np.float32], user: str, manifest: Manifest, model: bytes
    ) -> Callable[[], NDArray[np.float32]]:
        admitted = self._code.admits(member.listing.owner, member.listing.revision)
        if admitted and manifest.environment:
            raise ModelRefused(
                f"{member.listing.semantic.name} needs an environment, which nobody builds but its owner",
                hint="predict at its owner",
            )
        return partial(
            self._models.predict, model.hex(), self._blobs.path(model), manifest.signature,
            arrange(rows, island, manifest), tenant=self._pseudonyms.of(user, member.listing.federation),
            trust="admitted" if admitted else "foreign",
        )  # fmt: skip


def _raw(rows: Table, island: Island) -> NDArray[np.float64]:
    """In the island's order of columns; NotFinite where a value is missing or too large for a model."""
    raw = rows.select(island.names)
    if not (np.abs(raw) <= np.finfo(np.float32).max).all():
        raise NotFinite("the rows hold NaN, infinite or too large values", hint="fill or drop them first")
    return raw


def _route(session: Session, members: list[Candidate], weights: list[float], rows: Table) -> NDArray[np.float64]:
    """Posterior (n, members), sparse; all members in one form."""
    units = session.island.transform(rows)
    rkmes = [member.rkme for member in members if member.rkme is not None]
    if len(rkmes) == len(members):
        return sparse(route_by_rkme(units, rkmes, weights))
    sketches = [member.summary.to_sketch() for member in members if member.summary]
    return sparse(route_by_sketch(units, session.island, sketches, weights))


def _combine(
    listings: list[Listing], outputs: list[NDArray[np.float64]], posterior: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Weighted by routing: probabilities over the union of classes, or means of values."""
    if all(listing.class_names for listing in listings):
        common = union([listing.class_names for listing in listings])
        spreads = [spread(out, listing.class_names, common) for out, listing in zip(outputs, listings, strict=True)]
        return common, vote_by_prob(spreads, posterior)
    if len({listing.outputs for listing in listings}) > 1:
        raise DimensionMismatch("the members of the mixture predict targets of different widths")
    return (), mean(outputs, posterior)
