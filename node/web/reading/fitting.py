"""What the page's files say: rows are fitted, specifications read, or rows to predict made arrays of, in a process of
its own that may do nothing else.

Few at a time, within a time and a size; rows are gone with the process and the folder that they were in.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import EncodingError, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.specs.rkme import MAX_BYTES, Rkme, RkmeRecord
from atoll.node.errors import NodeBusy
from atoll.node.search.query import MAX_ISLANDS, SpecificationQuery

PLACES, FOR_THE_KNOWN = 5, 2  # files that may be under way, and how many of these are not for anybody unknown
SECONDS = 60.0
MAX_ORDER = 1 << 28


class Reading(msgspec.Struct, frozen=True):
    """Beside rows to predict: the ``labelled`` file, if there is one, whose column ``target`` holds names of classes,
    or values. In the rows that column means nothing. Arrays go where ``into`` says."""

    into: tuple[str, str]
    labelled: str = ""
    target: str = ""


class Order(msgspec.Struct, frozen=True):
    """For the process: the file, and the definitions of the islands that it may be of; it is fitted unless ``reading``
    asks for its rows."""

    file: str
    islands: tuple[bytes, ...] = ()
    impute: bool = False
    reading: Reading | None = None


class Fit(msgspec.Struct, frozen=True):
    """An island by its digest, and the RKME in it."""

    island: bytes
    rkme: RkmeRecord


class Sheet(msgspec.Struct, frozen=True):
    """An array was written, of rows under ``columns`` (none if they have no names), whose ``target`` is this."""

    columns: tuple[str, ...]
    target: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """``fits``, or ``sheets``, or why there are none, in words, and in which ``field`` of the form."""

    fits: tuple[Fit, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    refused: str = ""
    field: str = ""


class Unreadable(SpecificationError):
    """What is wrong with the file of a ``field``."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class Fitting:
    """Lives in the asyncio loop. A process takes seconds to load, so one may be got ready before it is needed."""

    def __init__(self) -> None:
        self._turn, self._starting = asyncio.Lock(), asyncio.Lock()
        self._under_way = 0
        self._ready: Process | None = None

    @contextmanager
    def room(self, *, known: bool) -> Iterator[Callable[[], None]]:
        """Call what this gives when a file begins to come: NodeBusy if too many are under way. Places are given back
        at the end."""
        taken = 0

        def take() -> None:
            nonlocal taken
            if self._under_way >= PLACES - (0 if known else FOR_THE_KNOWN):
                raise NodeBusy("this node is reading others' files", hint="try again in a few seconds")
            taken, self._under_way = taken + 1, self._under_way + 1

        try:
            yield take
        finally:
            self._under_way -= taken

    async def prepare(self) -> None:
        """Somebody looks at the form: have a process ready. Unused, it ends by itself."""
        async with self._starting:
            if self._ready is None or self._ready.returncode is not None:
                self._ready = await _start()

    async def aclose(self) -> None:
        if self._ready is not None:
            await _end(self._ready)

    async def specifications(
        self, file: Path, islands: Sequence[Island], *, impute: bool = False
    ) -> tuple[SpecificationQuery, ...]:
        """What to search by: rows in every island that takes them (the first eight), a specification in its own.

        One file after another. SpecificationError says in words what is wrong with it.
        """
        async with self._turn:
            answer = await self._ask(Order(str(file), tuple(each.definition for each in islands), impute))
        if answer.refused:
            raise SpecificationError(answer.refused)
        return await asyncio.to_thread(_queries, answer)

    async def sheets(self, file: Path, reading: Reading, *, impute: bool = False) -> tuple[Sheet, ...]:
        """Of the rows, and of the labelled ones if there are such; Unreadable says what is wrong with which file."""
        async with self._turn:
            answer = await self._ask(Order(str(file), impute=impute, reading=reading))
        if answer.refused:
            raise Unreadable(answer.refused, answer.field)
        return answer.sheets

    async def _ask(self, order: Order) -> Answer:
        await self.prepare()
        process, self._ready = self._ready, None
        assert process is not None  # it was got ready
        try:
            async with asyncio.timeout(SECONDS):
                said, _ = await process.communicate(pack(order))
        except TimeoutError:
            raise SpecificationError(
                f"the file takes longer than the {SECONDS:.0f} seconds that this page gives it; the command line, "
                "`atoll search --data` and `atoll predict`, takes as long as it takes"
            ) from None
        finally:
            await _end(process)
        if process.returncode:
            raise SpecificationError("the file takes more memory or time than this page gives it")
        return await asyncio.to_thread(_read, said)


async def _start() -> Process:
    command = (sys.executable, "-P", "-m", "atoll.node.web.reading.fitter")
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def _read(said: bytes) -> Answer:
    try:
        return unpack(said, Answer, limit=(MAX_ISLANDS + 1) * MAX_BYTES)
    except EncodingError:
        raise SpecificationError("the file cannot be read") from None


def _queries(answer: Answer) -> tuple[SpecificationQuery, ...]:
    return tuple(SpecificationQuery(fit.island, Rkme.from_record(fit.rkme)) for fit in answer.fits)
