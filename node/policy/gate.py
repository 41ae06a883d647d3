"""The gate: every act with an own learnware, from whomever, is let through or refused here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from atoll.node.policy.requests import RequestRow, Requests
from atoll.node.policy.rules import Policies
from atoll.node.policy.usage import Taken, Usage
from atoll.protocol.ask import ActState, AskReply, AskRequest
from atoll.protocol.errors import PolicyDenied
from atoll.protocol.ids import public_key
from atoll.protocol.listings import Listing
from atoll.protocol.policy import ACTS, USER, Act, Asker, Policy, Rule, admits

HINTS = {"ask": "ask the owner for it: `atoll learnware ask`", "anyone": "", "members": "sign in at your node"}


class Permission(msgspec.Struct, frozen=True):
    """What one peer's signed-in users may do, and what its anonymous ones may."""

    peer_id: str
    name: str
    acts: tuple[Act, ...]
    anonymous: tuple[Act, ...]


class Gate:
    """Thread-safe. ``own`` is this node's PeerId: its signed-in users may do everything with its learnwares."""

    def __init__(self, own: str, policies: Policies, requests: Requests, usage: Usage) -> None:
        self._own = own
        self.policies = policies
        self.requests = requests
        self.usage = usage

    def policy(self, listing: Listing) -> Policy:
        """The policy behind an own listing."""
        return self.policies.get(listing.federation, listing.learnware_id) or Policy.of(listing.offers)

    def may(self, act: Act, listing: Listing, asker: Asker, now: int, policy: Policy | None = None) -> bool:
        """Whether an asker from the federation is admitted, quotas aside; by ``policy`` in place of that in force."""
        if asker.peer == self._own and asker.user:
            return True
        rule = (policy or self.policy(listing)).rule(act)
        granted = rule.audience == "ask" and self.requests.granted(
            listing.federation, listing.learnware_id, public_key(asker.peer), act, now
        )
        return admits(rule, asker, granted=granted)

    def allowed(
        self, act: Act, policy: Policy, listings: Sequence[Listing], asker: Asker, now: int
    ) -> Sequence[Listing]:
        """Those of the listings, all under one policy, with which an asker is admitted and has not used up its day: as
        :meth:`may` and :meth:`left` say one by one, which is looked up only where requests or quotas differ."""
        own, rule = asker.peer == self._own, policy.rule(act)
        if own and asker.user:
            return listings
        if not admits(rule, asker, granted=False):
            if not admits(rule, asker, granted=True):
                return ()
            granted = self.requests.granted_to(public_key(asker.peer), act, now)
            listings = [each for each in listings if (each.federation, each.learnware_id) in granted] if granted else ()
        if own or (rule.per_peer is None and rule.per_user is None):
            return listings
        return [
            each for each in listings if self.usage.left(act, asker, each.federation, each.learnware_id, rule, now) != 0
        ]

    def acts(self, listing: Listing, asker: Asker, now: int, policy: Policy | None = None) -> tuple[Act, ...]:
        """All that an asker may do."""
        return tuple(act for act in ACTS if self.may(act, listing, asker, now, policy))

    def require(self, act: Act, listing: Listing, asker: Asker, now: int) -> None:
        """PolicyDenied unless the asker is admitted."""
        if not self.may(act, listing, asker, now):
            hint = HINTS.get(self.policy(listing).rule(act).audience)
            raise PolicyDenied(f"{listing.semantic.name}: the owner does not offer you to {act} it", hint=hint or None)

    def count(self, act: Act, listings: Iterable[tuple[Listing, int]], asker: Asker, now: int) -> Taken:
        """Count what an asker does (listing, amount); QuotaExceeded, and then nothing is counted. The own users have no
        quota. What comes to nothing can be given back to ``usage``."""
        free = asker.peer == self._own
        return self.usage.take(
            act, asker,
            [(each.federation, each.learnware_id, Rule() if free else self.policy(each).rule(act), amount)
             for each, amount in listings],
            now,
        )  # fmt: skip

    def left(self, act: Act, listing: Listing, asker: Asker, now: int) -> bool:
        """Whether an asker that is admitted has not used up its day."""
        if asker.peer == self._own:
            return True
        rule = self.policy(listing).rule(act)
        return self.usage.left(act, asker, listing.federation, listing.learnware_id, rule, now) != 0

    def used(self, act: Act, listing: Listing, asker: Asker, now: int) -> int:
        """How much an asker has done today."""
        return self.usage.used(act, asker, listing.federation, listing.learnware_id, now)

    def who_can(
        self, listing: Listing, peers: Iterable[tuple[str, str]], now: int, policy: Policy | None = None
    ) -> list[Permission]:
        """Of each (PeerId, name): what it may do, by ``policy`` or the one in force."""
        return [
            Permission(
                peer, name,
                self.acts(listing, Asker(peer, "somebody"), now, policy), self.acts(listing, Asker(peer), now, policy),
            )
            for peer, name in peers
        ]  # fmt: skip

    def ask(self, listing: Listing, asker: Asker, request: AskRequest, now: int) -> AskReply:
        """Keep what a signed-in user asks for, where the policy takes requests; PolicyDenied where it does not."""
        peer = public_key(asker.peer)
        for act in dict.fromkeys(request.acts):
            if self.may(act, listing, asker, now):
                continue
            if not asker.user or self.policy(listing).rule(act).audience != "ask":
                raise PolicyDenied(f"{listing.semantic.name}: the owner takes no requests to {act} it")
            row = RequestRow(
                listing.federation, listing.learnware_id, peer, act, request.words, asker.user[:USER], asked_at=now
            )
            self.requests.make(row, now)
        return AskReply(tuple(self._state(act, listing, asker, now) for act in ACTS))

    def _state(self, act: Act, listing: Listing, asker: Asker, now: int) -> ActState:
        row = self.requests.find(listing.federation, listing.learnware_id, public_key(asker.peer), act)
        if self.policy(listing).rule(act).audience == "ask" and row is not None:
            return row.state_at(now)
        return ActState(act, "open" if self.may(act, listing, asker, now) else "closed")
