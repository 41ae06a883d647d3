"""Following a search, a reuse session or downloads, event by event, over NDJSON; a connection that breaks is taken up
where it broke.

Promises: every event once, in order, and after the last one the end; NodeUnreachable if the node does not come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import aiohttp
import msgspec
from atoll.node.api.downloads import DownloadBody, DownloadsView, DownloadView, FailureView
from atoll.node.api.problems import Problem
from atoll.node.api.searches import MAX_DEADLINE_MS, SearchBody
from atoll.node.api.streaming import NDJSON
from atoll.node.client.transport import RemoteError, problem
from atoll.node.errors import NodeUnreachable, outcome
from atoll.node.reuse.query import ReusePlan
from atoll.node.reuse.result import Chosen, Downloading, MemberFailed, Progress, ReuseReport
from atoll.node.search.query import Hit, PeerDone, PeerFailed, SearchPlan, SearchResult

ATTEMPTS = 6  # to take a stream up again, without an event in between
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds before an attempt; each is twice as long as the one before
SPARE = 15.0  # seconds without a word beyond the deadline, after which a connection counts as broken
REUSE_SECONDS = 300.0  # without a word, after which a connection to a session counts as broken
DOWNLOAD_SECONDS = 120.0  # the same: an owner may hang, and a package of 2 GiB is checked
MAX_LINE = 32 * 1024 * 1024

EventName = Literal["plan", "hit", "peer_done", "peer_failed", "answer", "correction", "end"]
EventData = SearchPlan | Hit | PeerDone | PeerFailed | SearchResult
TYPES: Mapping[str, type[EventData]] = {
    "plan": SearchPlan, "hit": Hit, "peer_done": PeerDone, "peer_failed": PeerFailed, "answer": SearchResult,
    "correction": SearchResult, "end": SearchResult,
}  # fmt: skip
assert set(TYPES) == set(get_args(EventName))

ReuseEventName = Literal["plan", "download", "progress", "member_failed", "chosen", "end"]
ReuseEventData = ReusePlan | Downloading | Progress | MemberFailed | Chosen | ReuseReport
REUSE_TYPES: Mapping[str, type[ReuseEventData]] = {
    "plan": ReusePlan, "download": Downloading, "progress": Progress, "member_failed": MemberFailed, "chosen": Chosen,
    "end": ReuseReport,
}  # fmt: skip
assert set(REUSE_TYPES) == set(get_args(ReuseEventName))
DownloadData = Downloading | DownloadView | FailureView | DownloadsView
DOWNLOAD_TYPES: Mapping[str, type[DownloadData]] = {
    "download": Downloading, "fetched": DownloadView, "failed": FailureView, "end": DownloadsView,
}  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class SearchEvent:
    """What has happened, numbered from 1. ``data`` is a SearchPlan (plan: told before anybody is asked), a Hit (hit:
    provisional, by sketches), a PeerDone or PeerFailed, or the whole SearchResult as it is then (answer, correction,
    and last end)."""

    id: int
    event: EventName
    data: EventData


@dataclass(frozen=True)
class ReuseEvent:
    """What has happened in a session, numbered from 1; it ends with the whole ReuseReport."""

    id: int
    event: ReuseEventName
    data: ReuseEventData


class _Told(msgspec.Struct):
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
    search_id = ""
    seconds = (body.deadline_ms or MAX_DEADLINE_MS) / 1000 + SPARE

    def connect(last: int) -> AsyncGenerator[_Told]:
        if search_id:
            return _connection(session, "GET", f"{url}/{search_id}/events", seconds, last)
        return _connection(session, "POST", url, seconds, 0, msgspec.json.encode(body))

    async with aclosing(_taken_up(connect, lambda why: _gone(url, search_id, why), lambda: search_id != "")) as told:
        async for each in told:
            if each.event not in TYPES:
                continue
            data = _data(each, TYPES[each.event], url)
            if isinstance(data, SearchPlan):
                search_id = data.search_id
            yield SearchEvent(each.id, msgspec.convert(each.event, EventName), data)


async def follow_reuse(session: aiohttp.ClientSession, url: str) -> AsyncGenerator[ReuseEvent]:
    """The events of a reuse session, up to ``end``. ``url`` is that of its events.

    RemoteError for a session that fails, or that the node has forgotten.
    """

    def connect(last: int) -> AsyncGenerator[_Told]:
        return _connection(session, "GET", url, REUSE_SECONDS, last)

    def gone(why: str) -> NodeUnreachable:
        return NodeUnreachable(f"the reuse session broke off: {why}", hint="the node may have stopped: plan it again")

    async with aclosing(_taken_up(connect, gone, lambda: True)) as told:
        async for each in told:
            if each.event in REUSE_TYPES:
                data = _data(each, REUSE_TYPES[each.event], url)
                yield ReuseEvent(each.id, msgspec.convert(each.event, ReuseEventName), data)


async def follow_downloads(
    session: aiohttp.ClientSession, url: str, body: DownloadBody
) -> AsyncGenerator[DownloadData]:
    """What becomes of downloads at a node, up to the whole answer. ``url`` is that of its downloads. Where it breaks
    off it is asked again, and goes on from what is there."""

    begun = False

    def connect(last: int) -> AsyncGenerator[_Told]:
        return _connection(session, "POST", url, DOWNLOAD_SECONDS, 0, msgspec.json.encode(body))

    def gone(why: str) -> NodeUnreachable:
        if not begun:
            return _gone(url, "", why)
        return NodeUnreachable(f"the download broke off: {why}", hint="the same command goes on from there")

    async with aclosing(_taken_up(connect, gone, lambda: begun)) as told:
        async for each in told:
            begun = True
            if each.event in DOWNLOAD_TYPES:
                yield _data(each, DOWNLOAD_TYPES[each.event], url)


async def _taken_up(
    connect: Callable[[int], AsyncGenerator[_Told]], gone: Callable[[str], NodeUnreachable],
    resumable: Callable[[], bool],
) -> AsyncGenerator[_Told]:  # fmt: skip
    """What a stream brings up to its end, over as many connections as it takes."""
    last, failures = 0, 0
    while True:
        try:
            async with aclosing(connect(last)) as told:
                async for each in told:
                    last, failures = each.id, 0
                    yield each
                    if each.event == "end":
                        return
            raise _Broken("it ended without an answer")
        except (_Broken, aiohttp.ClientError, TimeoutError) as error:
            failures += 1
            if not resumable() or failures > ATTEMPTS:
                raise gone(str(error) or type(error).__name__) from None
            await asyncio.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)))


async def _connection(
    session: aiohttp.ClientSession, method: Literal["GET", "POST"], url: str, seconds: float, last: int,
    data: bytes | None = None,
) -> AsyncGenerator[_Told]:  # fmt: skip
    """What one connection brings: a POST begins something, a GET goes on after the event ``last``."""
    timeout = aiohttp.ClientTimeout(connect=5, sock_read=seconds)
    headers = {"Accept": NDJSON} | ({"Last-Event-ID": str(last)} if method == "GET" else {})
    async with session.request(method, url, data=data, headers=headers, timeout=timeout) as response:
        if response.status >= 400:
            answer = await response.read()
            if method == "GET" and (response.status >= 500 or response.status == 429):
                raise _Broken(f"status {response.status}")
            raise RemoteError(problem(answer, response.status))
        async for line in _lines(response.content):
            each = _told(line, url)
            if each.id > last:
                yield each


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


def _told(line: bytes, url: str) -> _Told:
    """One line. What ended the stream is raised."""
    try:
        found = msgspec.json.decode(line, type=_Told)
        if found.event != "error":
            return found
        failure = msgspec.json.decode(found.data, type=_Failure)
    except msgspec.DecodeError as error:
        raise _no_node(url, error) from None
    raise RemoteError(Problem(failure.code, failure.detail, outcome(failure.code).status))


def _data(told: _Told, type_: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(told.data, type=type_)
    except msgspec.DecodeError as error:
        raise _no_node(url, error) from None


def _no_node(url: str, error: Exception) -> NodeUnreachable:
    return NodeUnreachable(f"{url} did not answer as an Atoll node: {error}")


def _gone(url: str, search_id: str, why: str) -> NodeUnreachable:
    if not search_id:
        return NodeUnreachable(f"no node answers at {url}: {why}", hint="is `atoll serve` running?")
    return NodeUnreachable(f"the search {search_id} broke off: {why}", hint="the node may have stopped: search again")
