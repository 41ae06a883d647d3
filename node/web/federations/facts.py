"""What a federation looks like from this node: for the list of them, and for the page of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from atoll.node.api.federations import FederationView, MemberView, federation_view, member_views
from atoll.node.api.governance import GovernanceView, RootView, governance_view, root_view
from atoll.node.store.federations import Federation, Renewal, renews_at
from atoll.node.web.network.around import HERE, Line, lines, plain
from atoll.protocol.ids import peer_id

if TYPE_CHECKING:
    from atoll.node.app import Node


class Standing(NamedTuple):
    """This node's own membership; ``renews_at`` is when it begins to ask for a fresh certificate, ``last`` how the last
    try went."""

    since: int
    until: int
    renews_at: int
    last: Renewal | None


class Overview(NamedTuple):
    """A federation in a few figures: of its other members ``here`` are connected, ``level`` of those hold the same
    catalogue, ``behind`` lack something of it and ``ahead`` have more."""

    view: FederationView
    name: str
    listings: int
    own: Standing
    here: int
    level: int
    behind: int
    ahead: int


class Member(NamedTuple):
    """``line`` is how it stands as a peer, None for this node itself."""

    view: MemberView
    name: str
    founder: bool
    line: Line | None
    behind: int
    ahead: int
    compared_at: int


class Taken(NamedTuple):
    """A learnware that is taken down; ``own``: by this node, which alone may take that back."""

    owner: str
    learnware_id: str
    name: str
    by: tuple[str, ...]
    own: bool


class Facts(NamedTuple):
    overview: Overview
    federation: Federation
    members: Sequence[Member]
    governance: GovernanceView
    takedowns: tuple[Taken, ...]
    root: RootView
    founder: bool


def overview(node: Node, federation: Federation, around: Sequence[Line], listings: int) -> Overview:
    """One federation among the others, with as many ``listings`` that may be seen."""
    id_, own = federation.id.hex(), federation.certificate
    here = [line for line in around if line.state in HERE and any(each.id == id_ for each in line.common)]
    lags = [each.lag for line in here for each in line.common if each.id == id_ and each.lag is not None]
    standing = Standing(
        own.not_before, own.expires_at, renews_at(own), node.federations.last_renewal(federation.id)
    )  # fmt: skip
    return Overview(
        federation_view(node, federation), plain(federation.charter.name), listings, standing, len(here),
        sum(not lag.behind and not lag.ahead for lag in lags), sum(lag.behind > 0 for lag in lags),
        sum(lag.ahead > 0 for lag in lags),
    )  # fmt: skip


def overviews(node: Node, relayed: frozenset[str], now: int) -> list[Overview]:
    """All federations of this node, by name."""
    around, listings = lines(node, relayed, now), Counter(each.federation for each in node.catalogue.alive(now))
    found = [overview(node, each, around, listings[each.id]) for each in node.federations.all()]
    return sorted(found, key=lambda each: (each.name.casefold(), each.view.id))


def facts(node: Node, id_: bytes, relayed: frozenset[str], now: int) -> Facts:
    """All of one federation; NotFound unless this node is in it. Hashes the catalogue: call it in a thread."""
    federation = node.federations.get(id_)
    around, root = lines(node, relayed, now), root_view(node, id_)
    return Facts(
        overview(node, federation, around, root.listings), federation, members(node, id_, around),
        governance_view(node, id_), takedowns(node, id_), root, node.identity.public in federation.charter.admins,
    )  # fmt: skip


def members(node: Node, id_: bytes, around: Sequence[Line]) -> list[Member]:
    """The members in good standing, by name, this node among them."""
    by_peer = {line.peer: line for line in around}
    founders = set(map(peer_id, node.federations.get(id_).charter.admins))
    found = []
    for view in member_views(node, id_):
        line = by_peer.get(view.peer_id)
        lag = next((each.lag for each in line.common if each.id == id_.hex()), None) if line else None
        name = plain(view.name) or (line.name if line else "")
        behind, ahead, at = (lag.behind, lag.ahead, lag.at) if lag else (0, 0, 0)
        found.append(Member(view, name, view.peer_id in founders, line, behind, ahead, at))
    return sorted(found, key=lambda each: (not each.name, each.name.casefold(), each.view.peer_id))


def takedowns(node: Node, id_: bytes) -> tuple[Taken, ...]:
    """What is taken down, with the names that this node knows."""
    found = []
    for (owner, learnware), admins in sorted(node.federations.taken_down_by(id_).items()):
        by = tuple(node.peers.name(peer_id(admin)) or peer_id(admin) for admin in admins)
        own, name = node.identity.public in admins, name_of(node, id_, owner, learnware)
        found.append(Taken(peer_id(owner), learnware.hex(), name, by, own))
    return tuple(found)


def name_of(node: Node, federation: bytes, owner: bytes, learnware: bytes) -> str:
    """What a learnware is called, hidden or not; empty if it is not listed here."""
    listing = node.catalogue.listing(federation, owner, learnware)
    return plain(listing.semantic.name) if listing is not None else ""
