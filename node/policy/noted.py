"""What the audit log keeps of policies, requests and invites: short texts by name, fit to be read in a row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

from atoll.node.clock import utc
from atoll.node.policy.requests import RequestRow
from atoll.protocol.errors import ProtocolError
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.membership import Invite
from atoll.protocol.peers import peer_of
from atoll.protocol.policy import ACTS, Act, Policy, Rule

NAMED = 6  # peers that a row names: it has room for no more
TAIL = 8  # characters: ids of peers begin alike


def change(policy: Policy, before: Policy | None) -> dict[str, str]:
    """The policy act by act, and where it takes the place of another one, what was before of the acts that change."""
    noted: dict[str, str] = {act: words(policy.rule(act)) for act in ACTS}
    if before is not None:
        noted |= {f"{act}_before": words(before.rule(act)) for act in ACTS if before.rule(act) != policy.rule(act)}
    return noted


def words(rule: Rule) -> str:
    """For whom, and how much."""
    parts: list[str] = [rule.audience]
    if rule.peers:
        parts.append(f"also {_named(rule.peers)}")
    quotas = ((rule.per_peer, "peer"), (rule.per_user, "user"))
    parts += [f"{most} a day for a {whom}" for most, whom in quotas if most is not None]
    return "; ".join(parts)


def decision(row: RequestRow) -> dict[str, str]:
    """Of a request that was answered: whose it was, for what, and until when it is granted."""
    noted = {
        "peer": peer_id(row.peer), "act": row.act, "learnware": row.learnware_id.hex(),
        "federation": row.federation.hex(),
    }  # fmt: skip
    return noted | ({"until": f"{utc(row.until):%Y-%m-%d %H:%M} UTC"} if row.until else {})


def asking(listing: Listing, acts: Sequence[Act]) -> dict[str, str]:
    """Of what an owner is asked: who that is, where, and for which acts; for none, how it stands is asked."""
    noted = {"owner": peer_id(listing.owner), "federation": listing.federation.hex()}
    return noted | ({"acts": ", ".join(acts)} if acts else {})


def joining(invite: Invite) -> dict[str, str]:
    """Of an invite that is redeemed: where it leads, and which node has made it."""
    peers = set()
    for address in invite.addresses:
        with suppress(ProtocolError):
            peers.add(peer_of(address))
    return {"id": invite.federation.hex(), "peer": ", ".join(sorted(peers))}


def _named(peers: Sequence[str]) -> str:
    """The ends of the first few; a digest of all tells two long lists apart."""
    shown = ", ".join(f"…{peer[-TAIL:]}" for peer in peers[:NAMED])
    if len(peers) <= NAMED:
        return shown
    digest = hashlib.sha256(" ".join(sorted(peers)).encode("utf-8", "replace")).hexdigest()
    return f"{shown} and {len(peers) - NAMED} more ({digest[:TAIL]})"
