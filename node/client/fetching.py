"""Packages of other institutions, through a node, into a folder: resumed where they broke off, and checked.

A file that is not whole is called ``.part``. What has its final name is the package of the revision that the node
lists, every file in it as its manifest says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from atoll.engine.errors import AtollError, IntegrityError
from atoll.engine.folders import fsync_folder
from atoll.engine.packages import open_package
from atoll.node.api.downloads import DownloadBody, DownloadsView, DownloadView, FailureView, file_name
from atoll.node.api.problems import Problem
from atoll.node.client.resuming import Resuming
from atoll.node.client.streams import follow_downloads
from atoll.node.client.transport import RemoteError, Transport
from atoll.node.errors import NodeUnreachable, StoreError, outcome
from atoll.node.reuse.result import Downloading
from atoll.node.store.blobs import hash_of

FetchProgress = Callable[[str, str, int, int], None]  # learnware id, "node" or "here", bytes done, bytes in all


@dataclass(frozen=True)
class Fetched:
    """``files`` and ``failed``, by learnware."""

    files: dict[str, Path]
    failed: dict[str, FailureView]


class DownloadCalls(Transport):
    """What AsyncClient has of it."""

    async def downloads(self) -> list[DownloadView]:
        """Packages that the node has fetched; what was used last comes first."""
        return await self._json("GET", "downloads", list[DownloadView])

    async def forget_download(self, revision: str) -> None:
        """Remove a package from the node's cache; RemoteError (node.busy) while it is used."""
        await self._call("DELETE", f"downloads/{revision}")

    async def fetch(
        self, learnwares: str | Sequence[str] = (), *, search_id: str = "", folder: Path | str = ".",
        progress: FetchProgress | None = None,
    ) -> Fetched:  # fmt: skip
        """Packages of one or some learnwares (ids), or of all members of a search's mixture, into ``folder``.

        The node fetches what it does not have; both ways go on where they broke off. RemoteError where nothing at all
        was to be had; IntegrityError where what came is not what the node lists.
        """
        if isinstance(learnwares, str):
            learnwares = (learnwares,)
        target, tell = Path(folder), progress or _silent
        await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)
        at_node = await self._at_node(DownloadBody(tuple(learnwares), search_id), tell)
        if at_node.failed and not at_node.downloads:
            failure = next(iter(at_node.failed.values()))
            status = outcome(failure.code).status
            raise RemoteError(Problem(failure.code, failure.detail, status, hint=failure.hint))
        files = {each.learnware_id: await self._file(each, target, tell) for each in at_node.downloads}
        return Fetched(files, at_node.failed)

    async def _at_node(self, body: DownloadBody, tell: FetchProgress) -> DownloadsView:
        url = f"{self._url}/api/v1/downloads"
        async with aclosing(follow_downloads(self._session, url, body)) as told:
            async for each in told:
                if isinstance(each, Downloading):
                    tell(each.learnware_id, "node", each.done, each.size)
                elif isinstance(each, DownloadsView):
                    return each
        raise NodeUnreachable("the node told nothing of the downloads", hint="the same again goes on from there")

    async def _file(self, view: DownloadView, folder: Path, tell: FetchProgress) -> Path:
        """The checked file; a part that went wrong before is fetched once more."""
        target = folder / file_name(view.name, view.learnware_id)
        part = target.with_name(f"{target.name}.part")
        if await asyncio.to_thread(_is_package, target, view):
            return target
        while True:
            resumed = await asyncio.to_thread(_size, part) > 0
            await self._whole(view, part, tell)
            if await asyncio.to_thread(_is_package, part, view):
                await asyncio.to_thread(_put, part, target)
                return target
            await asyncio.to_thread(part.unlink, missing_ok=True)
            if not resumed:
                raise IntegrityError(f"{view.name}: what the node sent is not the package of revision {view.revision}")

    async def _whole(self, view: DownloadView, part: Path, tell: FetchProgress) -> None:
        """Until the part has what the node sends, over as many connections as it takes."""
        done = await asyncio.to_thread(_size, part)
        if done == view.size:
            return
        with await asyncio.to_thread(_open, part, done if done < view.size else 0) as file:
            resuming = Resuming(
                f"{self._url}/api/v1/downloads/{view.revision}", file, tag=f'"{view.sha256}"', most=view.size,
                progress=lambda here: tell(view.learnware_id, "here", here, view.size),
            )  # fmt: skip
            try:
                await resuming.receive(self._session)
            except NodeUnreachable as error:
                error.hint = "the same command goes on from there"
                raise


def _silent(learnware_id: str, where: str, done: int, size: int) -> None:
    pass


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _open(path: Path, done: int) -> IO[bytes]:
    """To write on from ``done``, unbuffered: what was received is in the file however this process ends."""
    try:
        return path.open("ab" if done else "wb", buffering=0)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None


def _is_package(path: Path, view: DownloadView) -> bool:
    """Whether a file is the package of its revision, and everything in it what its manifest says."""
    if _size(path) != view.size or hash_of(path).hex() != view.sha256:
        return False
    try:
        with open_package(path, specifications=False) as package:
            private = {spec.path for spec in package.manifest.specifications}
            for entry in package.manifest.files:
                if entry.path not in private:
                    package.verify(entry.path)
            return package.revision.hex() == view.revision
    except AtollError:
        return False


def _put(part: Path, target: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    fsync_folder(target.parent)
