"""Policies that no learnware can keep: what is not run is not offered, and who may have a file may have all in it."""

from __future__ import annotations

from typing import get_args

from atoll.engine.packages import Manifest
from atoll.engine.packages.runnable import why_not
from atoll.engine.runtime.formats import BEIMINGWU
from atoll.node.errors import RequestInvalid
from atoll.protocol.listings import Audience
from atoll.protocol.policy import Act, Policy, Rule

AUDIENCES: tuple[Audience, ...] = get_args(Audience)  # each takes in all those before it


def check_policy(policy: Policy, manifest: Manifest) -> None:
    """RequestInvalid, with the reason, for a policy that does not fit the learnware."""
    for fault in misfits(policy, manifest).values():
        raise fault


def misfits(policy: Policy, manifest: Manifest) -> dict[Act, RequestInvalid]:
    """What of a policy does not fit the learnware, and why."""
    found: dict[Act, RequestInvalid] = {}
    if (reason := why_not(manifest)) and _offered(policy.predict):
        found["predict"] = RequestInvalid(
            f"predict cannot be offered: {reason}", hint="offer match, disclose or download"
        )
    if manifest.model_format == BEIMINGWU and not _takes_in(policy.disclose, policy.download):
        found["download"] = RequestInvalid(
            "download cannot be offered to more than disclose is: a package of Beimingwu's holds its specification",
            hint="offer disclose to at least the same users and peers; where download is for who asks, to all members",
        )
    return found


def _offered(rule: Rule) -> bool:
    return rule.audience != "nobody" or bool(rule.peers)


def _takes_in(wide: Rule, narrow: Rule) -> bool:
    """Whether all whom ``narrow`` admits, or may admit on request, are admitted by ``wide``. Requests are granted an
    act at a time: who is granted the one has not been granted the other."""
    if wide.audience in ("members", "anyone"):
        return AUDIENCES.index(narrow.audience) <= AUDIENCES.index(wide.audience)
    return narrow.audience == "nobody" and set(narrow.peers) <= set(wide.peers)
