"""A warm parent: imports one runtime, then forks a worker for every order. It never sees a foreign byte itself.

Runs inside the sandbox, started by layout.BOOTSTRAP with CONTROL FAMILY LEVEL READABLE...; ends when the node's end of
the control socket closes. The worker's model and pipes arrive with the order as file descriptors, and a pidfd of the
worker goes back: the node can end a worker whose number it cannot see.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
from typing import NoReturn

from atoll.engine.runtime import frames, kernel
from atoll.engine.runtime.formats import FAMILIES
from atoll.engine.runtime.worker import Pipes, work

NAMESPACES = ("user", "pid", "mount", "ipc")


def main(arguments: list[str]) -> None:
    """Serve until the node goes away."""
    control, family, level = int(arguments[0]), arguments[1], arguments[2]
    node = socket.socket(fileno=control)
    try:
        for module in FAMILIES[family]:
            importlib.import_module(f"atoll.engine.runtime.{module}")
    except Exception as error:  # a library that is there and broken
        node.send(frames.body_of(frames.Failure(0, "model.refused", frames.printable(f"{family}: {error}"))))
        return
    kernel.adopt_orphans()
    kernel.hide_memory()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are reaped by the kernel
    gc.collect()
    gc.freeze()  # workers share these pages as long as nobody writes to them
    node.send(frames.body_of(frames.Ready()))
    while True:
        order, descriptors, _, _ = socket.recv_fds(node, frames.MAX_ORDER, 8)
        if not order:
            return
        if os.fork() == 0:
            _fork_worker(node, frames.decode_order(order), descriptors, level, tuple(arguments[3:]))
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_worker(
    node: socket.socket, order: frames.Order, descriptors: list[int], level: str, readable: tuple[str, ...]
) -> NoReturn:
    """In between: leaves the namespaces, forks the worker into them, hands its pidfd over and ends."""
    try:
        network = () if level == "strong" else ("net",)  # bubblewrap's has nothing in it already
        left = kernel.unshare(*NAMESPACES, *network)
        between = os.pidfd_open(os.getpid())
        known, told = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(told)
            os.read(known, 1)  # its end comes when the other side has a pidfd: who ends at once is known too
            os.close(known)
            if level != "strong":  # there the whole process tree goes with its first process
                _await_end(between)  # from then on the warm parent is the parent
                kernel.die_with_parent(signal.SIGKILL)
            isolation = (("bubblewrap",) if level == "strong" else ()) + (("namespaces",) if left else ())
            work(order, Pipes(*descriptors), isolation, readable)
        pidfd = os.pidfd_open(worker)
        os.close(told)
        socket.send_fds(node, [b"started"], [pidfd])
    except BaseException as error:
        node.send(f"{type(error).__name__}: {error}".encode()[:500])
    finally:
        os._exit(0)


def _await_end(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
