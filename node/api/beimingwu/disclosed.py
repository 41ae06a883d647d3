"""A fetched package with what its owner discloses of its specifications: packages travel without them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.packages import archive as archives
from atoll.engine.packages import open_package
from atoll.engine.specs.rkme import Rkme
from atoll.node.search.query import Filters, SearchQuery, SpecificationQuery
from atoll.protocol.errors import NotFound, PolicyDenied
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.app import Node

FORMAT = "beimingwu"
PROBES = 64  # points of a question whose answer is of no interest


async def with_specifications(node: Node, listing: Listing, user: str, served: Path, target: Path) -> None:
    """Write the package ``served`` to ``target``; unless it came from Beimingwu, and so holds its specification itself,
    with an RKME that its owner discloses to this user: PolicyDenied if it discloses none."""
    if await asyncio.to_thread(_format, served) == FORMAT:
        await asyncio.to_thread(shutil.copyfile, served, target)
        return
    rkme = await _disclosed(node, listing, user)
    if rkme is None:
        raise PolicyDenied(
            f"{listing.semantic.name}: without its specification, which its owner does not disclose to you (or not "
            "now), Beimingwu can do nothing with it",
            hint="`atoll fetch` gets the package as it is; or ask its owner: `atoll learnware ask`",
        )
    await asyncio.to_thread(_write, served, target, rkme)


async def _disclosed(node: Node, listing: Listing, user: str) -> Mapping[str, Rkme] | None:
    """By island, one RKME, checked against what the listing commits to: asked for as searches do."""
    island = await asyncio.to_thread(_island, node, listing)
    if island is None:
        return None
    owner = peer_id(listing.owner)
    one = Filters(federation=(listing.federation.hex(),), owner=(owner,), learnware_id=(listing.learnware_id.hex(),))
    asked = SpecificationQuery(island.digest, _anything(island))
    running = node.searcher.start(
        SearchQuery((asked,), filters=one, limit=1, deadline_ms=node.config.beimingwu.deadline_ms, user=user)
    )
    await running.answer()
    for each in running.candidates:
        here = each.summary is not None and each.summary.island == island.digest
        if here and each.rkme is not None and each.listing.revision == listing.revision:
            return {island.id: each.rkme}
    return None


def _island(node: Node, listing: Listing) -> Island | None:
    """The first of tables in which it has an RKME."""
    for summary in listing.specifications:
        if summary.dp is None:
            try:
                island = node.catalogue.island(summary.island)
            except NotFound:
                continue
            if island.kind == "table":
                return island
    return None


def _anything(island: Island) -> Rkme:
    points = np.random.default_rng(0).standard_normal((PROBES, island.dimension)).astype(np.float32)
    return Rkme(points, np.full(PROBES, 1.0 / PROBES, np.float32), island.gamma, PROBES)


def _format(served: Path) -> str:
    with open_package(served, specifications=False) as package:
        return package.manifest.model_format


def _write(served: Path, target: Path, rkmes: Mapping[str, Rkme]) -> None:
    with open_package(served, specifications=False) as package:
        specified = {each.path: each.island for each in package.manifest.specifications}
        files: dict[str, archives.Source] = {
            path: rkmes[island].to_bytes() for path, island in specified.items() if island in rkmes
        }
        rest = {entry.path for entry in package.manifest.files} - specified.keys()
        archives.write(target, package.manifest_bytes, {**files, **dict.fromkeys(rest, package)})
