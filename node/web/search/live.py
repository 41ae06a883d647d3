"""A search as it goes, for the script of the page: what happens, as parts of the page that are rendered here.

Every event keeps the id that it has in the search, so a browser that lost the connection goes on after the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from atoll.node import language
from atoll.node.search.query import Hit, PeerDone, PeerFailed, SearchPlan, SearchResult
from atoll.node.search.running import Event, Running
from atoll.node.web.following import Part
from atoll.node.web.rendering import render
from atoll.node.web.search import words
from atoll.node.web.search.overlay import overlay

if TYPE_CHECKING:
    from atoll.node.app import Node

Peers = dict[str, str | None]  # why a peer has failed, "" if it has answered, None while it is waited for


class Live:
    """One browser's view of a search; events go in, parts come out."""

    def __init__(self, node: Node, running: Running) -> None:
        self._node = node
        self._running = running
        self._peers: Peers = {}
        self._hits = 0

    def part(self, event: Event) -> Part:
        """To be called with every event in order, in a thread."""
        match event.data:
            case SearchPlan() as plan if self._peers:  # more are asked
                self._peers = dict.fromkeys(plan.peers_asked) | self._peers
                html = render("search/_peers.html", self._node, peers=self._peers, doubted=())
                return Part(self._status(), "peers", html=html)
            case SearchPlan() as plan:
                self._peers = dict.fromkeys(plan.peers_asked)
                html = render("search/_begun.html", self._node, leaves=leaves(self._running), peers=self._peers)
                return Part(self._status(), "results", html=html)
            case Hit() as hit:
                self._hits += 1
                html = render("search/_hit.html", self._node, hit=hit, rank=self._hits, search=self._running.id)
                return Part(self._status(), "hits", "append", html)
            case PeerDone() | PeerFailed() as peer:
                self._peers[peer.peer] = peer.why if isinstance(peer, PeerFailed) else ""
                html = render("search/_peers.html", self._node, peers=self._peers, doubted=())
                return Part(self._status(), "peers", html=html)
            case SearchResult() as result if event.event != "end":
                return Part(words.told(result), "results", html=results(self._node, self._running, result))
            case SearchResult() as result:  # all of it was told
                return Part(words.told(result))
        return Part(self._status())

    def _status(self) -> str:
        late = sum(why is None for why in self._peers.values())
        return words.waiting(self._hits, late, len(self._peers))


async def parts(node: Node, running: Running, after: int) -> AsyncIterator[tuple[Event, Part]]:
    """All that happens after the event with that id, until the search's end; what ended it if that was an error."""
    live = Live(node, running)
    async for event in running.events():
        if event.id > after or not isinstance(event.data, SearchResult):  # counted, if not told again
            part = await asyncio.to_thread(live.part, event)
            if event.id > after:
                yield event, part


def results(node: Node, running: Running, result: SearchResult, wanted: list[str] | None = None) -> str:
    """The whole answer; render it in a thread."""
    picture = overlay(running, result, wanted or [])
    return render(
        "search/_results.html", node, result=result, peers=peers_of(result), picture=picture, search=result.search_id,
        leaves=leaves(running),
    )  # fmt: skip


def leaves(running: Running) -> str:
    """What leaves the node for a search, in the language in force."""
    return running.leaves.get(language.current(), "")


def peers_of(result: SearchResult) -> Peers:
    waiting: Peers = dict.fromkeys(result.peers_asked)
    return {**waiting, **dict.fromkeys(result.peers_answered, ""), **result.peers_failed}
