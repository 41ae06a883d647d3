"""The model process: limits itself before it reads a foreign byte, then loads one model and predicts.

Speaks frames on stdin and stdout; anything a library prints goes to stderr. Run as
``python -I -m atoll.engine.runtime.worker MEMORY_BYTES``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import BinaryIO

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
OPEN_FILES = 64


def main() -> int:
    """Serve until the pipe closes."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    network = _leave_network()  # first of all: the kernel allows it to a process of one thread only
    # Imported before the limits: the runtime's own memory is not the model's.
    from atoll.engine.encoding import Array
    from atoll.engine.runtime import frames, onnx_model

    isolation = (*_confine(int(sys.argv[1])), *network)
    model: onnx_model.OnnxModel | None = None
    while (body := _read(incoming, frames.HEADER)) is not None:
        request = frames.decode_to_model(body)
        answer: frames.Frame
        try:
            if isinstance(request, frames.Load):
                data = Path(request.path).read_bytes()
                model = onnx_model.OnnxModel(data, request.signature, request.limits.threads)
                answer = frames.Loaded(isolation)
            elif model is None:
                answer = frames.Failure("model.failed", "no model is loaded")
            else:
                values = model.predict(request.rows.numpy(finite=False))
                answer = frames.Prediction(Array.of(values))
        except MemoryError:
            answer = frames.Failure("sandbox.limit", "the model needs more memory than it may have")
        except Exception as error:  # the outermost edge of this process
            code = getattr(error, "code", "model.failed")
            answer = frames.Failure(code, frames.printable(str(error) or type(error).__name__))
        outgoing.write(frames.encode(answer))
        outgoing.flush()
    return 0


def _read(source: BinaryIO, header: int) -> bytes | None:
    length = source.read(header)
    return source.read(int.from_bytes(length, "big")) if len(length) == header else None


def _confine(memory: int) -> tuple[str, ...]:
    """Give up what a model does not need; returns what really took effect."""
    used = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[5])
    _limit(resource.RLIMIT_DATA, used + memory)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    return ("rlimits",)


def _leave_network() -> tuple[str, ...]:
    """Move into a network namespace with nothing in it, where the kernel lets us."""
    libc = ctypes.CDLL(None, use_errno=True)
    left = libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWNET) == 0
    return ("no_network",) if left else ()


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (ceiling, ceiling))


if __name__ == "__main__":
    sys.exit(main())
