"""A fetched package with a specification that its owner discloses: packages travel without them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.engine.errors import SpecificationError
from atoll.engine.islands import Island
from atoll.engine.packages import archive as archives
from atoll.engine.packages import open_package
from atoll.engine.specs.rkme import Rkme
from atoll.node.errors import NodeBusy
from atoll.node.p2p.errors import PeerTimeout
from atoll.node.search.single import disclosed, question
from atoll.protocol.errors import NotFound, PolicyDenied
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.app import Node


async def with_specification(node: Node, listing: Listing, user: str, served: Path, target: Path) -> None:
    """Write the package ``served`` to ``target`` with an RKME that its owner discloses to this user; PolicyDenied if it
    discloses none, PeerTimeout if it says nothing, NodeBusy if the island has not come yet."""
    island = await asyncio.to_thread(_island, node, listing)
    rkme = await _disclosed(node, listing, island, user)
    await asyncio.to_thread(_write, served, target, {island.id: rkme})


def not_disclosed(name: str) -> PolicyDenied:
    return PolicyDenied(
        f"{name}: Beimingwu can do nothing with it without its specification, which its owner does not disclose to you",
        hint="`atoll fetch` gets the package as it is; or ask its owner: `atoll learnware ask`",
    )


async def _disclosed(node: Node, listing: Listing, island: Island, user: str) -> Rkme:
    """Checked against what the listing commits to; asked for as searches do."""
    owner = peer_id(listing.owner)
    running = node.searcher.start(question(listing, island, node.config.beimingwu.deadline_ms, user))
    result = await running.answer()
    if owner in result.peers_failed:
        raise PeerTimeout(f"{node.peers.name(owner) or owner} has not answered: {result.peers_failed[owner]}")
    rkme = disclosed(running, listing, island.digest)
    if rkme is None:
        raise not_disclosed(listing.semantic.name)
    return rkme


def _island(node: Node, listing: Listing) -> Island:
    """The first of tables in which it has an RKME."""
    for summary in listing.specifications:
        try:
            island = node.catalogue.island(summary.island)
        except NotFound:
            raise NodeBusy("the definition of its island has not come yet", hint="try again in a minute") from None
        if summary.dp is None and island.kind == "table":
            return island
    raise SpecificationError(f"{listing.semantic.name} has no specification that Beimingwu can read, of tables in full")


def _write(served: Path, target: Path, rkmes: Mapping[str, Rkme]) -> None:
    with open_package(served, specifications=False) as package:
        specified = {each.path: each.island for each in package.manifest.specifications}
        files: dict[str, archives.Source] = {
            path: rkmes[island].to_bytes() for path, island in specified.items() if island in rkmes
        }
        rest = {entry.path for entry in package.manifest.files} - specified.keys()
        archives.write(target, package.manifest_bytes, {**files, **dict.fromkeys(rest, package)})
