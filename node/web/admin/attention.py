"""What at a node needs a hand, in words: what is the matter, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from atoll.engine.runtime import Rung
from atoll.node.language import gettext, ngettext, size
from atoll.node.store.environment import Space
from atoll.node.store.tokens import TokenRow
from atoll.protocol.limits import DAY

if TYPE_CHECKING:
    from atoll.node.app import Node

LATE = 6  # of a certificate's life: it is renewed when a third is left, so with a sixth left that has failed for long
SOON = 7 * DAY
FULL, LEAST_FREE = 0.05, 1 << 30  # of a disk; whichever is less
NEAR = 0.8  # of the most that a store may take
CACHE_NEAR = 0.9


class Concern(NamedTuple):
    """``path``: the page where something can be done, named by ``leads``; empty where it is done elsewhere."""

    level: Literal["bad", "warn"]
    words: str
    remedy: str
    path: str = ""
    leads: str = ""


def concerns(node: Node, held: Rung, space: Space, now: int) -> list[Concern]:
    """The worst first; blocks for as long as reading tokens and the disk's figures takes."""
    found = [
        *_memberships(node, now), *_store(space), *_disk(node.home), *_sandbox(held), *_waiting(node),
        *_recovery(node), *_tokens(node.tokens.all(), now), *_alone(node), *_downloads(node),
    ]  # fmt: skip
    return sorted(found, key=lambda each: each.level != "bad")


def free_of(home: Path) -> tuple[int, int]:
    """Bytes of the disk that are free, and all."""
    usage = shutil.disk_usage(home)
    return usage.free, usage.total


def _memberships(node: Node, now: int) -> Iterator[Concern]:
    for each in node.federations.all():
        own, path = each.certificate, f"/federations/{each.id.hex()}"
        days = max(0, own.expires_at - now) // DAY
        facts = {"name": each.charter.name, "days": days}
        leads = gettext("See the federation")
        if not node.federations.standing(each.id, node.identity.public, now):
            expired = now >= own.expires_at
            words = (
                gettext("The membership in %(name)s has expired.")
                if expired
                else gettext("This node is no member of %(name)s any more: an admin has revoked it.")
            )
            remedy = (
                gettext("Renew it while an admin's node is running, or ask for a new invite.")
                if expired
                else gettext("Ask its admins for a new invite, or leave it.")
            )
            yield Concern("bad", words % facts, remedy, path, leads)
        elif own.expires_at - now < (own.expires_at - own.not_before) // LATE:
            words = ngettext(
                "The membership in %(name)s ends in %(days)s day and was not renewed.",
                "The membership in %(name)s ends in %(days)s days and was not renewed.",
                days,
            )
            remedy = gettext("It is renewed at an admin's node: see that one is running and can be reached.")
            yield Concern("warn", words % facts, remedy, path, leads)


def _store(space: Space) -> Iterator[Concern]:
    if space.used > NEAR * space.most:
        yield Concern(
            "bad",
            gettext("The store takes %(used)s of the %(most)s that it may ever take.")
            % {"used": size(space.used), "most": size(space.most)},
            gettext("Make a backup, then leave federations that are not needed."),
            "/admin/storage", gettext("See what takes the space"),
        )  # fmt: skip


def _disk(home: Path) -> Iterator[Concern]:
    free, whole = free_of(home)
    if free < min(LEAST_FREE, FULL * whole):
        yield Concern(
            "bad",
            gettext("The disk is nearly full: %(free)s of %(whole)s are free.")
            % {"free": size(free), "whole": size(whole)},
            gettext("Forget downloads, lower reuse.cache_bytes, or give the home a larger disk."),
            "/admin/storage", gettext("See what takes the space"),
        )  # fmt: skip


def _sandbox(held: Rung) -> Iterator[Concern]:
    if held.level != "strong":
        words = (
            gettext("No sandbox holds here: models of others do not run.")
            if held.level == "none"
            else gettext("The sandbox is limited: of others' models only ONNX runs here.")
        )
        yield Concern("bad" if held.level == "none" else "warn", words, f"{held.missing}: {held.hint}")


def _waiting(node: Node) -> Iterator[Concern]:
    count = node.gate.requests.waiting()
    if count:
        words = ngettext(
            "%(count)s request of another institution waits for an answer.",
            "%(count)s requests of other institutions wait for an answer.",
            count,
        )
        remedy = gettext("Grant or deny it.")
        yield Concern("warn", words % {"count": count}, remedy, "/requests?state=pending", gettext("See the requests"))


def _recovery(node: Node) -> Iterator[Concern]:
    if not node.config.node.recovery:
        yield Concern(
            "warn",
            gettext("This node has no recovery key: if its key is lost or stolen, it cannot get another."),
            gettext("A home that `atoll init` makes anew has one."),
            "/docs/security", gettext("Read about keys"),
        )  # fmt: skip


def _tokens(tokens: list[TokenRow], now: int) -> Iterator[Concern]:
    admins = [each.expires_at for each in tokens if "admin" in each.scopes and each.in_force(now)]
    latest = max((at for at in admins if at is not None), default=0)
    if admins and None not in admins and latest - now < SOON:
        yield Concern(
            "warn",
            gettext("The last token with the scope admin expires within a week."),
            gettext("Make another one before: without one only `atoll init` makes tokens."),
            "/admin/tokens", gettext("See the tokens"),
        )  # fmt: skip


def _alone(node: Node) -> Iterator[Concern]:
    known = [each for each in node.peers.all() if each.proven or each.configured]
    if known and not node.peers.live():
        yield Concern(
            "warn",
            gettext("No peer can be reached."),
            gettext("Look whether this machine is online, and whether p2p.listen and p2p.announce are right."),
            "/network", gettext("See why"),
        )  # fmt: skip


def _downloads(node: Node) -> Iterator[Concern]:
    held, quota = sum(row.size for _, row in node.downloads.all()), node.downloads.quota
    if held > CACHE_NEAR * quota:
        yield Concern(
            "warn",
            gettext("Downloads take %(held)s of %(quota)s: what was not used for longest makes room.")
            % {"held": size(held), "quota": size(quota)},
            gettext("Raise reuse.cache_bytes if models are fetched again and again."),
            "/admin/storage", gettext("See the downloads"),
        )  # fmt: skip
