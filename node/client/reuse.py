"""Reuse over HTTP: rows are uploaded to the node, a plan is made and agreed to, and predictions come back.

Rows go to the node that plans; from there to owners only where ``send`` or ``confirm`` says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.tables import Table
from atoll.node.api.predictions import PredictionBody, RowsBody
from atoll.node.api.reuses import NPY, LabelledBody, ReuseBody, ReuseView, StartBody
from atoll.node.client.labelled import Labels, labelled_of
from atoll.node.client.learnware import AsyncLoadedLearnware
from atoll.node.client.question import table_of
from atoll.node.client.resuming import Resuming
from atoll.node.client.streams import ReuseEvent, follow_reuse
from atoll.node.client.transport import PATIENT, PIECE, RemoteError, Transport
from atoll.node.errors import ConsentNeeded, NodeBusy, NodeUnreachable, StoreError
from atoll.node.reuse.query import Form, Method, Place, ReusePlan
from atoll.node.reuse.result import PredictionResult, ReuseReport
from atoll.node.reuse.written import labels_of
from atoll.node.store.backup_file import Progress
from numpy.typing import NDArray

FAREWELL = 5.0  # seconds that the node may take to end a session
NO_UNITS: Mapping[str, str] = {}
Confirm = Callable[[ReusePlan], bool] | bool


def silent(done: int, size: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Reused:
    """``values`` (n, c) are class probabilities over ``class_names`` or target values, NaN in rows without an answer;
    ``labels`` (n,) the likeliest classes, "" there (empty for a regression)."""

    report: ReuseReport
    values: NDArray[np.float64]
    labels: NDArray[np.str_]
    class_names: tuple[str, ...]


class ReuseCalls(Transport):
    """What AsyncClient has of it."""

    async def reuse(
        self, search_id: str, rows: Any, *, labelled: tuple[Any, Labels] | None = None,
        method: Method | Literal["auto"] = "auto", form: Form | Literal["auto"] = "auto", prefer: Place = "local",
        members: int = 10, abstain: bool = False, force: bool = False, local_only: bool = False,
        units: Mapping[str, str] = NO_UNITS, confirm: Confirm = False,
    ) -> Reused:  # fmt: skip
        """Predict ``rows`` (array, frame, dict of columns, or the path of a file) with what a search has found.

        ``labelled``: rows whose labels are known, as (rows, labels) or (rows, name of the column with the labels); they
        choose the ``method``, and say what it is worth. ``confirm``
        agrees to the plan, as a whole or as it is asked about it: where it does not, ConsentNeeded, and no row has left
        the node; True lets rows go to the owners that the plan names. The node forgets all of it at the end.
        """
        view = await self.plan_reuse(
            search_id, rows, labelled=labelled, method=method, form=form, prefer=prefer, members=members,
            abstain=abstain, force=force, local_only=local_only, units=units,
        )  # fmt: skip
        async with self.forgetting(view.id):
            await self.start_reuse(view.id, send=_agreed(view.plan, confirm))
            report = await self._report(view.id)
            values = await self.predictions(view.id)
        labels = np.array(labels_of(values, report.class_names), np.str_)
        return Reused(report, values, labels, report.class_names)

    async def plan_reuse(
        self, search_id: str, rows: Any, *, labelled: tuple[Any, Labels] | None = None,
        method: Method | Literal["auto"] = "auto", form: Form | Literal["auto"] = "auto", prefer: Place = "local",
        members: int = 10, abstain: bool = False, force: bool = False, local_only: bool = False,
        units: Mapping[str, str] = NO_UNITS, progress: Progress = silent,
    ) -> ReuseView:  # fmt: skip
        """Upload the rows to the node, going on where an upload of the same has broken off, and have it plan."""
        table = await asyncio.to_thread(table_of, rows)
        uploads: list[str] = []
        try:
            few = None if labelled is None else await self._labelled(labelled, uploads)
            digest = await self._upload(table, progress, uploads)
            body = ReuseBody(
                search_id, digest, table.columns, few, method, form, prefer, members, abstain, force, local_only,
                dict(units),
            )  # fmt: skip
            return await self._json("POST", "reuses", ReuseView, body=body, timeout=PATIENT)
        except RemoteError as error:
            for digest in uploads if error.code != NodeBusy.code else ():
                with suppress(AtollError):
                    await self.forget_rows(digest)
            raise

    async def start_reuse(self, reuse_id: str, *, send: bool = False) -> ReuseView:
        """Have a plan carried out; ``send`` lets rows leave the node, as the plan says."""
        return await self._json("POST", f"reuses/{reuse_id}/start", ReuseView, body=StartBody(send))

    async def reuse_state(self, reuse_id: str) -> ReuseView:
        """How far a session is."""
        return await self._json("GET", f"reuses/{reuse_id}", ReuseView)

    def reuse_events(self, reuse_id: str) -> AsyncGenerator[ReuseEvent]:
        """The session as it happens, up to its report. A connection that breaks is taken up where it broke."""
        return follow_reuse(self._session, f"{self._url}/api/v1/reuses/{reuse_id}/events")

    async def predictions(self, reuse_id: str) -> NDArray[np.float64]:
        """What a session that is done has predicted, (n, c); a connection that breaks is taken up where it broke."""
        with tempfile.TemporaryFile() as file:
            with self._reaching():
                url = f"{self._url}/api/v1/reuses/{reuse_id}/predictions"
                await Resuming(url, file, NPY).receive(self._session)
            return await asyncio.to_thread(_loaded, file)

    async def reuse_report(self, reuse_id: str) -> str:
        """The report of a session that is done, as an HTML page."""
        return (await self._call("GET", f"reuses/{reuse_id}/report")).decode()

    async def forget_reuse(self, reuse_id: str) -> None:
        """End a session and remove its rows and predictions from the node."""
        await self._call("DELETE", f"reuses/{reuse_id}")

    async def forget_rows(self, sha256: str) -> None:
        """Remove an upload of rows that no session uses."""
        await self._call("DELETE", f"rows/{sha256}")

    @asynccontextmanager
    async def forgetting(self, reuse_id: str) -> AsyncIterator[None]:
        """The node forgets a session at the end of the block, also where that failed or was interrupted; but not where
        the node cannot be reached or what it has predicted cannot be kept here: then it may be fetched again."""
        try:
            yield
        except (NodeUnreachable, StoreError, OSError, MemoryError) as error:
            kept = f"the session stays at the node for an hour: {self._url}/api/v1/reuses/{reuse_id}/predictions"
            if isinstance(error, AtollError):
                error.hint = f"{error.hint}; {kept}" if error.hint else kept
            else:
                error.add_note(kept)
            raise
        except BaseException:
            await self._farewell(reuse_id)
            raise
        await self._farewell(reuse_id)

    async def predict(
        self, search_id: str, rows: Any, *, prefer: Place = "local", force: bool = False, send: bool = False
    ) -> PredictionResult:
        """Predict few rows with the mixture that a search found, at once. Rows go to the node, and with ``send`` to
        owners that predict; ConsentNeeded, as RemoteError, where they would have to and may not."""
        table = await asyncio.to_thread(table_of, rows)
        body = PredictionBody(search_id, tuple(map(tuple, table.values.tolist())), table.columns, prefer, force, send)
        return await self._json("POST", "predictions", PredictionResult, body=body, timeout=PATIENT)

    async def predict_with(
        self, learnware_id: str, rows: Any, *, prefer: Place = "local", send: bool = False
    ) -> PredictionResult:
        """The same with one learnware of the catalogue."""
        table = await asyncio.to_thread(table_of, rows)
        body = RowsBody(tuple(map(tuple, table.values.tolist())), table.columns, prefer, send)
        path = f"catalogue/{learnware_id}/predictions"
        return await self._json("POST", path, PredictionResult, body=body, timeout=PATIENT)

    def load(self, learnware_id: str, *, prefer: Place = "local", send: bool = False) -> AsyncLoadedLearnware:
        """A learnware of the network as a model; ``send`` lets rows go to its owner."""
        return AsyncLoadedLearnware(self, learnware_id, prefer, send)

    async def _report(self, reuse_id: str) -> ReuseReport:
        report: ReuseReport | None = None
        async for event in self.reuse_events(reuse_id):
            if isinstance(event.data, ReuseReport):
                report = event.data
        assert report is not None  # the stream ends with one, or raises
        return report

    async def _labelled(self, given: tuple[Any, Labels], uploads: list[str]) -> LabelledBody:
        table, labels = await asyncio.to_thread(labelled_of, given)
        return LabelledBody(await self._upload(table, silent, uploads), labels, table.columns)

    async def _upload(self, table: Table, progress: Progress, uploads: list[str]) -> str:
        """The SHA-256 (hex) under which the node has the rows now; in ``uploads`` as soon as it may have some."""
        with tempfile.TemporaryFile() as file:
            digest, size = await asyncio.to_thread(_written, table, file)
            uploads.append(digest)
            await self._send_file(f"rows/{digest}", file, size, progress)
        return digest

    async def _farewell(self, reuse_id: str) -> None:
        with suppress(AtollError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self.forget_reuse(reuse_id)


def _agreed(plan: ReusePlan, confirm: Confirm) -> bool:
    """Whether rows may leave; ConsentNeeded where they would have to and may not, or somebody asked has said no."""
    if callable(confirm):
        if not confirm(plan):
            raise ConsentNeeded("the plan was not agreed to", hint="nothing was sent")
        return True
    if plan.sends_rows and not confirm:
        raise ConsentNeeded(
            f"rows would leave the node: {' '.join(plan.leaves)}",
            hint="confirm=True agrees, confirm=a function is asked about the plan; local_only=True sends nothing",
        )
    return confirm


def _written(table: Table, file: IO[bytes]) -> tuple[str, int]:
    """Rows as `.npy` bytes, float64 (n, d): their SHA-256 (hex) and how many they are."""
    np.lib.format.write_array(file, np.ascontiguousarray(table.values, np.float64), allow_pickle=False)
    size = file.tell()
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest(), size


def _loaded(file: IO[bytes]) -> NDArray[np.float64]:
    file.seek(0)
    array: NDArray[np.float64] = np.lib.format.read_array(file, allow_pickle=False)
    return array
