"""Files that are there for the time of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import IO, TypeVar

from atoll.node.store.blobs import BlobStore

T = TypeVar("T")


@asynccontextmanager
async def scratch(blobs: BlobStore) -> AsyncIterator[IO[bytes]]:
    """A temporary file on the disk of the blobs; nothing of it stays after the block, unless it was moved away."""
    file = await asyncio.to_thread(blobs.temporary)
    try:
        yield file
    finally:
        await asyncio.to_thread(_discard, file)


@asynccontextmanager
async def in_threads(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """``manager``, whose entering and leaving block; the block's own errors are not told to it."""
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def _discard(file: IO[bytes]) -> None:
    file.close()
    Path(file.name).unlink(missing_ok=True)
