"""What a running node does on its own: keeps its heads and its certificates alive, begins new epochs after a restore,
takes over what its old key had, and forgets invites that have expired. Once at the start, every minute, and when a
federation has changed; a failure is logged and tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.store.restoring import RESTORED

if TYPE_CHECKING:
    from atoll.node.app import Node

log = logging.getLogger("atoll")
SECONDS = 60.0


async def upkeep(node: Node) -> None:
    """Run until cancelled."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake(_: bytes) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(changed.set)

    node.federations.on_change(wake)
    while True:
        changed.clear()
        await _tried(sweep_invites(node))
        for federation in sorted(node.federations.ids()):
            for care in (renew_certificate, take_over, renew_head):
                await _tried(care(node, federation))
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                await changed.wait()


async def _tried(work: Awaitable[None]) -> None:
    try:
        await work
    except AtollError as error:
        log.warning("upkeep of a federation failed: %s", error.message)


async def sweep_invites(node: Node) -> None:
    """Nobody can come with them any more, and no list shows them."""
    await asyncio.to_thread(node.administration.sweep, now_ms())


async def take_over(node: Node, federation: bytes) -> None:
    """After a change of keys, once the new one is a member: list and decree again what the old one had."""
    handed = await asyncio.to_thread(node.federations.succeeded, federation)
    if handed is None or not node.federations.standing(federation, node.identity.public, now_ms()):
        return
    await node.network.settled()
    heard = any(federation in node.peers.shared(peer) for peer in node.peers.live())
    decree = await asyncio.to_thread(partial(node.administration.inherit, federation, now_ms(), heard=heard))
    news = await asyncio.to_thread(node.publisher.take_over, federation, handed.succession.owner, now_ms())
    for each in (decree, news):
        if each is not None:
            await node.network.announce(each)


async def renew_certificate(node: Node, federation: bytes, *, force: bool = False) -> None:
    """A fresh certificate once a third of its life is left, or its signer is no admin any more."""
    if not force and not await asyncio.to_thread(node.federations.renewal_due, federation, now_ms()):
        return
    try:
        if await asyncio.to_thread(node.federations.renew_self, federation, now_ms()) is None:
            await node.network.renew(federation)
    except AtollError as error:
        node.federations.note_renewal(federation, now_ms(), error.message)
        raise
    node.federations.note_renewal(federation, now_ms())


async def renew_head(node: Node, federation: bytes) -> None:
    """A fresh head once half of its life is over; peers are heard before it is signed, as before any change."""
    if not await asyncio.to_thread(node.publisher.renewal_due, federation, now_ms()):
        return
    await node.network.settled()
    news = await asyncio.to_thread(node.publisher.renew, federation, now_ms())
    if news is not None:
        await node.network.announce(news)


def begin_epochs_after_restore(node: Node) -> None:
    """After `atoll restore`, before the network is up: what was published after the backup was made is gone here and
    known elsewhere, so every own log goes on in a new epoch. Returns after commit."""
    restored_at = node.store.marked(RESTORED)
    if restored_at is None:
        return
    for federation in sorted(node.federations.ids()):
        try:
            node.publisher.rebase(federation, 0, max(now_ms(), restored_at))
        except AtollError as error:  # an expired membership, say: the network's own check comes later
            log.warning("no new epoch after the restore: %s", error.message)
    node.store.unmark(RESTORED)
