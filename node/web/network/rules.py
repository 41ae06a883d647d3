"""The lists of whom to admit: what a change would do, and then, if it is still wanted, the change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web
from atoll.node.admission import KINDS
from atoll.node.api import peer_rules
from atoll.node.api.peer_rules import RuleChange
from atoll.node.errors import RequestInvalid
from atoll.node.web.answers import html
from atoll.node.web.network.peer import key_of, line_of
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit


async def ask(visit: Visit) -> web.Response:
    """What the change would do; nothing is changed."""
    rule = _rule(visit, visit.request.query)
    change = await peer_rules.foresee(visit.node, rule)
    line = await asyncio.to_thread(line_of, visit.node, rule.peer, frozenset())
    return await html(visit, "network/rule.html", rule=rule, change=change, line=line)


async def change(visit: Visit) -> web.Response:
    """Change the list; LockOut unless whoever does it has said that it is meant."""
    fields = await visit.fields()
    rule, force = _rule(visit, fields), fields.get("force") == "yes"
    noted = {"peer": rule.peer, "kind": rule.kind} | ({"force": "true"} if force else {})
    async with visit.noting(f"peer_rule.{rule.act}", **noted):
        await peer_rules.apply(visit.node, rule, force=force)
    known = await asyncio.to_thread(line_of, visit.node, rule.peer, frozenset()) is not None
    raise web.HTTPSeeOther(f"/network/peers/{rule.peer}?said=ruled" if known else "/network")


def _rule(visit: Visit, fields: Mapping[str, str]) -> RuleChange:
    key_of(visit)
    kind = next((each for each in KINDS if each == fields.get("kind")), None)
    if kind is None or fields.get("act") not in ("add", "remove"):
        raise RequestInvalid("this page adds to the allow or the deny list, or removes from them")
    return RuleChange("add" if fields["act"] == "add" else "remove", kind, visit.request.match_info["peer"])


PAGES = (
    Page("GET", "/network/peers/{peer}/rules", ask, "admin"),
    Page("POST", "/network/peers/{peer}/rules", change, "admin"),
)
