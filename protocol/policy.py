"""Policy: what an owner allows with a learnware in one federation, for whom and how much (architecture.md, *Words*).

The listing says the audiences; named peers, quotas and grants stay at the owner, who alone enforces them. People ask
through their node: a member node says whether it knows the asker (a pseudonym), so ``members`` are the signed-in users
of member nodes, and ``anyone`` takes in those whom a member node lets ask anonymously. Outside the federation nobody
asks anything, whatever the policy says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Literal, get_args

import msgspec
from atoll.protocol.errors import ProtocolError, RecordRejected
from atoll.protocol.ids import public_key
from atoll.protocol.listings import Audience, Listing, Offers

Act = Literal["match", "disclose", "predict", "download"]
ACTS: tuple[Act, ...] = get_args(Act)
MAX_NAMED = 1000
USER = 64  # characters of a pseudonym
Grants = Mapping[bytes, frozenset[Act]]  # to a node, by federation, owner and learnware, one after the other
NONE: frozenset[Act] = frozenset()
NO_GRANTS: Grants = MappingProxyType({})

Quota = Annotated[int, msgspec.Meta(ge=0)] | None


class Rule(msgspec.Struct, frozen=True):
    """For one act. ``peers`` (PeerIds) are admitted whatever the audience. ``per_peer`` and ``per_user`` bound a UTC
    day: queries for match, disclosures, rows for predict, packages for download; None does not."""

    audience: Audience = "nobody"
    peers: tuple[str, ...] = ()
    per_peer: Quota = None
    per_user: Quota = None


class Policy(msgspec.Struct, frozen=True):
    """All four acts. By default a learnware is matched by its federation, and nothing else."""

    match: Rule = Rule("members")
    disclose: Rule = Rule()
    predict: Rule = Rule()
    download: Rule = Rule()

    @classmethod
    def of(cls, offers: Offers) -> Policy:
        """With these audiences, and nothing besides."""
        return cls(*(Rule(getattr(offers, act)) for act in ACTS))

    def rule(self, act: Act) -> Rule:
        rule: Rule = getattr(self, act)
        return rule

    @property
    def offers(self) -> Offers:
        """What the listing says of it."""
        return Offers(*(self.rule(act).audience for act in ACTS))

    def check(self) -> Policy:
        """Itself, or RecordRejected where it names too many peers or what is none."""
        for act in ACTS:
            peers = self.rule(act).peers
            if len(peers) > MAX_NAMED:
                raise RecordRejected(f"a rule names at most {MAX_NAMED} peers")
            for peer in peers:
                _require_peer(peer)
        return self


@dataclass(frozen=True)
class Asker:
    """A user behind a node: ``peer`` is the node's PeerId, ``user`` a pseudonym that it gives, empty for somebody whom
    it does not know."""

    peer: str
    user: str = ""


def promised(offers: Offers, user: str) -> tuple[Act, ...]:
    """What a listing lets a user of any member node do; its owner may allow more to some."""
    return _promised(offers, bool(user))


def offered(listing: Listing, user: str, own: bytes, grants: Grants = NO_GRANTS) -> tuple[Act, ...]:
    """What a user of the node whose key is ``own`` may do as far as a listing says: what it promises, what its owner
    has granted that node of what it gives on request, and everything with what is the node's own, since no policy of a
    node binds those who are signed in there."""
    granted = grants.get(listing.place, NONE) if grants else NONE
    return ACTS if user and listing.owner == own else _promised(listing.offers, bool(user), granted)


@lru_cache(maxsize=1024)
def _promised(offers: Offers, known: bool, granted: frozenset[Act] = NONE) -> tuple[Act, ...]:
    policy, asker = Policy.of(offers), Asker("", "somebody" if known else "")
    return tuple(act for act in ACTS if admits(policy.rule(act), asker, granted=act in granted))


def admits(rule: Rule, asker: Asker, *, granted: bool) -> bool:
    """Whether a rule lets a user of a member node act; ``granted`` is whether the owner has said yes to its request."""
    if rule.audience == "anyone":
        return True
    if not asker.user:
        return False
    return rule.audience == "members" or asker.peer in rule.peers or (rule.audience == "ask" and granted)


def _require_peer(peer: str) -> None:
    try:
        public_key(peer)
    except ProtocolError as error:
        raise RecordRejected(f"a rule names no peer: {error.message}") from None
