"""The composition root: the only place that builds a node's objects and knows them all."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.engine.runtime import ModelPool
from atoll.node import config as configs
from atoll.node import identity as identities
from atoll.node.clock import now_ms
from atoll.node.errors import ConfigError
from atoll.node.identity import Identity
from atoll.node.p2p.network import Network, Services
from atoll.node.p2p.peers import Peers
from atoll.node.publishing import Publisher
from atoll.node.reuse.service import Reuser
from atoll.node.search.service import Searcher
from atoll.node.serving import Owner
from atoll.node.store.blobs import BlobStore
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federations
from atoll.node.store.ledger import Ledger
from atoll.node.store.tokens import Tokens

log = logging.getLogger("atoll")
RENEW_SECONDS = 3600.0


@dataclass(frozen=True)
class Node:
    """A running node."""

    home: Path
    config: configs.Config
    identity: Identity
    store: Store
    blobs: BlobStore
    federations: Federations
    catalogue: Catalogue
    dock: Dock
    ledger: Ledger
    publisher: Publisher
    owner: Owner
    peers: Peers
    tokens: Tokens
    network: Network
    searcher: Searcher
    reuser: Reuser


@dataclass(frozen=True)
class Offline:
    """An opened home without network: what ``init`` and offline commands need."""

    identity: Identity
    store: Store
    tokens: Tokens


def open_offline(home: Path) -> Offline:
    identity = identities.load(home)
    store = Store(home / "store")
    return Offline(identity, store, Tokens(store))


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Node]:
    """A node with its network up; all of it is closed on leaving, whatever happens."""
    config = configs.load(home, os.environ)
    identity = identities.load(home)
    with _only_one(home):
        store = Store(home / "store")
        models = ModelPool(config.sandbox.max_models)
        try:
            node = _build(home, config, identity, store, models)
            await node.network.start()
            renewal = asyncio.create_task(_renew(node), name="renew-heads")
            try:
                yield node
            finally:
                renewal.cancel()
                with suppress(asyncio.CancelledError):
                    await renewal
                await node.network.aclose()
        finally:
            models.close()
            store.close()


def _build(home: Path, config: configs.Config, identity: Identity, store: Store, models: ModelPool) -> Node:
    blobs = BlobStore(home / "blobs")
    federations = Federations(store, identity)
    catalogue = Catalogue(store, federations)
    dock = Dock(store, blobs, identity.peer)
    ledger = Ledger(store, config.privacy.epsilon_limit)
    publisher = Publisher(identity, federations, catalogue, dock)
    owner = Owner(identity, catalogue, dock, models)
    peers = Peers(store, identity.peer, config.node.name)
    network = Network(Services(identity, config.node.name, federations, catalogue, owner, peers), config.p2p)
    searcher = Searcher(catalogue, owner, identity.peer, network, peers)
    reuser = Reuser(searcher, network, owner, identity.peer, store, blobs, models)
    return Node(
        home, config, identity, store, blobs, federations, catalogue, dock, ledger, publisher, owner, peers,
        Tokens(store), network, searcher, reuser,
    )  # fmt: skip


async def _renew(node: Node) -> None:
    """Keep the own heads alive."""
    while True:
        for federation in sorted(node.federations.ids()):
            news = await asyncio.to_thread(node.publisher.renew, federation, now_ms())
            if news is not None:
                await node.network.announce(news)
        await asyncio.sleep(RENEW_SECONDS)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """A lock on the home: two nodes on one store would destroy it."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another node is running on {home}") from None
        yield
