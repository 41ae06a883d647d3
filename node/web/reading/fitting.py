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
from atoll.engine.packages.manifest import SpecEntry
from atoll.engine.runtime.signature import Signature
from atoll.engine.specs.dp import Budget
from atoll.engine.specs.rkme import MAX_BYTES, Rkme, RkmeRecord
from atoll.node.errors import NodeBusy
from atoll.node.search.query import MAX_ISLANDS, SpecificationQuery

PLACES, FOR_THE_KNOWN = 5, 2  # files that may be under way, and how many of these are not for anybody unknown
SECONDS, PACKING_SECONDS = 60.0, 180.0
MAX_ORDER = 1 << 28
MOST_CELLS = 1 << 27  # values of 8 bytes in an array that is mapped


class Reading(msgspec.Struct, frozen=True):
    """Beside rows to predict: the ``labelled`` file, if there is one, whose column ``target`` holds names of classes,
    or values. In the rows that column means nothing; where they are of the same file, it is all there is to read.
    Arrays go where ``into`` says: of the first ``rows`` (0: all), and refused where they would hold more than ``cells``
    values each, however small the file is."""

    into: tuple[str, ...]
    labelled: str = ""
    target: str = ""
    rows: int = 0
    cells: int = MOST_CELLS


class Packing(msgspec.Struct, frozen=True):
    """Beside rows: the file of the ``model`` that is good on them, whose bytes as they are packed go ``into`` a file.
    ``target`` is a column of the rows that is no feature; ``class_names`` () are as the model has them. The island
    is the first of the order's that takes the rows, unless one is to be minted. ``private``: under differential
    privacy, once there is a ``budget`` (epsilon, delta, secret); until then only what the ledger must know is told."""

    model: str
    into: str
    salt: bytes
    target: str = ""
    class_names: tuple[str, ...] = ()
    size: int = 100
    mint: bool = False
    private: bool = False
    budget: tuple[float, float, bytes] | None = None

    @property
    def granted(self) -> Budget | None:
        return Budget(*self.budget) if self.budget is not None else None


class Order(msgspec.Struct, frozen=True):
    """For the process: the file, and the definitions of the islands that it may be of; it is fitted unless ``reading``
    asks for its rows, or ``packing`` for the parts of a package."""

    file: str
    islands: tuple[bytes, ...] = ()
    impute: bool = False
    reading: Reading | None = None
    packing: Packing | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All that is to be read."""
        more = (self.reading.labelled if self.reading else "", self.packing.model if self.packing else "")
        return self.file, *filter(None, more)

    @property
    def into(self) -> tuple[str, ...]:
        """All that is to be written."""
        return self.reading.into if self.reading else (self.packing.into,) if self.packing else ()


class Fit(msgspec.Struct, frozen=True):
    """An island by its digest, and the RKME in it."""

    island: bytes
    rkme: RkmeRecord


class Sheet(msgspec.Struct, frozen=True):
    """An array was written, of rows under ``columns`` (none if they have no names), whose ``target`` is this."""

    columns: tuple[str, ...]
    target: tuple[str, ...] = ()


class Cell(msgspec.Struct, frozen=True):
    """A rectangle of the picture's plane, and how many rows are in it."""

    left: float
    low: float
    right: float
    high: float
    rows: int


class Picture(msgspec.Struct, frozen=True):
    """``places`` of the points of an RKME with their ``weights``, and the ``cells`` that hold enough rows, on a plane
    along whose axes lie these ``shares`` of the variance."""

    places: tuple[tuple[float, float], ...]
    weights: tuple[float, ...]
    cells: tuple[Cell, ...]
    shares: tuple[float, float]


class Packed(msgspec.Struct, frozen=True):
    """The parts of a package: the ``island`` by its definition, and whether it is ``minted``; what is known of the
    model as it was written (as Converted has it); the ``entry`` of the ``specification`` and its bytes. For a ledger,
    in their place, the ``digest`` of the rows in the island's units."""

    island: bytes
    minted: bool
    rows: int
    columns: tuple[str, ...]
    format: str
    file_name: str
    signature: Signature
    class_names: tuple[str, ...]
    difference: float | None
    words: str
    library: str
    digest: bytes = b""
    entry: SpecEntry | None = None
    specification: bytes = b""
    picture: Picture | None = None


class Answer(msgspec.Struct, frozen=True):
    """``fits``, or ``sheets``, or what was ``packed``, or why there is none, in words, and in which ``field`` of the
    form."""

    fits: tuple[Fit, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    packed: Packed | None = None
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
        self._turn, self._packing, self._starting = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
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
        """Of the rows, unless they are the labelled ones, and of those if there are such; Unreadable says what is wrong
        with which file."""
        async with self._turn:
            answer = await self._ask(Order(str(file), impute=impute, reading=reading))
        if answer.refused:
            raise Unreadable(answer.refused, answer.field)
        return answer.sheets

    async def packed(self, file: Path, packing: Packing, islands: Sequence[Island]) -> Packed:
        """What a package is put together of, of the model and the rows in ``file``; Unreadable says which of the two,
        or of what was said of them, is wrong, and how. Searches do not wait for it."""
        async with self._packing:
            order = Order(str(file), tuple(each.definition for each in islands), packing=packing)
            answer = await self._ask(order, PACKING_SECONDS)
        if answer.packed is None:
            raise Unreadable(answer.refused, answer.field)
        return answer.packed

    async def _ask(self, order: Order, seconds: float = SECONDS) -> Answer:
        await self.prepare()
        process, self._ready = self._ready, None
        assert process is not None  # it was got ready
        try:
            async with asyncio.timeout(seconds):
                said, _ = await process.communicate(pack(order))
        except TimeoutError:
            raise SpecificationError(
                f"the file takes longer than the {seconds:.0f} seconds that this page gives it; the command line, "
                "`atoll search --data`, `atoll predict` and `atoll learnware pack`, takes as long as it takes"
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
