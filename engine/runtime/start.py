"""From a model's file to a loaded worker: pipes, a sealed copy of the file, an order to the warm parent."""

from __future__ import annotations

import os
from typing import IO

from atoll.engine.runtime import frames
from atoll.engine.runtime.formats import FORMATS
from atoll.engine.runtime.parent import WarmParent, sealed
from atoll.engine.runtime.process import Ends, ModelProcess, pipes
from atoll.engine.runtime.signature import Limits, Signature

ADDRESS_SLACK = 1 << 29  # reserved and never touched by allocators


def start_worker(
    parent: WarmParent, name: str, model: IO[bytes], signature: Signature, limits: Limits, required: tuple[str, ...]
) -> ModelProcess:
    """A worker that has loaded ``model`` in format ``name``; errors as ModelProcess and WarmParent.fork raise them."""
    theirs: list[int] = []
    ours: list[int] = []
    try:
        for mine_writes in (True, False, False):  # requests, answers, what is printed
            reading, writing = pipes()
            ours.append(writing if mine_writes else reading)
            theirs.append(reading if mine_writes else writing)
        theirs.append(sealed(model))
        pidfd = parent.fork(_order(parent, name, signature, limits, required), theirs)
    except BaseException:
        for descriptor in ours:
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    return ModelProcess(Ends(pidfd, *ours), signature, limits)


def _order(
    parent: WarmParent, name: str, signature: Signature, limits: Limits, required: tuple[str, ...]
) -> frames.Order:
    memory = limits.memory(FORMATS[name].family)
    return frames.Order(
        name,
        signature,
        limits.threads,
        # The kernel counts the threads of everybody but root: a root node's workers get as many as they were given.
        limits.threads > 1 or os.getuid() != 0,
        limits.processes,
        parent.private_bytes + memory,
        parent.address_bytes + memory + ADDRESS_SLACK,
        limits.call_seconds,
        required,
        parent.learnware,
    )
