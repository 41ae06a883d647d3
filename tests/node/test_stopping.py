"""The end of a node in good order: what is under way gets its answer, nothing new begins, and it exits with 0."""

import asyncio
import signal
from contextlib import AsyncExitStack

import aiohttp
import msgspec
import pytest
from atoll.engine.semantic import SemanticQuery
from atoll.node.client.question import question
from atoll.node.search.query import Filters
from atoll.node.stopping import Stopping


async def asked_slowly(processes, stack, digits, settings):
    """A node, and the body of a search that it cannot end soon: the only peer to ask is stopped in its tracks."""
    asked, frozen = await processes({"asked": (0, 1), "frozen": (2, 3)}, settings)
    fitted = await asked.client.fit(digits.of(0, 1, 2, 3))
    frozen.process.send_signal(signal.SIGSTOP)
    stack.callback(frozen.process.send_signal, signal.SIGCONT)
    return asked, fitted


def body_of(fitted, deadline_ms):
    return msgspec.json.encode(question(fitted, SemanticQuery(), 5, deadline_ms, "rkme", Filters()))


async def events_of(response):
    """Lines of a stream, as they come."""
    async for line in response.content:
        yield msgspec.json.decode(line)


async def test_a_search_in_flight_gets_its_answer_although_the_node_was_told_to_stop(processes, digits):
    async with AsyncExitStack() as stack:
        node, fitted = await asked_slowly(processes, stack, digits, {"ATOLL__HTTP__STOP_SECONDS": "20"})
        headers = {"Authorization": f"Bearer {node.token}", "Accept": "application/x-ndjson"}
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        searches = f"{node.endpoint.url}/api/v1/searches"
        async with session.post(searches, data=body_of(fitted, 4000)) as response:
            events = events_of(response)
            seen = [(await anext(events))["event"]]
            node.process.terminate()
            async with asyncio.timeout(10):
                while await _status(session, f"{node.endpoint.url}/readyz") != 503:
                    await asyncio.sleep(0.02)  # the signal has not arrived yet
            async with session.post(searches, data=body_of(fitted, 4000)) as refused:
                problem = msgspec.json.decode(await refused.read())
                assert (refused.status, problem["code"]) == (503, "node.stopping")
                assert int(refused.headers["Retry-After"]) > 0
            assert await _status(session, f"{node.endpoint.url}/healthz") == 200
            seen += [event["event"] async for event in events]
        assert (seen[0], seen[-1]) == ("plan", "end")
        assert "peer_failed" in seen
        async with asyncio.timeout(20):
            assert await node.process.wait() == 0


async def test_what_does_not_end_in_time_is_told_so_and_asked_twice_it_does_not_wait(processes, digits):
    async with AsyncExitStack() as stack:
        node, fitted = await asked_slowly(processes, stack, digits, {"ATOLL__HTTP__STOP_SECONDS": "3600"})
        headers = {"Authorization": f"Bearer {node.token}"}
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        searches, streamed = f"{node.endpoint.url}/api/v1/searches", {"Accept": "application/x-ndjson"}
        whole = asyncio.ensure_future(_problem(session, searches, body_of(fitted, 50_000)))
        async with session.post(searches, data=body_of(fitted, 50_000), headers=streamed) as response:
            events = events_of(response)
            await anext(events)
            node.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):
                while await _status(session, f"{node.endpoint.url}/readyz") != 503:
                    await asyncio.sleep(0.02)  # the signal has not arrived yet
            node.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):
                *_, last = [event async for event in events]
                assert (last["event"], last["data"]["code"]) == ("error", "node.stopping")
                assert (await whole)["code"] == "node.stopping"
        async with asyncio.timeout(20):
            assert await node.process.wait() == 0


async def _status(session, url):
    async with session.get(url) as response:
        return response.status


async def _problem(session, url, body):
    async with session.post(url, data=body) as response:
        return msgspec.json.decode(await response.read())


async def test_it_waits_for_requests_and_work_but_not_for_who_only_listens():
    stopping, hurry = Stopping(), asyncio.Event()
    left = [3]

    def under_way():
        left[0] -= 1
        return max(left[0], 0)

    with stopping.answering(), stopping.followed():
        async with asyncio.timeout(5):
            assert await stopping.drain(under_way, 60, hurry)
    with stopping.answering():
        assert await stopping.drain(lambda: 0, 0.1, hurry)  # the request took too long
        assert not await stopping.drain(lambda: 1, 0.1, hurry)
        hurry.set()
        async with asyncio.timeout(1):
            assert not await stopping.drain(lambda: 1, 60, hurry)


async def test_an_act_that_the_end_breaks_off_is_in_the_audit_log_as_that(start):
    from atoll.node.api.acts import noting

    (node,) = await start("node")
    token, began = node.node.tokens.all()[0], asyncio.Event()

    async def act():
        async with noting(node.node.audit, token, "test.act", {}):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(act())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [row.outcome for row in node.node.audit.entries(0, 10)][-2:] == ["asked", "node.stopping"]
