"""Folders: made durable; and those that are made once, named by what they are made of, and deleted when nobody needs
them any more."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def keep_only(root: Path, names: Iterable[str], *, spared_seconds: float = 0.0) -> None:
    """Delete the others in ``root``, and what an interruption has left; not what was made less than so many seconds
    ago: it may be about to be used."""
    kept, oldest = set(names), time.time() - spared_seconds
    for folder in root.iterdir() if root.is_dir() else ():
        with suppress(FileNotFoundError):
            if folder.name not in kept and folder.stat().st_mtime <= oldest:
                shutil.rmtree(folder, ignore_errors=True)


def fsync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
