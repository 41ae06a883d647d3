"""One process a home: the lock, and the mark by which the next start knows that a node was not closed cleanly."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atoll.engine.folders import fsync_folder
from atoll.node.errors import ConfigError

LOCK, RUNNING = "lock", "running"


@contextmanager
def attempted(home: Path) -> Iterator[bool]:
    """Whether no other process has the home; then it is this block's."""
    with (home / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """The home is this block's; ConfigError if a node has it: two on one store would destroy it."""
    with attempted(home) as held:
        if not held:
            raise ConfigError(f"another node is running on {home}")
        yield


def was_killed(home: Path) -> bool:
    """Whether the last node on a home did not come to close it; asked under the lock."""
    return (home / RUNNING).exists()


@contextmanager
def marked(home: Path) -> Iterator[None]:
    """The mark stands, durably, until the block is over, however it ends; only who is killed leaves it behind."""
    (home / RUNNING).write_text(f"{os.getpid()}\n")
    fsync_folder(home)
    try:
        yield
    finally:
        (home / RUNNING).unlink(missing_ok=True)
