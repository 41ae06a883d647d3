"""The ladder of isolation: which rung this machine has, found out by running a model on it, and why it is no higher."""

from __future__ import annotations

import io
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from typing import NamedTuple

from atoll.engine.errors import ModelError
from atoll.engine.runtime.formats import Level
from atoll.engine.runtime.parent import WarmParent
from atoll.engine.runtime.signature import Limits, Signature
from atoll.engine.runtime.start import start_worker

INSTALL = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap)"
ALLOW = (
    "let bubblewrap make user namespaces: "
    "sysctl kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces above 0"
)
PROBE = b"def predict(rows):\n    return rows\n"


class Rung(NamedTuple):
    """``layers`` hold every worker; ``missing``: why the rung is no higher, ``hint``: what to do; empty at the top."""

    level: Level
    layers: tuple[str, ...]
    missing: str = ""
    hint: str = ""


@cache
def rung() -> Rung:
    """This machine's highest rung. Runs up to two small processes, once; later calls only look it up."""
    if not sys.platform.startswith("linux"):
        return Rung("none", (), "models run on Linux only", "run the node on Linux, or in a container")
    if shutil.which("bwrap") is None:
        return lower("bubblewrap is not installed", INSTALL)
    try:
        return Rung("strong", _strong(probe("strong")))
    except (ModelError, OSError) as error:
        return lower(f"bubblewrap does not work here: {error}", ALLOW)


def lower(missing: str, hint: str) -> Rung:
    """The highest rung without bubblewrap."""
    try:
        layers = probe("limited")
    except (ModelError, OSError) as error:
        return Rung("none", (), f"{missing}; no worker starts either: {error}", hint)
    held = "seccomp" in layers or {"namespaces", "landlock"} <= set(layers)
    return Rung("limited" if held else "none", layers, missing, hint)


def probe(level: Level) -> tuple[str, ...]:
    """The layers that hold a worker at ``level``, as it reports itself; ModelError where none comes up."""
    signature = Signature("regression", 1, 1)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="atoll-sandbox") as starter,
        closing(WarmParent("python", level, starter)) as parent,
        start_worker(parent, "python", io.BytesIO(PROBE), signature, Limits(), ()) as worker,
    ):
        return worker.isolation


def _strong(layers: tuple[str, ...]) -> tuple[str, ...]:
    """Workers of one warm parent must be kept apart, by namespaces of their own or by the call filter."""
    if not {"namespaces", "seccomp"} & set(layers):
        raise ModelError("the kernel gives workers neither namespaces of their own nor a call filter")
    return layers
