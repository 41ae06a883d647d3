"""Files that are there whole, and on disk, or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from atoll.engine.folders import fsync_folder
from atoll.node.errors import StoreError


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` after fsync when the block ends well; else nothing stays. ``mode`` is
    that of a new file, less what the process's umask takes.

    StoreError where the disk does not play along.
    """
    try:
        name = path.parent / f".{path.name}.{secrets.token_hex(8)}"
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path} was not written: {error}") from None
