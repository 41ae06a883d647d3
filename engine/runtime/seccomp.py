"""A system call filter for model workers, as classic BPF: no sockets, no programs, no processes, no writing.

A list of what is denied, not of what is allowed: libraries differ in what they read, not in that they need no socket.
It is one layer of several; namespaces, Landlock and rlimits hold without it. See seccomp(2), bpf in linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import threading

from atoll.engine.runtime import kernel, syscalls

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, JMP|JEQ, JGE, JSET, RET
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; arguments are eight bytes each
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
X32 = 0x40000000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | 0o20000000  # the last is O_TMPFILE's own bit
CLONE_THREAD, CLONE_NEW = 0x00010000, 0x7E020080
MAP_SHARED, MAP_ANONYMOUS = 0x01, 0x20

Step = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def supported() -> bool:
    return platform.machine() in ARCHITECTURES


def install(threads: bool) -> bool:
    """Filter this thread and what it starts, for good; ``threads``: may start threads. False where the kernel cannot.

    Needs no_new_privs. Processes are denied in any case.
    """
    if not supported():
        return False
    steps = _program(threads)
    packed = b"".join(struct.pack("<HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    return kernel.filter_calls(buffer, len(steps))


def _program(threads: bool) -> list[Step]:
    place, architecture = ARCHITECTURES[platform.machine()]
    steps: list[Step] = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER), (EQUAL if place else AT_LEAST, 0, 1, X32), (RETURN, 0, 0, ERRNO | errno.ENOSYS),
    ]  # fmt: skip
    for number in (numbers[place] for numbers in syscalls.DENIED.values()):
        steps += _when(number, [(RETURN, 0, 0, ERRNO | errno.EPERM)])
    for numbers in (syscalls.CLONE3, syscalls.OPENAT2, syscalls.FCHMODAT2):  # structs in memory cannot be looked into
        steps += _when(numbers[place], [(RETURN, 0, 0, ERRNO | errno.ENOSYS)])
    steps += _when(syscalls.OPEN[place], _deny_bits(1, WRITING, errno.EACCES))
    steps += _when(syscalls.OPENAT[place], _deny_bits(2, WRITING, errno.EACCES))
    steps += _when(syscalls.CLONE[place], _clone(threads))
    own, get = os.getpid(), threading.get_native_id()
    steps += _when(syscalls.TGKILL[place], _only(0, {own, get}))  # abort and raise signal their own thread
    steps += _when(syscalls.PRLIMIT64[place], _only(0, {0, own}))
    steps += _when(syscalls.MMAP[place], _no_shared_memory())
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _when(number: int, body: list[Step]) -> list[Step]:
    """``body`` for one call; it must return."""
    return [] if number < 0 else [(EQUAL, 0, len(body), number), *body]


def _deny_bits(argument: int, bits: int, error: int) -> list[Step]:
    return [
        (LOAD, 0, 0, ARGUMENTS + 8 * argument), (ANY_BIT, 0, 1, bits), (RETURN, 0, 0, ERRNO | error),
        (RETURN, 0, 0, ALLOW),
    ]  # fmt: skip


def _only(argument: int, values: set[int]) -> list[Step]:
    checks: list[Step] = [step for value in values for step in ((EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW))]
    return [(LOAD, 0, 0, ARGUMENTS + 8 * argument), *checks, (RETURN, 0, 0, ERRNO | errno.EPERM)]


def _clone(threads: bool) -> list[Step]:
    """Threads, if they may be; never a process, never a namespace."""
    if not threads:
        return [(RETURN, 0, 0, ERRNO | errno.EPERM)]
    denied = (RETURN, 0, 0, ERRNO | errno.EPERM)
    return [
        (LOAD, 0, 0, ARGUMENTS), (ANY_BIT, 0, 1, CLONE_NEW), denied,
        (ANY_BIT, 1, 0, CLONE_THREAD), denied, (RETURN, 0, 0, ALLOW),
    ]  # fmt: skip


def _no_shared_memory() -> list[Step]:
    """RLIMIT_DATA counts private memory only: anonymous shared memory would go uncounted."""
    return [
        (LOAD, 0, 0, ARGUMENTS + 8 * 3), (ANY_BIT, 0, 2, MAP_ANONYMOUS), (ANY_BIT, 0, 1, MAP_SHARED),
        (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW),
    ]  # fmt: skip
