"""Some nodes in one process, for the benchmark of search: they count match frames, measure what their event loop is
kept busy by, and may be made slow or lying.

    python search_nodes.py HOME...      one line of JSON a command on stdin, one answer each on stdout
"""

from __future__ import annotations

import asyncio
import asyncio.events
import gc
import json
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio
from atoll.node.api.server import serving
from atoll.node.app import Node, running
from atoll.node.p2p.streams import Channel, Streams
from atoll.node.store.loading import set_aside
from atoll.protocol import limits, match
from atoll.protocol.match import MatchReply
from atoll.protocol.messages import Refusal, decode, encode
from search_faults_made import FAULTS

KEPT = 50  # callbacks that took longest


class LoopMeter:
    """CPU milliseconds of single callbacks of all asyncio loops in this process."""

    def __init__(self) -> None:
        self.longest: list[tuple[float, str]] = []
        self.callbacks = 0
        self._collections = 0
        gc.callbacks.append(self._collected)
        run = asyncio.events.Handle._run

        def measured(handle: asyncio.events.Handle) -> None:
            started, before = time.thread_time(), self._collections
            try:
                run(handle)
            finally:
                spent = 1000 * (time.thread_time() - started)
                self._note(spent, _said(handle) + (" (garbage collection)" if self._collections > before else ""))

        asyncio.events.Handle._run = measured

    def _note(self, spent: float, said: str) -> None:
        self.callbacks += 1
        if len(self.longest) < KEPT or spent > self.longest[-1][0]:
            self.longest = sorted([*self.longest, (spent, said)], reverse=True)[:KEPT]

    def _collected(self, phase: str, about: dict[str, int]) -> None:
        self._collections += phase == "stop" and about["generation"] == 2

    def reset(self) -> None:
        self.longest, self.callbacks = [], 0


def _said(handle: asyncio.events.Handle) -> str:
    """What ran, as far as a handle tells: the coroutine of a task's step, else the callback."""
    owner = getattr(handle._callback, "__self__", None)
    coroutine = owner.get_coro() if isinstance(owner, asyncio.Task) else handle._callback
    return str(getattr(coroutine, "__qualname__", coroutine))


class Matching:
    """Wraps the serving of match streams: counts them by node, and lets faults act on them."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        self.faults: dict[str, str] = {}
        serve = Streams.serve

        def serve_counted(streams: Streams, protocol: str, handler: Any, **more: Any) -> None:
            if protocol != match.PROTOCOL:
                serve(streams, protocol, handler, **more)
                return
            own = str(streams._host.get_id())

            async def handle(channel: Channel) -> None:
                self.frames[own] += 1
                fault = self.faults.get(own)
                if fault is None:
                    await handler(channel)
                    return
                delay, lie = FAULTS[fault]
                await trio.sleep(delay)
                await handler(_Lying(channel, lie))

            serve(streams, protocol, handle, **more)

        Streams.serve = serve_counted


class _Lying:
    """A channel whose replies say something else."""

    def __init__(self, channel: Channel, lie: Any) -> None:
        self._channel, self._lie = channel, lie

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def send(self, frame: bytes) -> None:
        reply = decode(frame, MatchReply | Refusal, limit=limits.MATCH_FRAME)
        await self._channel.send(encode(self._lie(reply)) if isinstance(reply, MatchReply) else frame)


async def obey(line: bytes, nodes: list[Node], meter: LoopMeter, matching: Matching) -> object:
    asked = json.loads(line)
    if asked["do"] == "dial":
        for node in nodes:
            for address in asked["addresses"]:
                await node.network.dial(address)
    elif asked["do"] == "wait":
        async with asyncio.timeout(60):
            while any(len(node.peers.live()) < asked["peers"] for node in nodes):
                await asyncio.sleep(0.05)
    elif asked["do"] == "fault":
        matching.faults = asked["kinds"]
    elif asked["do"] == "reset":
        meter.reset()
        matching.frames.clear()
    elif asked["do"] == "stats":
        busy = time.process_time()
        return {"longest": meter.longest[:5], "callbacks": meter.callbacks, "frames": matching.frames, "cpu": busy}
    return {}


async def main(homes: list[Path]) -> None:
    meter, matching = LoopMeter(), Matching()
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with AsyncExitStack() as stack:
        nodes, told = [], []
        for home in homes:
            node = await stack.enter_async_context(running(home))
            url = await stack.enter_async_context(serving(node))
            nodes.append(node)
            told.append({"peer": node.identity.peer, "url": url, "address": node.network.addresses[0]})
        set_aside()  # as ``atoll serve`` does
        print(json.dumps(told), flush=True)
        while line := await lines.readline():
            print(json.dumps(await obey(line, nodes, meter, matching)), flush=True)


if __name__ == "__main__":
    asyncio.run(main([Path(each) for each in sys.argv[1:]]))
