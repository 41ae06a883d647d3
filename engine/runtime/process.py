"""The node's side of one model worker: call under a deadline, distrust the answer, kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from atoll.engine.encoding import Array
from atoll.engine.errors import EncodingError, ModelError, ModelRefused, SandboxLimit
from atoll.engine.runtime import frames
from atoll.engine.runtime.signature import Limits, Signature
from numpy.typing import NDArray

STDERR_KEPT = 4096
STDERR_BYTES = 1 << 20  # of one call; a model that prints more is stopped
ROWS_BYTES = 16 << 20  # rows of one call; more are sent in slices
FIRST_ROWS = 64  # of a model whose speed is not known
SHARE, GROWTH = 0.25, 16  # of the time of a call that a slice is meant to take, and how much larger than the one before
PIPE_BYTES = 1 << 20
END_SECONDS = 10.0


class Ends(NamedTuple):
    """The node's ends: a pidfd, requests out, answers in, what is printed in."""

    pidfd: int
    outgoing: int
    incoming: int
    errors: int


class ModelProcess:
    """One model in a process of its own. Thread-safe: one call at a time."""

    def __init__(self, ends: Ends, signature: Signature, limits: Limits) -> None:
        """Wait until the model is loaded; ModelRefused, ModelError or SandboxLimit, and then nothing runs on."""
        self._ends = ends
        self._signature = signature
        self._limits = limits
        self._lock = threading.Lock()
        self._closed = False
        self._rows = FIRST_ROWS  # of the next slice
        self._printed = b""
        self._printed_bytes = 0
        for descriptor in ends[1:]:
            os.set_blocking(descriptor, False)
        try:
            loaded = self._guarded(lambda: self._receive(0, time.monotonic() + limits.load_seconds))
            if not isinstance(loaded, frames.Loaded):
                raise ModelError("the model process gave an unexpected answer")
        except BaseException:
            self.close()
            raise
        self.isolation = tuple(frames.printable(layer, 40) for layer in loaded.isolation[:16])

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to finite float32 (n, outputs); after SandboxLimit the process is gone.

        Many rows are several calls, each of as many as the model is quick enough for.
        """
        if rows.ndim != 2 or rows.shape[1] != self._signature.inputs:
            raise ModelError(f"the model takes {self._signature.inputs} columns, got shape {rows.shape}")
        most = max(1, ROWS_BYTES // (4 * max(rows.shape[1], self._signature.outputs)))
        parts, start = [np.zeros((0, self._signature.outputs), np.float32)], 0
        while start < len(rows):
            part, began = rows[start : start + min(most, self._rows)], time.monotonic()
            parts.append(self._predict_slice(part))
            self._pace(len(part), time.monotonic() - began)
            start += len(part)
        return np.concatenate(parts)

    @property
    def alive(self) -> bool:
        return not self._closed and not _ready(self._ends.pidfd, 0)

    def kill(self) -> None:
        """End the process, from any thread; a call that runs fails, and whoever made it closes."""
        if not self._closed:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._ends.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process; as the first of its namespace it takes all with it. Idempotent."""
        if self._closed:
            return
        self.kill()
        self._closed = True
        _ready(self._ends.pidfd, END_SECONDS)
        for descriptor in self._ends:
            os.close(descriptor)

    def __enter__(self) -> ModelProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pace(self, rows: int, seconds: float) -> None:
        room = SHARE * self._limits.call_seconds / max(seconds, 1e-6)
        if room < 1 or rows >= self._rows:
            self._rows = max(1, int(rows * min(room, GROWTH)))

    def _predict_slice(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        number = secrets.randbits(48)
        request = frames.Predict(number, Array.of(np.ascontiguousarray(rows, np.float32)))
        with self._lock:
            answer = self._guarded(lambda: self._exchange(request))
        if not isinstance(answer, frames.Prediction):
            raise self._broken("the model process gave an unexpected answer")
        if answer.values.dtype != "float32" or answer.values.shape != (len(rows), self._signature.outputs):
            raise ModelError(
                f"the model answered with {frames.printable(answer.values.dtype, 20)} {answer.values.shape[:4]}, "
                f"promised is float32 {(len(rows), self._signature.outputs)}"
            )
        try:
            return np.asarray(answer.values.numpy(), dtype=np.float32)
        except EncodingError as error:
            raise ModelError(f"the model's answer is not usable: {error.message}") from None

    def _exchange(self, request: frames.Predict) -> frames.FromModel:
        if self._closed:
            raise ModelError("the model process has ended")
        if _ready(self._ends.incoming, 0) and self.alive:
            raise self._broken("the model answered without being asked")
        self._printed_bytes = 0
        deadline = time.monotonic() + self._limits.call_seconds
        self._write(frames.encode(request), deadline)
        return self._receive(request.number, deadline)

    def _receive(self, number: int, deadline: float) -> frames.FromModel:
        size = int.from_bytes(self._read(frames.HEADER, deadline), "big")
        if size > min(frames.MAX_FRAME, self._limits.frame_bytes):
            raise SandboxLimit(f"the model answered with a frame of {size} bytes")
        answer = frames.decode_from_model(self._read(size, deadline))
        if not isinstance(answer, frames.Loaded) and answer.number != number:
            raise self._broken("the model answered something else than what it was asked")
        return answer

    def _guarded(self, act: Callable[[], frames.FromModel]) -> frames.FromModel:
        """What ``act`` receives; errors in the worker's words become ours, and broken promises end the worker."""
        try:
            answer = act()
        except (SandboxLimit, EncodingError) as error:
            self.close()
            raise error if isinstance(error, SandboxLimit) else ModelError(error.message) from None
        except (BrokenPipeError, EOFError):
            raise self._died() from None
        if isinstance(answer, frames.Failure):
            kind = {"model.refused": ModelRefused, "sandbox.limit": SandboxLimit}.get(answer.code, ModelError)
            raise kind(frames.printable(answer.message))
        return answer

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._ends.outgoing, view) :]
            except BlockingIOError:
                self._wait(deadline, self._ends.outgoing, select.POLLOUT)

    def _read(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._wait(deadline, self._ends.incoming, select.POLLIN)
            chunk = os.read(self._ends.incoming, min(count - len(data), PIPE_BYTES))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _wait(self, deadline: float, descriptor: int, event: int) -> None:
        """Until ``descriptor`` is ready; meanwhile what the model prints is read, so that it does not block."""
        poll = select.poll()
        poll.register(descriptor, event)
        poll.register(self._ends.errors, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            ready = dict(poll.poll(left * 1000)) if left > 0 else {}
            if not ready:
                raise SandboxLimit("the model did not answer in time and was stopped")
            if self._ends.errors in ready and not self._drain():
                poll.unregister(self._ends.errors)
            if descriptor in ready:
                return

    def _drain(self) -> bool:
        """Whether more may come."""
        try:
            printed = os.read(self._ends.errors, 1 << 16)
        except BlockingIOError:
            return True
        self._printed_bytes += len(printed)
        if self._printed_bytes > STDERR_BYTES:
            raise SandboxLimit("the model prints without end and was stopped")
        self._printed = (self._printed + printed)[-STDERR_KEPT:]
        return bool(printed)

    def _broken(self, words: str) -> ModelError:
        self.close()
        return ModelError(words)

    def _died(self) -> ModelError:
        with contextlib.suppress(SandboxLimit):
            for _ in range(STDERR_BYTES >> 16):
                if not _ready(self._ends.errors, 0) or not self._drain():
                    break
        self.close()
        words = frames.printable(self._printed.decode("utf-8", "replace").strip(), 300)
        return ModelError(f"the model process died: {words or 'no word why'}")


def pipes() -> tuple[int, int]:
    """(read, write), wide enough for rows of a usual call at once, if the kernel lets us."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


def _ready(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
