"""The parent's side of a model process: start, call under a deadline, distrust the answer, kill."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import numpy as np
from atoll.engine.encoding import Array
from atoll.engine.errors import EncodingError, ModelError, ModelRefused, SandboxLimit
from atoll.engine.runtime import frames
from atoll.engine.runtime.signature import Limits, Signature
from numpy.typing import NDArray

STDERR_BYTES = 4096
ROWS_BYTES = 16 << 20  # rows of one call; more are sent in slices


class ModelProcess:
    """One model in a process of its own. Thread-safe: one call at a time."""

    def __init__(self, process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str],
                 stderr: IO[bytes], signature: Signature, limits: Limits) -> None:  # fmt: skip
        self._process = process
        self._stderr = stderr
        self._folder = folder
        self._signature = signature
        self._limits = limits
        self._lock = threading.Lock()
        self.isolation: tuple[str, ...] = ()

    @classmethod
    def start(cls, model: Path, signature: Signature, limits: Limits = Limits()) -> ModelProcess:  # noqa: B008
        """Start and load; ModelRefused, ModelError or SandboxLimit, and then nothing is left running."""
        folder = tempfile.TemporaryDirectory(prefix="atoll-model-")
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - inherited, then closed below
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "atoll.engine.runtime.worker", str(limits.memory_bytes)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, cwd=folder.name, start_new_session=True,
            env=_environment(folder.name, limits),
        )  # fmt: skip
        started = cls(process, folder, stderr, signature, limits)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        try:
            loaded = started._call(frames.Load(str(model.resolve()), signature, limits), limits.load_seconds)
            if not isinstance(loaded, frames.Loaded):
                raise ModelError("the model process gave an unexpected answer")
        except BaseException:
            started.close()
            raise
        started.isolation = loaded.isolation
        return started

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to finite float32 (n, outputs); after SandboxLimit the process is gone."""
        if rows.ndim != 2 or rows.shape[1] != self._signature.inputs:
            raise ModelError(f"the model takes {self._signature.inputs} columns, got shape {rows.shape}")
        step = max(1, ROWS_BYTES // (4 * max(rows.shape[1], self._signature.outputs)))
        parts = [self._predict_slice(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate(parts) if parts else np.zeros((0, self._signature.outputs), np.float32)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Kill the process and everything it started; idempotent."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._folder.cleanup()

    def __enter__(self) -> ModelProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict_slice(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        answer = self._call(frames.Predict(Array.of(np.ascontiguousarray(rows, np.float32))), self._limits.call_seconds)
        if not isinstance(answer, frames.Prediction):
            raise ModelError("the model process gave an unexpected answer")
        if answer.values.dtype != "float32" or answer.values.shape != (len(rows), self._signature.outputs):
            raise ModelError(
                f"the model answered with {frames.printable(answer.values.dtype, 20)} {answer.values.shape[:4]}, "
                f"promised is float32 {(len(rows), self._signature.outputs)}"
            )
        try:
            return np.asarray(answer.values.numpy(), dtype=np.float32)
        except EncodingError as error:
            raise ModelError(f"the model's answer is not usable: {error.message}") from None

    def _call(self, request: frames.Frame, seconds: float) -> frames.FromModel:
        with self._lock:
            deadline = time.monotonic() + seconds
            try:
                self._write(frames.encode(request), deadline)
                size = int.from_bytes(self._read(frames.HEADER, deadline), "big")
                if size > min(frames.MAX_FRAME, self._limits.frame_bytes):
                    raise SandboxLimit(f"the model answered with a frame of {size} bytes")
                answer = frames.decode_from_model(self._read(size, deadline))
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
        pipe = self._process.stdin
        assert pipe is not None
        view = memoryview(data)
        while view:
            _wait(deadline, writable=pipe.fileno())
            view = view[os.write(pipe.fileno(), view[: 1 << 16]) :]

    def _read(self, count: int, deadline: float) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        data = bytearray()
        while len(data) < count:
            _wait(deadline, readable=pipe.fileno())
            chunk = os.read(pipe.fileno(), min(count - len(data), 1 << 20))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _died(self) -> ModelError:
        status = self._process.wait()
        self._stderr.seek(0, 2)
        self._stderr.seek(max(0, self._stderr.tell() - STDERR_BYTES))
        words = frames.printable(self._stderr.read().decode("utf-8", "replace").strip(), 300)
        self.close()
        return ModelError(f"the model process died (status {status}): {words}")


def _environment(folder: str, limits: Limits) -> dict[str, str]:
    """Nothing of ours leaks in; what onnxruntime leaves in the temporary folder goes with it."""
    return {
        "OMP_NUM_THREADS": str(limits.threads),
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": folder,
        "ORT_DISABLE_TELEMETRY": "1",
    }


def _wait(deadline: float, *, readable: int | None = None, writable: int | None = None) -> None:
    poll = select.poll()
    if readable is not None:
        poll.register(readable, select.POLLIN)
    if writable is not None:
        poll.register(writable, select.POLLOUT)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise SandboxLimit("the model did not answer in time and was stopped")
