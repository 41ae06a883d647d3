"""The composition root: the only place that builds a node's objects and knows them all."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from atoll.engine.runtime import ModelPool
from atoll.engine.runtime.environments import Environments
from atoll.engine.runtime.unpacked import Unpacked
from atoll.node import config as configs
from atoll.node import identity as identities
from atoll.node import lock
from atoll.node.acceptance import AcceptanceQueue
from atoll.node.acceptance.chunked import ChunkedUploads
from atoll.node.acceptance.submissions import Submissions
from atoll.node.acceptance.uploads import Uploads
from atoll.node.administration import Administration
from atoll.node.api.connections import Room
from atoll.node.api.limits import Limits
from atoll.node.api.sessions import Sessions
from atoll.node.api.tls import Tls
from atoll.node.api.visitors import Visitors
from atoll.node.clock import now_ms
from atoll.node.errors import ConfigError
from atoll.node.gauges import Weight, figures
from atoll.node.identity import Identity
from atoll.node.matching import Desk, Matcher
from atoll.node.matching.specifications import OwnSpecifications
from atoll.node.matching.stand_ins import StandIns
from atoll.node.metrics import Metrics
from atoll.node.p2p.network import Network, Services
from atoll.node.p2p.peers import Peers
from atoll.node.policy import Gate
from atoll.node.policy.asked import Asked
from atoll.node.policy.requests import Requests
from atoll.node.policy.rules import Policies
from atoll.node.policy.usage import Usage
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.publishing import Publisher
from atoll.node.reuse.downloads import Downloads
from atoll.node.reuse.members import Workshop
from atoll.node.reuse.service import Reuser
from atoll.node.search.service import Searcher
from atoll.node.serving import Owner
from atoll.node.stopping import Stopping
from atoll.node.store import migration
from atoll.node.store.audit import AuditLog
from atoll.node.store.blobs import BlobStore
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.code import AdmittedCode
from atoll.node.store.dock import Dock
from atoll.node.store.downloads import DownloadCache
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federations
from atoll.node.store.ledger import Ledger
from atoll.node.store.tokens import Tokens
from atoll.node.store.verification import verify_after_crash
from atoll.node.upkeep import begin_epochs_after_restore, upkeep
from atoll.node.web.publish.drafts import Drafts
from atoll.node.web.reading.fitting import Fitting
from atoll.node.web.welcome.example import Example
from atoll.protocol.errors import ProtocolError

log = logging.getLogger("atoll")
PREDICTING = 8  # threads for what users have predicted


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
    acceptance: AcceptanceQueue
    ledger: Ledger
    publisher: Publisher
    gate: Gate
    asked: Asked
    pseudonyms: Pseudonyms
    administration: Administration
    owner: Owner
    peers: Peers
    tokens: Tokens
    audit: AuditLog
    network: Network
    searcher: Searcher
    reuser: Reuser
    downloads: Downloads
    code: AdmittedCode
    specifications: OwnSpecifications
    sessions: Sessions
    visitors: Visitors
    fitting: Fitting
    chunked: ChunkedUploads
    drafts: Drafts
    example: Example
    models: ModelPool
    metrics: Metrics
    limits: Limits
    room: Room
    tls: Tls | None
    stopping: Stopping = field(default_factory=Stopping)
    started_at: int = field(default_factory=now_ms)


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Node]:
    """A node with its network up; all of it is closed on leaving, whatever happens."""
    config = configs.load(home, os.environ)
    if (home / identities.NEXT).exists():
        raise ConfigError("a change of keys was interrupted", hint=f"run `atoll identity rotate --home {home}` again")
    identity = identities.load(home)
    tls = await asyncio.to_thread(Tls.of, config.http, home)
    with lock.exclusive(home):
        if lock.was_killed(home):
            await asyncio.to_thread(verify_after_crash, home)
        migrated = await asyncio.to_thread(migration.migrate, home / "store", now_ms())
        if migrated is not None:
            migration.tell(migrated)
        with lock.marked(home):
            store = Store(home / "store")
            environments = Environments(
                home / "environments", config.sandbox.package_index, config.sandbox.environment_seconds
            )
            models = ModelPool(
                config.sandbox.max_models, config.sandbox.limits, environments=environments,
                unpacked=Unpacked(home / "unpacked"),
            )  # fmt: skip
            try:
                node = await asyncio.to_thread(_build, home, config, identity, store, models, tls)
                await asyncio.to_thread(begin_epochs_after_restore, node)
                await asyncio.to_thread(lambda: models.keep_folders(node.dock.folders()))
                await node.network.start()
                node.specifications.start()
                tasks = [
                    asyncio.create_task(work)
                    for work in (
                        upkeep(node),
                        node.acceptance.run(),
                        node.reuser.tidy(),
                        node.drafts.tidy(),
                        node.example.run(node),
                    )
                ]
                try:
                    yield node
                finally:
                    for task in tasks:
                        task.cancel()
                        with suppress(asyncio.CancelledError):
                            await task
                    await node.fitting.aclose()
                    await node.reuser.aclose()
                    await node.searcher.aclose()
                    await node.network.aclose()
                    await asyncio.to_thread(node.owner.desk.close)
                    await asyncio.to_thread(node.specifications.close)
            finally:
                models.close()
                store.close()


def _build(
    home: Path, config: configs.Config, identity: Identity, store: Store, models: ModelPool, tls: Tls | None
) -> Node:
    blobs = BlobStore(home / "blobs")
    federations = Federations(store, identity, config.node.recovery_hash, config.node.name)
    catalogue = Catalogue(store, federations)
    dock = Dock(store, blobs, identity.peer)
    ledger = Ledger(store, config.privacy.epsilon_limit)
    policies = Policies(store)
    publisher = Publisher(identity, federations, catalogue, dock, policies)
    gate = Gate(identity.peer, policies, Requests(store), Usage(store, now_ms()))
    specifications = OwnSpecifications(identity.public, catalogue, dock, gate, StandIns(store))
    owner = Owner(
        identity, catalogue, dock, models, gate, Matcher(catalogue, specifications, gate), Desk(config.serving)
    )
    peers = Peers(store, identity.peer, config.node.name)
    try:
        peers.configure(filter(None, (config.p2p.relay, *config.p2p.bootstrap)))
    except ProtocolError as error:
        raise ConfigError(f"p2p.bootstrap, p2p.relay: {error.message}", hint=error.hint) from None
    audit = AuditLog(store)
    administration = Administration(identity, federations, store, audit)
    metrics = Metrics()
    services = Services(
        identity, config.node.name, federations, catalogue, owner, peers, administration, publisher, metrics
    )
    network = Network(services, config.p2p)
    pseudonyms = Pseudonyms(identity)
    asked = Asked(store)
    searcher = Searcher(catalogue, owner, identity.peer, network, peers, pseudonyms, asked.granted)
    cache = DownloadCache(store, blobs, config.reuse.cache_bytes, now_ms)
    downloads = Downloads(identity.peer, network, catalogue, blobs, cache, pseudonyms)
    code, threads = AdmittedCode(store), ThreadPoolExecutor(PREDICTING, "reuse")
    workshop = Workshop(network, owner, identity.peer, downloads, blobs, models, pseudonyms, code, threads)
    reuser = Reuser(searcher, workshop, peers.name, config.reuse, home / "reuse")
    acceptance = AcceptanceQueue(
        Submissions(store), Uploads(blobs, config.http.max_upload_bytes), dock, catalogue, models, identity.peer,
        now_ms, publisher.require_kept, partial(_list_again, publisher, gate, network),
    )  # fmt: skip
    searcher.on_end(metrics.searched)
    downloads.on_fetched(metrics.fetched)
    reuser.on_end(metrics.predicted)
    acceptance.on_decided(metrics.judged)
    tokens, http = Tokens(store), config.http
    node = Node(
        home, config, identity, store, blobs, federations, catalogue, dock, acceptance, ledger, publisher, gate,
        asked, pseudonyms, administration, owner, peers, tokens, audit, network, searcher, reuser,
        downloads, code, specifications, Sessions(tokens, identity.peer), Visitors(config.search.anonymous), Fitting(),
        ChunkedUploads(blobs, config.http.max_upload_bytes),
        Drafts(home / "drafts", http.max_upload_bytes, now_ms), Example(store), models, metrics,
        Limits(http, metrics.limited), Room(http), tls,
    )  # fmt: skip
    metrics.show(partial(figures, node, Weight(home / "blobs")))
    return node


async def _list_again(publisher: Publisher, gate: Gate, network: Network, learnware_id: bytes) -> None:
    """A later revision of a learnware is in the dock: it is listed wherever the one before was, by the same policy."""
    await network.settled()
    for listing in publisher.listed_in(learnware_id):
        publish = partial(publisher.publish, learnware_id, listing.federation, gate.policy(listing), now_ms())
        same = publisher.specified_as(learnware_id, listing)
        await network.announce(await asyncio.to_thread(partial(publish, few_rows=same)))
