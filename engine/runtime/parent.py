"""The node's side of a warm parent: start it inside the sandbox, order workers, start again what has died."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
from concurrent.futures import Executor
from pathlib import Path
from typing import IO

from atoll.engine.errors import ModelError, ModelRefused, SandboxLimit
from atoll.engine.runtime import frames
from atoll.engine.runtime.formats import Level
from atoll.engine.runtime.layout import SANDBOX_PACKAGE, Folders, bubblewrap, layout, readable

IMPORT_SECONDS = 60.0
FORK_SECONDS = 10.0
END_SECONDS = 5.0
PIECE = 1 << 20
CREDENTIALS = struct.Struct("iII")  # struct ucred: process, user, group


class ParentDied(ModelError):
    """The warm parent is not there any more; a new one may be started."""


class WarmParent:
    """One runtime family, imported once. Thread-safe: one order at a time."""

    def __init__(
        self, family: str, level: Level, starter: Executor, folders: Folders = Folders()  # noqa: B008 - immutable
    ) -> None:  # fmt: skip
        """Start and wait for the imports; ModelRefused with the cause where it does not come up.

        An environment is for the strong rung only: what is imported from there runs before a worker confines itself. Of
        a learnware's folder nothing is read before that.
        ``starter`` has one thread that outlives this: bubblewrap ends with the *thread* that has started it.
        """
        self.learnware = folders.at(level).learnware  # within the sandbox
        self._lock = threading.Lock()
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._errors = os.memfd_create("stderr")
        try:
            with inner:
                self._process = starter.submit(self._launch, family, level, inner.fileno(), folders).result()
        except BaseException:
            self._control.close()
            os.close(self._errors)
            raise
        try:
            self.private_bytes, self.address_bytes = self._await_imports(family)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, order: frames.Order, descriptors: list[int]) -> int:
        """A pidfd of a new worker that holds ``descriptors`` (worker.Pipes); ParentDied or ModelError."""
        with self._lock:
            self._control.settimeout(FORK_SECONDS)
            try:
                socket.send_fds(self._control, [frames.body_of(order)], descriptors)
                words, found, _, _ = socket.recv_fds(self._control, 1024, 1)
            except TimeoutError:
                self._process.kill()
                raise SandboxLimit("the sandbox did not start a worker in time") from None
            except OSError:
                raise ParentDied("the sandbox has ended") from None
        if not words:
            raise ParentDied("the sandbox has ended")
        if not found:
            raise ModelError(f"the sandbox starts no worker: {frames.printable(words.decode('utf-8', 'replace'))}")
        return found[0]

    def close(self) -> None:
        """End it and all that it started; idempotent."""
        if self._control.fileno() < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._control.settimeout(END_SECONDS)
        with contextlib.suppress(OSError):
            while self._control.recv(1024):  # its end closes when it, and not only bubblewrap around it, has gone
                pass
        self._control.close()
        os.close(self._errors)

    def _launch(self, family: str, level: Level, control: int, folders: Folders) -> subprocess.Popen[bytes]:
        here, strong = layout(), level == "strong"
        arguments = (str(control), family, level, *readable(level, folders))
        command = here.command(SANDBOX_PACKAGE if strong else here.package, folders.at(level).environment, *arguments)
        if strong:
            command = bubblewrap(here, command, folders)
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, cwd="/",
            start_new_session=True, env=_environment(), pass_fds=[control],
        )  # fmt: skip

    def _await_imports(self, family: str) -> tuple[int, int]:
        """(private, address) bytes of the process with everything imported."""
        self._control.settimeout(IMPORT_SECONDS)
        try:
            body, extra, _, _ = self._control.recvmsg(frames.MAX_ORDER, socket.CMSG_SPACE(CREDENTIALS.size))
        except OSError:
            body, extra = b"", []
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)  # from now on pidfds come, without names
        answer = frames.decode_from_parent(body) if body else None
        if isinstance(answer, frames.Failure):
            raise ModelRefused(frames.printable(answer.message), hint=f"reinstall the libraries of {family}")
        if answer is None:
            raise ModelRefused(f"the sandbox does not start: {self._words()}")
        process = next((CREDENTIALS.unpack(data)[0] for _, kind, data in extra if kind == socket.SCM_CREDENTIALS), 0)
        return _memory_of(process)

    def _words(self) -> str:
        """What was printed before the end, bubblewrap's own complaint above all."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        printed = os.pread(self._errors, 1 << 16, 0).decode("utf-8", "replace").strip()
        return frames.printable(printed[-300:]) or "no word why"


def sealed(file: IO[bytes]) -> int:
    """A file descriptor with the whole of ``file``, which nobody can change any more: in the machine's memory, not in
    this process's."""
    descriptor = os.memfd_create("model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        file.seek(0)
        with open(descriptor, "wb", closefd=False) as copy:
            shutil.copyfileobj(file, copy, PIECE)
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _memory_of(process: int) -> tuple[int, int]:
    try:
        fields = Path(f"/proc/{process}/statm").read_text().split()
    except OSError:
        return 1 << 30, 16 << 30  # a hidden /proc: more than any runtime takes
    page = resource.getpagesize()
    return page * int(fields[5]), page * int(fields[0])


def _environment() -> dict[str, str]:
    """Nothing of ours leaks in; libraries make no thread before the worker's own number of threads is known."""
    single = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "MALLOC_ARENA_MAX")
    return {
        **dict.fromkeys(single, "1"),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "ORT_DISABLE_TELEMETRY": "1",
        "PATH": "/nonexistent",
        "TMPDIR": "/tmp",
    }
