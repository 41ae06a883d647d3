"""The process that reads the files of one form: bounded memory and time, no network, no other file, then its end."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import AtollError, FeatureMismatch, IslandError, NotFinite
from atoll.engine.islands import Island
from atoll.engine.runtime import kernel, seccomp
from atoll.engine.runtime.layout import readable
from atoll.engine.specs import Rkme, fit_rkme, formats
from atoll.node.search.fitting import Fitted, fit_rows, read_specification
from atoll.node.web.predict.sheets import read, told
from atoll.node.web.reading.fitting import MAX_ORDER, Answer, Fit, Order

MEMORY = 4 << 30  # bytes of addresses, libraries included
CPU_SECONDS = 240
LIMITS = (
    (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, MEMORY),
)  # fmt: skip
HINTS: dict[type[AtollError], str] = {
    FeatureMismatch: "leave out what is no feature, labels say",
    NotFinite: "clean them, or let column means take their place",
    IslandError: "choose the island that it was fitted in",
}  # those of the errors speak of the command line
UNCONFINED = Answer(
    refused="this machine cannot confine what reads it (`atoll doctor`); use `atoll learnware pack`", field="model"
)
IDLE_SECONDS = 600  # that it waits for an order


def main() -> None:
    """Load all that a fit needs, wait for an order, lock the doors, answer."""
    fit_rkme(np.random.default_rng(0).normal(size=(3000, 4)))
    signal.alarm(IDLE_SECONDS)
    data = sys.stdin.buffer.read(MAX_ORDER)
    signal.alarm(0)
    if data:
        order = unpack(data, Order, limit=MAX_ORDER)
        os.chdir(os.path.dirname(order.file))
        with opened(order) as into:
            answer = answering(order)
            held = confine(*map(Path, order.files))
            sys.stdout.buffer.write(pack(answer(order, into) if held or not order.packing else UNCONFINED))


@contextmanager
def opened(order: Order) -> Iterator[list[BinaryIO]]:
    """Where arrays go: opened before the doors are locked."""
    with ExitStack() as stack:
        yield [stack.enter_context(open(each, "xb")) for each in order.into]


def confine(*files: Path) -> bool:
    """From here on this process may read ``files`` and its libraries, and write nothing but its answer. Whether the
    kernel sees to it."""
    kernel.die_with_parent(signal.SIGKILL)
    for limit, value in LIMITS:
        resource.setrlimit(limit, (value, value))
    kernel.hide_memory()
    kernel.drop_privileges()
    beneath = kernel.read_only_beneath([*readable("limited"), *map(str, files)])
    return seccomp.install(threads=True) and beneath


def answering(order: Order) -> Callable[[Order, Sequence[BinaryIO]], Answer]:
    """What makes the answer, its libraries loaded: afterwards nothing of the node's own can be."""
    if order.packing:
        from atoll.node.web.reading import packing

        return lambda order, into: packing.pack(order, into[0])
    return answer


def answer(order: Order, into: Sequence[BinaryIO] = ()) -> Answer:
    """What the files say, or why they say nothing."""
    return read(order, order.reading, into) if order.reading else fit(order)


def fit(order: Order) -> Answer:
    path = Path(Path(order.file).name)
    islands = [Island.from_definition(each) for each in order.islands]
    try:
        if path.suffix.lower() in formats.SUFFIXES:
            found = read_specification(path, None, islands)
        else:
            found = fit_rows(path, islands, impute=order.impute)
        return Answer(tuple(_fit(each) for each in found))
    except AtollError as error:
        return Answer(refused=told(error, path, HINTS.get(type(error), error.hint)))
    except MemoryError:
        return Answer(refused="the file takes more memory than this page gives it; use `atoll search --data`")


def _fit(found: Fitted) -> Fit:
    assert isinstance(found.given, Rkme)  # as made here
    return Fit(found.island.digest, found.given.record())


if __name__ == "__main__":
    main()
