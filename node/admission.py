"""Who may be a peer: the administrator's lists, what a change of them would do, and which changes are refused.

Pure decisions. An empty allow list admits everybody who is not denied, one with entries only those on it; deny wins.
The node itself is always admitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

Kind = Literal["allow", "deny"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Rules:
    """The two lists of a node with the peer id ``own``."""

    own: str
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()

    def admits(self, peer: str) -> bool:
        if peer == self.own:
            return True
        return peer not in self.deny and (not self.allow or peer in self.allow)

    def has_rule(self, kind: Kind, peer: str) -> bool:
        return peer in (self.allow if kind == "allow" else self.deny)

    def with_rule(self, kind: Kind, peer: str) -> Rules:
        return replace(self, allow=self.allow | {peer}) if kind == "allow" else replace(self, deny=self.deny | {peer})

    def without_rule(self, kind: Kind, peer: str) -> Rules:
        return replace(self, allow=self.allow - {peer}) if kind == "allow" else replace(self, deny=self.deny - {peer})

    def why_not(self, peer: str) -> str:
        """In words, for those who are not admitted."""
        return "denied by a rule of this node" if peer in self.deny else "not on the allow list of this node"


@dataclass(frozen=True)
class Surroundings:
    """What a change is weighed against: admins by federation, and who is connected."""

    admins: Mapping[bytes, frozenset[str]]
    connected: frozenset[str]


@dataclass(frozen=True)
class Consequences:
    """What changes with new rules.

    ``dropped``: connected peers that are cut off. ``stranded``: federations that lose their last reachable admin,
    reachable being connected or this node itself. ``locked_out``: federations that lose their last admitted admin.
    """

    dropped: frozenset[str]
    stranded: frozenset[bytes]
    locked_out: frozenset[bytes]
    names_itself: bool

    @property
    def objection(self) -> str:
        """Why the change is refused unless it is forced; empty if it is not."""
        if self.names_itself:
            return "the rule names this node itself"
        if self.locked_out:
            return f"no admin of {len(self.locked_out)} federation(s) of this node would be admitted"
        return ""


def weigh(before: Rules, after: Rules, around: Surroundings) -> Consequences:
    """What the step from ``before`` to ``after`` does; what was so before it is not counted."""
    here = around.connected | {before.own}
    return Consequences(
        dropped=frozenset(peer for peer in around.connected if before.admits(peer) and not after.admits(peer)),
        stranded=_losing(before, after, {fed: admins & here for fed, admins in around.admins.items()}),
        locked_out=_losing(before, after, around.admins),
        names_itself=before.own in (after.allow - before.allow) | (after.deny - before.deny),
    )


def _losing(before: Rules, after: Rules, admins: Mapping[bytes, frozenset[str]]) -> frozenset[bytes]:
    return frozenset(
        federation
        for federation, peers in admins.items()
        if any(map(before.admits, peers)) and not any(map(after.admits, peers))
    )
