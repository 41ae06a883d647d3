"""Where a member runs: at this node, as its own or downloaded and in the sandbox, or at its owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from atoll.engine.encoding import Array
from atoll.engine.errors import AtollError, ModelError, ModelRefused
from atoll.engine.islands import Island
from atoll.engine.packages import Manifest
from atoll.engine.packages.outputs import as_probabilities
from atoll.engine.packages.runnable import require_runnable
from atoll.engine.runtime import ModelPool
from atoll.engine.runtime.formats import Trust
from atoll.node.p2p.network import Network
from atoll.node.p2p.prediction import Answered
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.reuse.downloads import Downloads
from atoll.node.reuse.query import Place
from atoll.node.search.plan import Candidate
from atoll.node.serving import Owner, arrange
from atoll.node.store.blobs import BlobStore
from atoll.node.store.code import AdmittedCode
from atoll.protocol.ask import AskRequest
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Act, Asker
from atoll.protocol.predict import PredictRequest
from numpy.typing import NDArray

T = TypeVar("T")
Values = NDArray[np.float32]
Predict = Callable[[Values], Coroutine[None, None, Answered]]  # raw rows (n, d) in island order -> outputs (n, own)
Fetched = Callable[[int, int], None]  # bytes of a package that are here, and its size


class Opening(Protocol):
    """How a member is made ready to predict for one user."""

    def __call__(
        self, member: Candidate, place: Place, island: Island, user: str, fetched: Fetched
    ) -> AbstractAsyncContextManager[Predict]: ...


@dataclass(frozen=True)
class Workshop:
    """Runs on the asyncio side, models in threads of their own, so that long calls keep nobody else waiting."""

    network: Network
    owner: Owner
    own: str
    downloads: Downloads
    blobs: BlobStore
    models: ModelPool
    pseudonyms: Pseudonyms
    code: AdmittedCode
    threads: Executor

    @asynccontextmanager
    async def open(
        self, member: Candidate, place: Place, island: Island, user: str, fetched: Fetched
    ) -> AsyncIterator[Predict]:
        """Ready to predict with raw rows in island order; AtollError for whatever stands against it."""
        pseudonym = self.pseudonyms.of(user, member.listing.federation)
        listing, checked = member.listing, partial(_checked, member.listing)
        if member.owner == self.own:
            yield partial(checked, self._own(listing, island, pseudonym))
        elif place == "local":
            async with self.downloads.using(member.owner, listing, user, fetched) as (manifest, model):
                yield partial(checked, self._here(listing, island, pseudonym, manifest, model))
        else:
            there = self.network.predicting(
                member.owner, listing.federation, listing.learnware_id, island.digest, pseudonym, width_of(listing)
            )
            async with there as model:
                yield partial(checked, model.predict)

    async def may(self, listing: Listing, user: str) -> tuple[Act, ...]:
        """What the user may do with a learnware, by its owner."""
        owner, pseudonym = peer_id(listing.owner), self.pseudonyms.of(user, listing.federation)
        request = AskRequest(listing.federation, listing.learnware_id, user=pseudonym)
        if owner == self.own:
            reply = await asyncio.to_thread(self.owner.ask, Asker(owner, pseudonym), request)
        else:
            reply = await self.network.request(owner, request)
        return tuple(each.act for each in reply.states if each.state in ("open", "granted"))

    def _own(self, listing: Listing, island: Island, user: str) -> Predict:
        lock = asyncio.Lock()

        async def predict(rows: Values) -> Answered:
            message = PredictRequest(listing.federation, listing.learnware_id, island.digest, Array.of(rows), user)
            answer = await self._one_by_one(lock, partial(self.owner.predict, Asker(self.own, user), message))
            return Answered.whole(np.asarray(answer.values.numpy(), np.float32))

        return predict

    def _here(self, listing: Listing, island: Island, user: str, manifest: Manifest, model: bytes) -> Predict:
        require_runnable(manifest)
        admitted = self.code.admits(listing.owner, listing.revision)
        if admitted and manifest.environment:
            raise ModelRefused(
                f"{listing.semantic.name} needs an environment, which nobody builds but its owner",
                hint="predict at its owner",
            )
        lock = asyncio.Lock()
        path, key = self.blobs.path(model), model.hex()
        trust: Trust = "admitted" if admitted else "foreign"

        async def predict(rows: Values) -> Answered:
            arranged = arrange(rows, island, manifest)
            run = partial(self.models.predict, key, path, manifest.signature, arranged, tenant=user, trust=trust)
            return Answered.whole(await self._one_by_one(lock, run))

        return predict

    async def _one_by_one(self, lock: asyncio.Lock, run: Callable[[], T]) -> T:
        """A model takes one call at a time: the others wait here, and not in a thread."""
        async with lock:
            return await asyncio.get_running_loop().run_in_executor(self.threads, run)


async def _checked(listing: Listing, predict: Predict, rows: Values) -> Answered:
    """What has come, if it has the shape that the listing promises and holds numbers, of a classifier probabilities;
    with the error where something has kept rows from an answer."""
    try:
        said = await predict(rows)
        shape = (len(rows), width_of(listing))
        if said.values.shape != shape:
            raise ModelError(f"{listing.semantic.name} answered with shape {said.values.shape}, not {shape}")
        values = said.values.copy()
        values[said.rows] = _right(listing.semantic.name, values[said.rows], bool(listing.class_names))
    except AtollError as error:
        return Answered.nothing(len(rows), width_of(listing), error)
    return said._replace(values=values)


def _right(name: str, values: Values, classifies: bool) -> Values:
    if not np.isfinite(values).all():
        raise ModelError(f"{name} answered with NaN or infinite values")
    return as_probabilities(values) if classifies else values


def width_of(listing: Listing) -> int:
    """How many outputs a learnware has for a row."""
    return len(listing.class_names) or listing.outputs
