"""One trio loop in one thread of its own, awaited from asyncio: the only crossing between the two.

libp2p runs on trio and the rest of the daemon on asyncio. Promises: every call gets an answer, also when the
trio side is cancelled, closed or crashes; cancelling the caller cancels the callee; a crash is seen by
``wait_failed``. A ``TrioThread`` runs once: after a crash, make a new one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar, TypeVarTuple

import trio
from atoll.node import journal
from atoll.node.p2p.errors import ChannelClosed

log = logging.getLogger("atoll.p2p")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
Ts = TypeVarTuple("Ts")
Deliver = Callable[[T | None, BaseException | None], None]


class Started(Protocol[T_contra]):
    """The task_status of trio, of which only this is used."""

    def started(self, value: T_contra) -> None: ...


class Main(Protocol[T_co]):
    """What runs for the life of the thread, and says through ``task_status`` that it is ready."""

    def __call__(self, *, task_status: Started[T_co]) -> Awaitable[object]: ...


class TrioThread:
    """Owns the thread, its trio loop and the nursery in which every ``call`` runs."""

    def __init__(self, name: str = "atoll-p2p") -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[BaseException | None] | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._scope: trio.CancelScope | None = None
        self._closing = False

    async def start(self, main: Main[T]) -> T:
        """Run ``main(task_status=...)`` in the thread; returns what it hands to ``task_status.started``.

        Whatever ``main`` raises before that is raised here. ``main`` holds the host open until cancelled.
        """
        if self._thread is not None:
            raise ChannelClosed("this network thread has run already", hint="make a new TrioThread")
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        started: asyncio.Future[T] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(main, started), name=self._name, daemon=True)
        self._thread.start()
        try:
            return await started
        except asyncio.CancelledError:
            self._stop()
            raise

    async def call(self, afn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Await ``afn(*args)`` in the trio loop, raising what it raises, or ``p2p.closed``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        scope = trio.CancelScope()
        deliver, bound = self._deliver_to(loop, future), journal.bound()

        def spawn() -> None:
            if self._nursery is None or self._closing:
                deliver(None, _closed())
                return
            try:
                self._nursery.start_soon(_answer, scope, deliver, afn, args, bound)
            except RuntimeError:  # the nursery closed between the request and now
                deliver(None, _closed())

        if not self._soon(spawn):
            raise _closed()
        try:
            return await future
        except asyncio.CancelledError:
            self._soon(scope.cancel)
            raise

    async def call_asyncio(self, afn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
        """The other direction: from a trio task, await ``afn(*args)`` in the asyncio loop."""
        if self._loop is None:
            raise _closed()
        done, token = trio.Event(), trio.lowlevel.current_trio_token()
        coroutine = afn(*args)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the asyncio loop is closed
            coroutine.close()
            raise _closed() from None
        future.add_done_callback(lambda _: _quietly(token.run_sync_soon, done.set))
        try:
            await done.wait()
        except trio.Cancelled:
            future.cancel()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _closed() from None

    @property
    def running(self) -> bool:
        """Whether calls are answered."""
        return self._nursery is not None and self._ended is not None and not self._ended.done() and not self._closing

    async def wait_failed(self) -> BaseException | None:
        """Returns when the trio side has ended: the exception that ended it, or None after ``aclose``."""
        if self._ended is None:
            raise ChannelClosed("the network thread was never started")
        return await asyncio.shield(self._ended)

    async def aclose(self, timeout: float = 10.0) -> None:
        """Cancel everything in the loop and wait for the thread; calls in flight end with ``p2p.closed``.

        Raises TimeoutError if the thread is still busy after ``timeout`` seconds. May be called again.
        """
        if self._thread is None or self._ended is None:
            return
        self._stop()
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._ended)
            await asyncio.to_thread(self._thread.join, timeout)

    def _stop(self) -> None:
        self._closing = True  # before the token is read: a root that starts later sees it
        if self._scope is not None:
            self._soon(self._scope.cancel)

    def _soon(self, function: Callable[[], object]) -> bool:
        """Run ``function`` in the trio loop; False if there is none."""
        return self._token is not None and _quietly(self._token.run_sync_soon, function)

    def _deliver_to(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[T]) -> Deliver[T]:
        def settle(value: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)  # type: ignore[arg-type]  # None only if T allows it
            else:
                future.set_exception(error)

        def deliver(value: T | None, error: BaseException | None) -> None:
            _quietly(loop.call_soon_threadsafe, settle, value, error)

        return deliver

    def _run(self, main: Main[T], started: asyncio.Future[T]) -> None:
        assert self._loop is not None
        assert self._ended is not None
        announce = self._deliver_to(self._loop, started)
        end = self._deliver_to(self._loop, self._ended)
        failure: BaseException | None = None
        try:
            trio.run(self._root, main, announce, strict_exception_groups=True)
        except BaseException as error:  # the outermost edge of the thread
            failure = _single(error)
            if self._closing:  # libp2p raises "Nursery is closed" when a message arrives as it stops
                log.warning("the network ended with an error while it was being closed: %r", failure)
                failure = None
            elif self._nursery is not None:  # else ``start`` raises it
                log.error("the network thread failed: %r", failure, exc_info=failure)
        announce(None, failure or _closed())
        end(failure, None)

    async def _root(self, main: Main[T], announce: Deliver[T]) -> None:
        self._scope = trio.CancelScope()
        self._token = trio.lowlevel.current_trio_token()
        if self._closing:
            return
        with self._scope:
            async with trio.open_nursery() as nursery:
                announce(await nursery.start(main), None)
                self._nursery = nursery
                await trio.sleep_forever()


async def _answer(
    scope: trio.CancelScope, deliver: Deliver[T], afn: Callable[..., Awaitable[T]], args: tuple[Any, ...],
    bound: dict[str, str],
) -> None:  # fmt: skip
    value: T | None = None
    error: BaseException | None = _closed()  # the answer if the whole loop is cancelled
    try:
        with scope, journal.binding(**bound):
            value, error = await afn(*args), None
        if scope.cancelled_caught:
            error = asyncio.CancelledError()
    except Exception as raised:  # belongs to the caller, not to the loop
        error = raised
    finally:
        deliver(value, error)


def _closed() -> ChannelClosed:
    return ChannelClosed("the network of this node is not running")


def _quietly(function: Callable[[*Ts], object], *args: *Ts) -> bool:
    """Post to a loop that may have ended, which both kinds report as RuntimeError."""
    try:
        function(*args)
    except RuntimeError:
        return False
    return True


def _single(error: BaseException) -> BaseException:
    """The exception inside nested groups of one, which is what nurseries make of it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
