"""Following a search event by event, over NDJSON; a connection that breaks is taken up after the last event.

Promises: every event once, in order, and after the last one the end; NodeUnreachable if the node does not come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, get_args

import aiohttp
import msgspec
from atoll.node.api.problems import Problem
from atoll.node.api.searches import MAX_DEADLINE_MS, SearchBody
from atoll.node.api.streaming import NDJSON
from atoll.node.client.transport import RemoteError, problem
from atoll.node.errors import NodeUnreachable, outcome
from atoll.node.search.query import Hit, PeerDone, PeerFailed, SearchPlan, SearchResult

ATTEMPTS = 6  # to take a stream up again, without an event in between
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds before an attempt; each is twice as long as the one before
SPARE = 15.0  # seconds without a word beyond the deadline, after which a connection counts as broken
MAX_LINE = 32 * 1024 * 1024

EventName = Literal["plan", "hit", "peer_done", "peer_failed", "answer", "correction", "end"]
EventData = SearchPlan | Hit | PeerDone | PeerFailed | SearchResult
TYPES: Mapping[str, type[EventData]] = {
    "plan": SearchPlan, "hit": Hit, "peer_done": PeerDone, "peer_failed": PeerFailed, "answer": SearchResult,
    "correction": SearchResult, "end": SearchResult,
}  # fmt: skip
assert set(TYPES) == set(get_args(EventName))


@dataclass(frozen=True)
class SearchEvent:
    """What has happened, numbered from 1. ``data`` is a SearchPlan (plan: told before anybody is asked), a Hit (hit:
    provisional, by sketches), a PeerDone or PeerFailed, or the whole SearchResult as it is then (answer, correction,
    and last end)."""

    id: int
    event: EventName
    data: EventData


class _Line(msgspec.Struct):
    id: int
    event: str
    data: msgspec.Raw


class _Failure(msgspec.Struct):
    code: str
    detail: str


class _Broken(Exception):
    """The connection is gone, or the node is too busy to go on."""


async def follow(session: aiohttp.ClientSession, url: str, body: SearchBody) -> AsyncGenerator[SearchEvent]:
    """The events of a new search, up to ``end``. ``url`` is that of the node's searches.

    RemoteError for a search that is refused, that fails, or that the node has forgotten.
    """
    last, search_id, failures = 0, "", 0
    while True:
        try:
            async with aclosing(_connection(session, url, body, search_id, last)) as events:
                async for event in events:
                    last, failures = event.id, 0
                    if isinstance(event.data, SearchPlan):
                        search_id = event.data.search_id
                    yield event
                    if event.event == "end":
                        return
            raise _Broken("it ended without an answer")
        except (_Broken, aiohttp.ClientError, TimeoutError) as error:
            failures += 1
            if not search_id or failures > ATTEMPTS:
                raise _gone(url, search_id, str(error) or type(error).__name__) from None
            await asyncio.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)))


async def _connection(
    session: aiohttp.ClientSession, url: str, body: SearchBody, search_id: str, last: int
) -> AsyncGenerator[SearchEvent]:
    """What one connection brings: the first asks, others go on after the event ``last``."""
    timeout = aiohttp.ClientTimeout(connect=5, sock_read=(body.deadline_ms or MAX_DEADLINE_MS) / 1000 + SPARE)
    headers = {"Accept": NDJSON}
    if search_id:
        headers["Last-Event-ID"] = str(last)
        request = session.get(f"{url}/{search_id}/events", headers=headers, timeout=timeout)
    else:
        request = session.post(url, data=msgspec.json.encode(body), headers=headers, timeout=timeout)
    async with request as response:
        if response.status >= 400:
            answer = await response.read()
            if search_id and (response.status >= 500 or response.status == 429):
                raise _Broken(f"status {response.status}")
            raise RemoteError(problem(answer, response.status))
        async for line in _lines(response.content):
            event = _event(line, url)
            if event is not None and event.id > last:
                yield event


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines; what follows the last line break is none, the connection broke there."""
    pending = bytearray()
    async for piece in content.iter_any():
        pending += piece
        *whole, rest = pending.split(b"\n")
        pending = bytearray(rest)
        for line in whole:
            yield bytes(line)
        if len(pending) > MAX_LINE:
            raise NodeUnreachable(f"a line of the answer is longer than {MAX_LINE} bytes: that is no Atoll node")


def _event(line: bytes, url: str) -> SearchEvent | None:
    """The event of a line; None for one that this version does not know. What ended the search is raised."""
    try:
        found = msgspec.json.decode(line, type=_Line)
        if found.event == "error":
            failure = msgspec.json.decode(found.data, type=_Failure)
            raise RemoteError(Problem(failure.code, failure.detail, outcome(failure.code).status))
        if found.event not in TYPES:
            return None
        return SearchEvent(
            found.id, msgspec.convert(found.event, EventName), msgspec.json.decode(found.data, type=TYPES[found.event])
        )
    except msgspec.DecodeError as error:
        raise NodeUnreachable(f"{url} did not answer as an Atoll node: {error}") from None


def _gone(url: str, search_id: str, why: str) -> NodeUnreachable:
    if not search_id:
        return NodeUnreachable(f"no node answers at {url}: {why}", hint="is `atoll serve` running?")
    return NodeUnreachable(f"the search {search_id} broke off: {why}", hint="the node may have stopped: search again")
