"""One learnware as a visitor may see it: of this dock, of the catalogue, or both; whose, and where it is listed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.engine.packages import Manifest
from atoll.engine.packages.manifest import read_manifest
from atoll.engine.semantic import SemanticSpec
from atoll.node.api.downloads import granted
from atoll.node.clock import now_ms
from atoll.node.store.dock import Learnware
from atoll.node.store.downloads import DownloadRow
from atoll.node.web.learnwares.browsing import STATES, acts, may_be_seen
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Act

if TYPE_CHECKING:
    from atoll.node.app import Node
    from atoll.node.web.visit import Visit

FEWEST, WHOLE = 6, 64  # digits of an id
TAKEN_DOWN = "taken down by an admin of the federation"


@dataclass(frozen=True)
class Shown:
    """``listings`` are its owner's, the one that the visitor may do most with first; none where it is only in the dock.
    ``hidden``: why it is not shown in a federation, by its id in hex. ``others`` claim the same learnware."""

    id: bytes
    owner: str
    listings: tuple[Listing, ...]
    own: Learnware | None = None
    hidden: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    row: DownloadRow | None = None
    fetched: Manifest | None = None

    @property
    def hex(self) -> str:
        return self.id.hex()

    @property
    def listing(self) -> Listing | None:
        """What is acted on: live, if any is."""
        return self.listings[0] if self.listings else None

    @property
    def live_listings(self) -> list[Listing]:
        return [each for each in self.listings if each.status == "live"]

    @property
    def live(self) -> Listing | None:
        return next(iter(self.live_listings), None)

    @property
    def manifest(self) -> Manifest | None:
        """The whole table of contents, where the package is here."""
        return self.own.manifest if self.own is not None else self.fetched

    @property
    def semantic(self) -> SemanticSpec:
        if self.manifest is not None:
            return self.manifest.semantic
        assert self.listing is not None  # else it is of the dock, and its manifest is here
        return self.listing.semantic

    @property
    def revision(self) -> bytes:
        if self.own is not None:
            return self.own.row.revision
        assert self.listing is not None
        return self.listing.revision

    @property
    def class_names(self) -> tuple[str, ...]:
        known = self.manifest or self.listing
        return known.class_names if known is not None else ()

    @property
    def address(self) -> str:
        return f"/learnwares/{self.hex}?owner={self.owner}"


class OnlyHidden(NotFound):
    """There is such a learnware, and no federation of this node shows it."""

    def __init__(self, learnware_id: str, hidden: dict[tuple[str, str], str]) -> None:
        super().__init__(f"the learnware {learnware_id} is not shown")
        self.learnware_id = learnware_id
        self.hidden = hidden  # (owner, federation), and why


def find(visit: Visit) -> Shown:
    """That of the address; NotFound where the visitor knows of none, a redirect where its id was cut short. Takes some
    milliseconds: call it in a thread."""
    called, wanted = visit.request.match_info["id"].lower(), visit.request.query.get("owner", "")
    learnware_id = _whole(visit, called)
    node, now = visit.node, now_ms()
    states = STATES if visit.token is not None else STATES[:1]
    seen = [each for each in node.catalogue.versions(learnware_id, now, states) if may_be_seen(each, visit.user)]
    by_owner: dict[str, list[Listing]] = {}
    for each in seen:
        by_owner.setdefault(peer_id(each.owner), []).append(each)
    own = node.dock.find(learnware_id) if visit.token is not None else None
    hidden = _hidden(node, learnware_id, seen, now) if visit.token is not None else {}
    owners: list[str] = [node.identity.peer] if own is not None else []
    since = {peer: min(map(node.catalogue.first_seen, listings)) for peer, listings in by_owner.items()}
    owners = list(dict.fromkeys([*owners, *sorted(since, key=lambda peer: since[peer])]))
    owner = wanted if wanted in owners else next(iter(owners), "")
    if not owner:
        if hidden:
            raise OnlyHidden(learnware_id.hex(), hidden)
        raise _unknown(called)
    return _shown(visit, learnware_id, owner, by_owner.get(owner, []), owners, hidden)


def _shown(
    visit: Visit, learnware_id: bytes, owner: str, listings: list[Listing], owners: list[str],
    hidden: dict[tuple[str, str], str],
) -> Shown:  # fmt: skip
    listings.sort(key=lambda each: (each.status != "live", -len(acts(visit, each)), each.federation))
    own = visit.node.dock.find(learnware_id) if owner == visit.node.identity.peer else None
    row, manifest = None, None
    if own is None and visit.token is not None:
        row, manifest = _fetched(visit, listings[0].revision)
    return Shown(
        learnware_id, owner, tuple(listings), own if visit.token is not None else None,
        {federation: why for (peer, federation), why in hidden.items() if peer == owner},
        tuple(each for each in owners if each != owner), row, manifest,
    )  # fmt: skip


def _whole(visit: Visit, called: str) -> bytes:
    """The id of which this is all, or the beginning; then a redirect to the whole."""
    if not re.fullmatch(f"[0-9a-f]{{{FEWEST},{WHOLE}}}", called):
        raise _unknown(called)
    if len(called) == WHOLE:
        return bytes.fromhex(called)
    states = STATES if visit.token is not None else STATES[:1]
    known = {
        each.learnware_id
        for each in visit.node.catalogue.alive(now_ms(), states=states)
        if may_be_seen(each, visit.user)
    }
    known |= {each.id for each in visit.node.dock.all()} if visit.token is not None else set()
    found = [each.hex() for each in known if each.hex().startswith(called)]
    if len(found) == 1:
        raise web.HTTPSeeOther(f"/learnwares/{found[0]}")
    if found:
        raise NotFound(f"{called} is the beginning of {len(found)} learnwares", hint="give more of it")
    raise _unknown(called)


def _hidden(node: Node, learnware_id: bytes, seen: list[Listing], now: int) -> dict[tuple[str, str], str]:
    """Where it is listed and not shown, and why."""
    shown = {(each.federation, each.owner) for each in seen}
    found: dict[tuple[str, str], str] = {}
    for federation, owner in node.catalogue.owners():
        listing = node.catalogue.listing(federation, owner, learnware_id)
        if listing is not None and (federation, owner) not in shown:
            found[peer_id(owner), federation.hex()] = node.catalogue.hidden(federation, owner, now) or TAKEN_DOWN
    return found


def _fetched(visit: Visit, revision: bytes) -> tuple[DownloadRow | None, Manifest | None]:
    """What is here of a package that its owner has given to this visitor."""
    row = visit.node.downloads.find(revision)
    if row is None or visit.token is None or not row.package or not granted(visit.token, row):
        return None, None
    try:
        return row, read_manifest(visit.node.blobs.path(row.manifest).read_bytes())
    except (OSError, AtollError):  # it has made room for others since
        return None, None


def may(shown: Shown, visit: Visit) -> dict[Act, Listing]:
    """What the visitor may do as the listings say, and by which of them."""
    found: dict[Act, Listing] = {}
    for each in shown.live_listings:
        for act in acts(visit, each):
            found.setdefault(act, each)
    return found


def _unknown(called: str) -> NotFound:
    return NotFound(f"no learnware {called[:WHOLE]} is known here", hint="look through all of them under Learnwares")
