"""The machine: versions, space, file descriptors, the sandbox, optional libraries."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import atoll
from atoll.node.checkup.finding import Finding, Patient
from atoll.node.language import size

EXTRAS = {
    "skops": "skops", "lightgbm": "lightgbm", "xgboost": "xgboost", "pyarrow": "tables", "matplotlib": "draw",
    "sentence_transformers": "text", "uv": "environments",
}  # fmt: skip
FULL, TIGHT = 256 << 20, 2 << 30  # bytes free: below, a write may fail; below, the next large package may
FEW_INODES = 10_000
DESCRIPTORS = 1024  # 256 connections, files of models and packages, and as many again
PROC = Path("/proc/sys")
SWITCHES = {
    "kernel/unprivileged_userns_clone": ("0", "1"),
    "user/max_user_namespaces": ("0", "15000"),
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
}  # what keeps user namespaces out, and what lets them in


def version(patient: Patient) -> Iterator[Finding]:
    """That of this program, and of the node that runs."""
    words = f"Atoll {atoll.__version__}, Python {platform.python_version()}"
    running = patient.running
    if running is not None and running.node.version != atoll.__version__:
        words += f"; the node at {running.url} runs {running.node.version}"
        yield Finding("version", "look", words, "restart the node if this is the version that it should run")
    else:
        yield Finding("version", "fine", words)


def disk(patient: Patient) -> Iterator[Finding]:
    """Bytes and inodes that are free where the home is."""
    place = next(each for each in (patient.home, *patient.home.absolute().parents) if each.exists())
    free, inodes = shutil.disk_usage(place).free, os.statvfs(place)
    words = f"{size(free)} free at {place}"
    if free < FULL:
        yield Finding("disk", "bad", words, "make room: without it the node answers 507 to what it cannot store")
    elif free < TIGHT:
        yield Finding("disk", "look", words, "make room: packages take up to http.max_upload_bytes each")
    elif inodes.f_files and inodes.f_favail < FEW_INODES:
        yield Finding("disk", "look", f"{words}, {inodes.f_favail} inodes", "make room for more files")
    else:
        yield Finding("disk", "fine", words)


def descriptors(patient: Patient) -> Iterator[Finding]:
    """How many files and sockets a node that is started here may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS
    words = f"{'any number' if soft == resource.RLIM_INFINITY else soft} may be open"
    todo = "" if enough else f"`ulimit -n {DESCRIPTORS * 4}` before `atoll serve`, or LimitNOFILE= in its unit"
    yield Finding("file descriptors", "fine" if enough else "look", words, todo)


def sandbox(patient: Patient) -> Iterator[Finding]:
    """The rung that holds, and what the next one lacks."""
    from atoll.engine import runtime

    held = runtime.rung()
    words = f"{held.level} ({', '.join(held.layers) or 'nothing'})"
    if not held.missing:
        yield Finding("sandbox", "fine", words)
        return
    off = [f"{name.replace('/', '.')}={let}" for name, (kept, let) in SWITCHES.items() if _reads(name) == kept]
    switches = f"; user namespaces are off: as root, `sysctl -w {' '.join(off)}`" if off else ""
    todo = f"{held.hint}{switches}"
    yield Finding("sandbox", "look" if held.level == "limited" else "bad", f"{words}; {held.missing}", todo)


def libraries(patient: Patient) -> Iterator[Finding]:
    """Optional ones, by the extra that brings them."""
    missing = sorted({extra for module, extra in EXTRAS.items() if importlib.util.find_spec(module) is None})
    if missing:
        words = f"without {', '.join(missing)}"
        yield Finding("optional libraries", "look", words, f"pip install 'atoll[{','.join(missing)}]' where needed")
    else:
        yield Finding("optional libraries", "fine", "all are there")


def _reads(name: str) -> str:
    try:
        return (PROC / name).read_text().strip()
    except OSError:
        return ""
