"""Who can do what: members against acts, by a policy that is tried and by the one in force, and what would change.

The gate itself is asked, so what is shown is what it would let through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from atoll.node.api.policies import permissions
from atoll.node.clock import now_ms
from atoll.node.language import gettext, ngettext
from atoll.node.policy.checking import AUDIENCES
from atoll.node.policy.gate import Permission
from atoll.node.web.dock.words import ACTS as ACT_WORDS
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import ACTS, Act, Policy, Rule

if TYPE_CHECKING:
    from atoll.node.app import Node

EACH = 12  # members up to this number have a line each; beyond it those alike share one
LINES = 50
FINAL: tuple[Act, ...] = ("disclose", "download")  # what is handed over with them stays where it is
NOTHING = Policy(match=Rule())
Level = Literal["no", "ask", "users", "anyone"]  # users: the signed-in ones; anyone: those who are not, too


class Cell(NamedTuple):
    """What of one act is allowed, by the policy in force and by the one that is tried."""

    before: Level
    after: Level


@dataclass(frozen=True)
class Line:
    """A member, or ``count`` of them that are alike (``peer`` is empty); ``own`` is this node."""

    peer: str
    name: str
    count: int
    own: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Preview:
    """``more`` lines are not shown; ``changed`` counts members by act whom the change concerns."""

    lines: tuple[Line, ...]
    more: int
    members: int
    changed: dict[Act, int]
    warnings: tuple[str, ...]
    widened: tuple[Act, ...]
    listed: bool
    paused: bool
    same: bool

    @property
    def summary(self) -> str:
        if not self.listed:
            return gettext("Not listed yet: this is what listing it would allow.")
        if self.same:
            return gettext("This is the policy in force.")
        count = len(self.changed)
        if not count:
            return gettext("Changed. No member of today may do more or less by it.")
        return ngettext(
            "Changes what members may do in {count} act.", "Changes what members may do in {count} acts.", count
        ).format(count=count)


def preview(node: Node, listing: Listing | None, draft: Listing, policy: Policy) -> Preview:
    """Of ``policy``, where ``listing`` is the present one (None: not listed) and ``draft`` one to judge by; blocking.
    RecordRejected for a policy that names what is no peer."""
    before = node.gate.policy(listing) if listing is not None else NOTHING
    after = permissions(node, draft, policy)
    known = permissions(node, listing) if listing is not None else []
    were = {each.peer_id: each for each in known}
    lines = [_line(node, each, were.get(each.peer_id), before, policy) for each in after]
    changed = Counter(act for line in lines for act, cell in zip(ACTS, line.cells, strict=True)
                      if cell.before != cell.after)  # fmt: skip
    shown, more = gathered(lines, _named(before) | _named(policy))
    return Preview(
        tuple(shown), more, len(lines), dict(changed), tuple(_warnings(policy, before)), widened(policy, before),
        listing is not None, listing is not None and listing.status == "paused", _same(policy, before),
    )  # fmt: skip


def widened(policy: Policy, before: Policy) -> tuple[Act, ...]:
    """The acts by which something would be handed over for good to more than before, without a request."""
    return tuple(act for act in FINAL if _gains(policy.rule(act), before.rule(act)))


def _gains(rule: Rule, before: Rule) -> bool:
    wider = AUDIENCES.index(rule.audience) > AUDIENCES.index(before.audience)
    return (wider and rule.audience in ("members", "anyone")) or bool(set(rule.peers) - set(before.peers))


def _loses(rule: Rule, before: Rule) -> bool:
    narrower = AUDIENCES.index(rule.audience) < AUDIENCES.index(before.audience)
    return (narrower and before.audience in ("members", "anyone")) or bool(set(before.peers) - set(rule.peers))


def _line(node: Node, now: Permission, was: Permission | None, before: Policy, policy: Policy) -> Line:
    own = now.peer_id == node.identity.peer
    if own and was is None:  # its own users may do all, listed or not
        was, before = now, policy
    cells = tuple(Cell(_level(act, was, before), _level(act, now, policy)) for act in ACTS)
    return Line(now.peer_id, now.name or node.peers.name(now.peer_id), 1, own, cells)


def _level(act: Act, permission: Permission | None, policy: Policy) -> Level:
    if permission is None:
        return "no"
    if act in permission.anonymous:
        return "anyone"
    if act in permission.acts:
        return "users"
    return "ask" if policy.rule(act).audience == "ask" else "no"


def gathered(lines: Sequence[Line], named: frozenset[str]) -> tuple[list[Line], int]:
    """This node, then those who are named or changed or like no other, by name; last what the rest may do, in one."""
    own = [line for line in lines if line.own]
    others = sorted((line for line in lines if not line.own), key=lambda line: (line.name.casefold(), line.peer))
    if len(others) <= EACH:
        return [*own, *others], 0
    alike = Counter(line.cells for line in others if line.peer not in named)
    common = max(alike, key=lambda cells: alike[cells], default=None)
    special = [line for line in others if line.peer in named or line.cells != common]
    rest = [Line("", "", alike[common], False, common)] if common is not None else []
    return [*own, *special[:LINES], *rest], max(0, len(special) - LINES)


def _named(policy: Policy) -> frozenset[str]:
    return frozenset(peer for act in ACTS for peer in policy.rule(act).peers)


def _warnings(policy: Policy, before: Policy) -> list[str]:
    """What one should know before it is saved, what cannot be recalled first."""
    found = []
    if "download" in widened(policy, before):
        found.append(gettext(
            "Whoever downloads the model keeps it. That cannot be recalled: to narrow the policy later, to pause or to "
            "withdraw ends further downloads only."
        ))  # fmt: skip
    if "disclose" in widened(policy, before):
        found.append(gettext("Whoever is given the reduced set keeps it. That cannot be recalled either."))
    if any(_loses(policy.rule(act), before.rule(act)) for act in FINAL):
        found.append(gettext("What was handed over before stays with those who have it."))
    if policy.match.audience == "nobody" and not policy.match.peers and _offers_more(policy):
        found.append(gettext("No search by data finds it, since match is offered to nobody: few will use the rest."))
    if "anyone" in (policy.rule(act).audience for act in ACTS):
        found.append(gettext("“Anyone” takes in people whom a member node lets ask without a token."))
    shut = [act for act in ACTS if 0 in (policy.rule(act).per_peer, policy.rule(act).per_user)]
    if shut:
        found.append(
            gettext("A quota of 0 lets nobody do it: {acts}.").format(
                acts=gettext(", ").join(gettext(ACT_WORDS[act].name) for act in shut)
            )
        )
    return found


def _offers_more(policy: Policy) -> bool:
    rules = [policy.rule(act) for act in ACTS if act != "match"]
    return any(rule.audience != "nobody" or rule.peers for rule in rules)


def draft_of(node: Node, listing: Listing | None, learnware_id: bytes, federation: bytes, policy: Policy) -> Listing:
    """What the gate judges by."""
    return listing if listing is not None else node.publisher.draft(learnware_id, federation, policy, now_ms())


def members_of(node: Node, federation: bytes) -> list[tuple[str, str]]:
    """(PeerId, name) of the other members, by name."""
    certified = [each for each in node.federations.members(federation, now_ms()) if each.member != node.identity.public]
    found = [(str(peer_id(each.member)), each.name or node.peers.name(peer_id(each.member))) for each in certified]
    return sorted(found, key=lambda each: (each[1].casefold(), each[0]))


def _same(policy: Policy, before: Policy) -> bool:
    """Whatever the order in which peers are named."""
    pairs = [(policy.rule(act), before.rule(act)) for act in ACTS]
    return all(
        (one.audience, set(one.peers), one.per_peer, one.per_user)
        == (other.audience, set(other.peers), other.per_peer, other.per_user)
        for one, other in pairs
    )
