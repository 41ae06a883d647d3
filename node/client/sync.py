"""``atoll.Client``: what scripts and notebooks need of a node, without ``await``; AsyncClient does the work.

Its loop runs in a thread of its own, so that it can be used where a loop is running already. Administration is
AsyncClient's.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.noised import Specification
from atoll.node.api.information import NodeView
from atoll.node.api.learnwares import LearnwareView, ListingView
from atoll.node.api.reuses import ReuseView
from atoll.node.client.client import AsyncClient
from atoll.node.client.fetching import Fetched, FetchProgress
from atoll.node.client.labelled import Labels
from atoll.node.client.learnware import LoadedLearnware
from atoll.node.client.reuse import Confirm, Reused, silent
from atoll.node.client.streams import ReuseEvent, SearchEvent
from atoll.node.errors import RequestInvalid
from atoll.node.reuse.query import Form, Method, Place
from atoll.node.reuse.result import PredictionResult
from atoll.node.search.fitting import NO_UNITS, Fitted
from atoll.node.search.query import Filters, Privacy, SearchResult
from atoll.node.store.backup_file import Progress
from numpy.typing import NDArray

T = TypeVar("T")


class Client:
    """``atoll.Client(url, token)``; every method raises RemoteError or NodeUnreachable.

    Without a ``url`` it is the node of ``$ATOLL_URL``, else that of this machine's home, with ``$ATOLL_TOKEN``. May be
    used from several threads. ``with`` or ``close`` ends it, else the end of the program does.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._client = AsyncClient(url, token)
        opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(target=_serve, args=(self._client, opened), name="atoll-client", daemon=True)
        thread.start()
        self._loop, closing = opened.result()
        self._end = weakref.finalize(self, _end, self._loop, closing, thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the thread; to do so again does nothing."""
        self._end()

    def node(self) -> NodeView:
        """Which node this is."""
        return self._run(self._client.node())

    def catalogue(self) -> list[ListingView]:
        """All live listings that the node knows."""
        return self._run(self._client.catalogue())

    def learnwares(self) -> list[LearnwareView]:
        """Those that the node itself hosts."""
        return self._run(self._client.learnwares())

    def islands(self) -> list[Island]:
        """Known islands, most used first."""
        return self._run(self._client.islands())

    def fit(self, rows: Any, *, impute: bool = False, units: Mapping[str, str] = NO_UNITS) -> list[Fitted]:
        """Rows (array, frame, dict of columns, or the path of a file) as a search takes them: fitted here, in every
        compatible island of the node, so that no row leaves this machine. ``units`` are those of columns, by name,
        where they are not the island's; ``impute``: column means where values are missing."""
        return self._run(self._client.fit(rows, impute=impute, units=units))

    def fit_private(
        self, rows: Any, epsilon: float, delta: float = 1e-6, *, units: Mapping[str, str] = NO_UNITS
    ) -> list[Fitted]:
        """Rows under differential privacy: a noised sketch, made here, in the compatible island that is used most.

        The node enters the budget in its ledger, in the name of the token; the same rows and budget cost once.
        """
        return self._run(self._client.fit_private(rows, epsilon, delta, units=units))

    def specification(self, path: Path | str, island: Island | str | None = None) -> list[Fitted]:
        """A file that ``atoll spec fit`` has written, as a search takes it, in every compatible island of the node.

        ``island`` is its own, or how the id of one that the node knows begins; without it, it is that defined beside
        the file, else the only one of the node that it can be of. IslandError if that does not tell.
        """
        return self._run(self._client.specification(path, island))

    def search(
        self, fitted: Sequence[tuple[Island, Specification]] = (), semantic: SemanticQuery | str = "", *,
        limit: int = 10, deadline_ms: int | None = None, privacy: Privacy = "rkme", filters: Filters = Filters(),  # noqa: B008
    ) -> SearchResult:  # fmt: skip
        """The answer, by words where nothing is ``fitted``, as soon as nobody is worth waiting for any longer. It is
        not ``final`` if owners were late: ``search_events`` waits for them."""
        return self._run(
            self._client.search(
                fitted, semantic, limit=limit, deadline_ms=deadline_ms, privacy=privacy, filters=filters
            )
        )

    def search_rows(
        self, rows: Any, semantic: SemanticQuery | str = "", *, limit: int = 10, deadline_ms: int | None = None,
        privacy: Privacy = "rkme", filters: Filters = Filters(), impute: bool = False,  # noqa: B008
        units: Mapping[str, str] = NO_UNITS,
    ) -> SearchResult:  # fmt: skip
        """``fit`` and ``search``."""
        return self._run(
            self._client.search_rows(
                rows,
                semantic,
                limit=limit,
                deadline_ms=deadline_ms,
                privacy=privacy,
                filters=filters,
                impute=impute,
                units=units,
            )
        )

    def search_events(
        self, fitted: Sequence[tuple[Island, Specification]] = (), semantic: SemanticQuery | str = "", *,
        limit: int = 10, deadline_ms: int | None = None, privacy: Privacy = "rkme", filters: Filters = Filters(),  # noqa: B008
    ) -> Iterator[SearchEvent]:  # fmt: skip
        """The search as it happens, up to the final answer. A connection that breaks is taken up where it broke."""
        events = self._client.search_events(
            fitted, semantic, limit=limit, deadline_ms=deadline_ms, privacy=privacy, filters=filters
        )

        return self._followed(events)

    def reuse(
        self, search_id: str, rows: Any, *, labelled: tuple[Any, Labels] | None = None,
        method: Method | Literal["auto"] = "auto", form: Form | Literal["auto"] = "auto", prefer: Place = "local",
        members: int = 10, abstain: bool = False, force: bool = False, local_only: bool = False,
        units: Mapping[str, str] = NO_UNITS, confirm: Confirm = False,
    ) -> Reused:  # fmt: skip
        """Predict ``rows`` (array, frame, dict of columns, or the path of a file) with what a search has found.

        ``labelled``: rows whose labels are known; they choose the ``method``, and say what it is worth. ``confirm``
        agrees to the plan, as a whole or as it is asked about it: where it does not, ConsentNeeded, and no row has left
        the node; True lets rows go to the owners that the plan names. The node forgets all of it at the end.
        """
        return self._run(
            self._client.reuse(
                search_id, rows, labelled=labelled, method=method, form=form, prefer=prefer, members=members,
                abstain=abstain, force=force, local_only=local_only, units=units, confirm=confirm,
            )
        )  # fmt: skip

    def plan_reuse(
        self, search_id: str, rows: Any, *, labelled: tuple[Any, Labels] | None = None,
        method: Method | Literal["auto"] = "auto", form: Form | Literal["auto"] = "auto", prefer: Place = "local",
        members: int = 10, abstain: bool = False, force: bool = False, local_only: bool = False,
        units: Mapping[str, str] = NO_UNITS, progress: Progress = silent,
    ) -> ReuseView:  # fmt: skip
        """Upload the rows to the node, going on where an upload of the same has broken off, and have it plan."""
        return self._run(
            self._client.plan_reuse(
                search_id, rows, labelled=labelled, method=method, form=form, prefer=prefer, members=members,
                abstain=abstain, force=force, local_only=local_only, units=units, progress=progress,
            )
        )  # fmt: skip

    def start_reuse(self, reuse_id: str, *, send: bool = False) -> ReuseView:
        """Have a plan carried out; ``send`` lets rows leave the node, as the plan says."""
        return self._run(self._client.start_reuse(reuse_id, send=send))

    def reuse_events(self, reuse_id: str) -> Iterator[ReuseEvent]:
        """The session as it happens, up to its report. A connection that breaks is taken up where it broke."""
        return self._followed(self._client.reuse_events(reuse_id))

    def predictions(self, reuse_id: str) -> NDArray[np.float64]:
        """What a session that is done has predicted, (n, c)."""
        return self._run(self._client.predictions(reuse_id))

    def reuse_report(self, reuse_id: str) -> str:
        """The report of a session that is done, as an HTML page."""
        return self._run(self._client.reuse_report(reuse_id))

    def forget_reuse(self, reuse_id: str) -> None:
        """End a session and remove its rows and predictions from the node."""
        self._run(self._client.forget_reuse(reuse_id))

    def predict(
        self, search_id: str, rows: Any, *, prefer: Place = "local", force: bool = False, send: bool = False
    ) -> PredictionResult:
        """Predict few rows with the mixture that a search found, at once. Rows go to the node, and with ``send`` to
        owners that predict; RemoteError (reuse.consent) where they would have to and may not."""
        return self._run(self._client.predict(search_id, rows, prefer=prefer, force=force, send=send))

    def fetch(
        self, learnwares: str | Sequence[str] = (), *, search_id: str = "", folder: Path | str = ".",
        progress: FetchProgress | None = None,
    ) -> Fetched:  # fmt: skip
        """Packages of some learnwares (ids), or of all members of a search's mixture, into ``folder``; what broke off
        goes on. ``progress`` is called in another thread."""
        return self._run(self._client.fetch(learnwares, search_id=search_id, folder=folder, progress=progress))

    def load(self, learnware_id: str, *, prefer: Place = "local", send: bool = False) -> LoadedLearnware:
        """A learnware of the network as a model: ``atoll.Client().load(id).predict(rows)``. ``send`` lets rows go to
        its owner."""
        return LoadedLearnware(self._client.load(learnware_id, prefer=prefer, send=send), self._run)

    def _followed(self, events: AsyncGenerator[T]) -> Iterator[T]:
        async def following() -> T | None:
            return await anext(events, None)

        try:
            while (event := self._run(following())) is not None:
                yield event
        finally:
            if self._end.alive:
                self._run(events.aclose())

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if not self._end.alive:
            coroutine.close()
            raise RequestInvalid("this client is closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # where the wait was interrupted


def _serve(client: AsyncClient, opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    """What the thread does: run the client's loop until it is told to end."""

    async def until_closed() -> None:
        closing = asyncio.Event()
        async with client:
            opened.set_result((asyncio.get_running_loop(), closing))
            await closing.wait()

    asyncio.run(until_closed())


def _end(loop: asyncio.AbstractEventLoop, closing: asyncio.Event, thread: threading.Thread) -> None:
    """Also at the end of the program, and wherever the last reference goes, be it in the thread itself."""
    loop.call_soon_threadsafe(closing.set)
    if threading.current_thread() is not thread:
        thread.join()
