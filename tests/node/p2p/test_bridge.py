from __future__ import annotations

import asyncio
import threading

import pytest
import trio
from atoll.node.p2p.bridge import TrioThread
from atoll.node.p2p.errors import AddressInUse, ChannelClosed


async def idle(*, task_status):
    task_status.started("ready")
    await trio.sleep_forever()


@pytest.fixture
async def thread():
    thread = TrioThread()
    assert await thread.start(idle) == "ready"
    yield thread
    await thread.aclose()


async def test_call_returns_the_result_from_the_trio_thread(thread):
    async def where(a, b):
        await trio.lowlevel.checkpoint()
        return a + b, threading.current_thread() is not threading.main_thread()

    assert await thread.call(where, 2, 3) == (5, True)


async def test_call_raises_what_the_function_raises(thread):
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await thread.call(fail)
    assert await thread.call(trio.lowlevel.checkpoint) is None  # the loop lives on


async def test_cancelling_the_caller_cancels_the_callee(thread):
    entered, cancelled = threading.Event(), threading.Event()

    async def wait():
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    caller = asyncio.ensure_future(thread.call(wait))
    await asyncio.to_thread(entered.wait, 5)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await asyncio.to_thread(cancelled.wait, 5)


async def test_call_in_flight_is_answered_when_the_thread_closes():
    thread = TrioThread()
    await thread.start(idle)
    entered = threading.Event()

    async def wait():
        entered.set()
        await trio.sleep_forever()

    caller = asyncio.ensure_future(thread.call(wait))
    await asyncio.to_thread(entered.wait, 5)
    await thread.aclose(5)
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(caller, 5)
    assert await asyncio.wait_for(thread.wait_failed(), 5) is None


async def test_call_after_close_is_refused_at_once():
    thread = TrioThread()
    await thread.start(idle)
    await thread.aclose(5)
    await thread.aclose(5)
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(thread.call(trio.lowlevel.checkpoint), 5)


async def test_crash_of_the_trio_side_surfaces_and_answers_calls_in_flight():
    crash = threading.Event()

    async def main(*, task_status):
        task_status.started(None)
        while not crash.is_set():
            await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("boom")

    thread = TrioThread()
    await thread.start(main)
    caller = asyncio.ensure_future(thread.call(trio.sleep_forever))
    await thread.call(trio.lowlevel.checkpoint)
    crash.set()
    assert isinstance(await asyncio.wait_for(thread.wait_failed(), 5), ZeroDivisionError)
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(caller, 5)
    await thread.aclose(5)


async def test_start_raises_what_main_raises_before_it_is_ready():
    async def main(*, task_status):
        raise AddressInUse("taken")

    with pytest.raises(AddressInUse):
        await TrioThread().start(main)


async def test_error_while_closing_is_not_a_failure(caplog):
    async def main(*, task_status):
        task_status.started(None)
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("Nursery is closed to new arrivals")

    thread = TrioThread()
    await thread.start(main)
    await thread.aclose(5)
    assert await thread.wait_failed() is None
    assert "Nursery is closed" in caplog.text


async def test_trio_awaits_a_function_in_asyncio(thread):
    async def home(value):
        await asyncio.get_running_loop().run_in_executor(None, int)
        return value, threading.current_thread() is threading.main_thread()

    assert await thread.call(thread.call_asyncio, home, 7) == (7, True)


async def test_cancelling_trio_cancels_the_function_in_asyncio(thread):
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def home():
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    caller = asyncio.ensure_future(thread.call(thread.call_asyncio, home))
    await asyncio.wait_for(entered.wait(), 5)
    caller.cancel()
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_many_calls_at_once_each_get_their_own_answer(thread):
    async def echo(value):
        await trio.lowlevel.checkpoint()
        return value

    answers = await asyncio.gather(*(thread.call(echo, n) for n in range(500)))
    assert answers == list(range(500))
