"""The model worker: gives up what a model does not need before it reads a foreign byte, then loads and predicts.

Forked from a warm parent. Speaks frames on its pipes; whatever a library prints goes to the pipe for errors.
"""

from __future__ import annotations

import importlib
import math
import os
import resource
import signal
from typing import NamedTuple, NoReturn, Protocol

import numpy as np
from atoll.engine.encoding import Array
from atoll.engine.runtime import frames, kernel, seccomp
from atoll.engine.runtime.formats import FORMATS
from numpy.typing import NDArray

OPEN_FILES = 64
SPARE_SECONDS = 2


class Pipes(NamedTuple):
    """File descriptors: requests, answers, what is printed, and the model's bytes (a sealed memfd)."""

    incoming: int
    outgoing: int
    errors: int
    model: int


class Model(Protocol):
    """What every format module gives."""

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]: ...


def work(order: frames.Order, pipes: Pipes, isolation: tuple[str, ...], readable: tuple[str, ...]) -> NoReturn:
    """Load, then answer until the pipe closes. Does not return."""
    try:
        _keep_only(pipes)
        held = (*isolation, *confine(order, readable, counted="namespaces" in isolation))
        lacking = set(order.required) - set(held)
        if lacking:
            _answer(pipes, frames.Failure(0, "model.refused", f"the sandbox lacks {', '.join(sorted(lacking))}"))
        else:
            if order.folder:
                os.chdir(order.folder)
            _serve(order, pipes, held)
    except (BrokenPipeError, EOFError):
        pass  # the node has gone
    finally:
        os._exit(0)


def confine(order: frames.Order, readable: tuple[str, ...], *, counted: bool) -> tuple[str, ...]:
    """What really took effect. ``counted``: in a user namespace the kernel counts this worker's threads alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kernel.hide_memory()
    limits = {
        resource.RLIMIT_DATA: order.private_bytes,
        resource.RLIMIT_AS: order.address_bytes,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if counted:
        limits[resource.RLIMIT_NPROC] = order.processes
    for kind, value in limits.items():
        _limit(kind, value)
    dropped = kernel.drop_privileges()
    held = ("rlimits",) + (("privileges",) if dropped else ())
    if kernel.read_only_beneath(readable):
        held += ("landlock",)
    if seccomp.install(order.more_threads):
        held += ("seccomp",)
    return held


def _serve(order: frames.Order, pipes: Pipes, held: tuple[str, ...]) -> None:
    with os.fdopen(pipes.model, "rb") as file:
        data = file.read()
    model = _load(order, data, pipes)
    if model is None:
        return
    del data
    _answer(pipes, frames.Loaded(held))
    while (body := _read(pipes.incoming)) is not None:
        request = frames.decode_to_model(body)
        _bound_cpu(order.call_seconds)
        answer: frames.Frame
        try:
            answer = frames.Prediction(request.number, Array.of(model.predict(request.rows.numpy(finite=False))))
        except Exception as error:  # the outermost edge of this process
            answer = _failure(request.number, error)
        _answer(pipes, answer)


def _load(order: frames.Order, data: bytes, pipes: Pipes) -> Model | None:
    format_ = FORMATS[order.format]
    module = importlib.import_module(f"atoll.engine.runtime.{format_.module}")
    try:
        model: Model = getattr(module, format_.model)(data, order.signature, order.threads)
    except Exception as error:  # as above
        _answer(pipes, _failure(0, error))
        return None
    return model


def _failure(number: int, error: Exception) -> frames.Failure:
    if isinstance(error, MemoryError):
        return frames.Failure(number, "sandbox.limit", "the model needs more memory than it may have")
    code = getattr(error, "code", "model.failed")
    return frames.Failure(number, str(code)[:40], frames.printable(str(error) or type(error).__name__))


def _read(source: int) -> bytes | None:
    length = _exactly(source, frames.HEADER)
    return None if length is None else _exactly(source, int.from_bytes(length, "big"))


def _exactly(source: int, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        chunk = os.read(source, count - len(data))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def _answer(pipes: Pipes, frame: frames.Frame) -> None:
    view = memoryview(frames.encode(frame))
    while view:
        view = view[os.write(pipes.outgoing, view) :]


def _keep_only(pipes: Pipes) -> None:
    """Nothing of the warm parent stays open: not its control socket above all."""
    os.dup2(pipes.incoming, 0)
    os.dup2(pipes.errors, 1)
    os.dup2(pipes.errors, 2)
    kept = sorted(pipes)
    for before, after in zip([2, *kept], [*kept, 1 << 20], strict=True):
        os.closerange(before + 1, after)


def _bound_cpu(seconds: float) -> None:
    """A backstop to the node's own deadline, moved on by every call."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + SPARE_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (ceiling, ceiling))
