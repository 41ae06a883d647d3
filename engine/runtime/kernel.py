"""The few Linux calls that Python lacks, through libc: namespaces, capabilities, seccomp, Landlock.

Every function returns whether it took effect; none raises where a kernel lacks the call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

NEW_NAMESPACES = {"mount": 0x00020000, "ipc": 0x08000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # the same numbers on every machine
READ_FILE, READ_DIR = 1 << 2, 1 << 3
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # how many access rights each Landlock ABI knows

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def unshare(*names: str) -> bool:
    """Leave these namespaces; ``pid`` takes effect in the next child."""
    flags = sum(NEW_NAMESPACES[name] for name in names)
    return bool(_libc.unshare(flags) == 0)


def prctl(option: int, value: int) -> bool:
    return bool(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def die_with_parent(signal: int) -> bool:
    return prctl(PR_SET_PDEATHSIG, signal)


def adopt_orphans() -> bool:
    """Children of children become ours, not init's."""
    return prctl(PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> bool:
    """No ptrace, no core, no /proc/PID/mem by processes of the same user."""
    return prctl(PR_SET_DUMPABLE, 0)


def drop_privileges() -> bool:
    """No capability now, none by exec: of root only the file owner is left."""
    for capability in range(64):
        prctl(PR_CAPBSET_DROP, capability)
    _libc.prctl(PR_CAP_AMBIENT, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    dropped = _libc.capset(header, (ctypes.c_uint32 * 6)()) == 0
    return prctl(PR_SET_NO_NEW_PRIVS, 1) and dropped


def filter_calls(program: ctypes.Array[ctypes.c_char], steps: int) -> bool:
    """Install a BPF program of ``steps`` instructions for good."""
    wrapped = _Program(steps, ctypes.addressof(program))
    return bool(_libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(wrapped), 0, 0) == 0)


def read_only_beneath(paths: Iterable[str]) -> bool:
    """Landlock: from now on only reading, and only beneath ``paths``; no TCP where the kernel knows that rule."""
    version = int(_libc.syscall(LANDLOCK_CREATE, None, 0, 1))
    if version < 1:
        return False
    rights = (1 << FILE_RIGHTS[max(known for known in FILE_RIGHTS if known <= version)]) - 1
    wanted = [rights] + ([3] if version >= 4 else []) + ([3] if version >= 6 else [])  # files, TCP, scopes
    attributes = (ctypes.c_uint64 * len(wanted))(*wanted)
    ruleset = int(_libc.syscall(LANDLOCK_CREATE, attributes, ctypes.sizeof(attributes), 0))
    if ruleset < 0:
        return False
    try:
        for path in paths:
            _allow_reading(ruleset, path)
        return bool(_libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no rule
    try:
        rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
        rule = rights.to_bytes(8, "little") + place.to_bytes(4, "little")  # struct landlock_path_beneath_attr, packed
        _libc.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0)
    finally:
        os.close(place)
