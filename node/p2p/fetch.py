"""Fetching islands and packages by hash: header, then chunks, resumable from an offset, hash-checked."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import trio
from atoll.engine.errors import AtollError, IntegrityError
from atoll.node.p2p.errors import ProtocolViolation
from atoll.node.p2p.exchange import receive_request, request
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Streams
from atoll.node.serving import Owner
from atoll.protocol import limits
from atoll.protocol.fetch import PROTOCOL, FetchHeader, FetchRequest
from atoll.protocol.messages import Refusal, encode
from atoll.protocol.policy import USER, Asker

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


class Provider:
    """Serves islands and, where the policy offers download, packages."""

    def __init__(self, owner: Owner, peers: Peers) -> None:
        self._owner = owner
        self._peers = peers

    async def answer(self, channel: Channel) -> None:
        """Serve one request: a header and the chunks, or a refusal."""
        message = await receive_request(channel, FetchRequest, limits.CONTROL_FRAME)
        try:
            header, source = await trio.to_thread.run_sync(self._open, channel.peer, message)
        except AtollError as error:
            await channel.send(encode(Refusal.of(error)))
            return
        with source:
            await channel.send(encode(header))
            while chunk := await trio.to_thread.run_sync(source.read, limits.FETCH_CHUNK):
                await channel.send(chunk)

    def _open(self, peer: str, message: FetchRequest) -> tuple[FetchHeader, BinaryIO]:
        self._peers.require_shared(peer, message.federation)
        if message.kind == "island":
            data = self._owner.island(message.federation, message.digest)
            return FetchHeader(len(data), hashlib.sha256(data).digest()), _bytes_from(data, message.offset)
        asker = Asker(peer, message.user[:USER])
        path = self._owner.package(asker, message.federation, message.digest, resumed=message.offset > 0)
        file = path.open("rb")
        digest = hashlib.file_digest(file, "sha256").digest()
        size = file.tell()
        file.seek(min(max(message.offset, 0), size))
        return FetchHeader(size, digest), file


def _bytes_from(data: bytes, offset: int) -> BinaryIO:
    return io.BytesIO(data[max(offset, 0) :])


async def fetch_small(
    streams: Streams, peer: str, federation: bytes, kind: Literal["island", "package"], digest: bytes, limit: int,
    deadline: float,
) -> bytes:  # fmt: skip
    """A small object as bytes, at most ``limit`` of them, hash-checked against its header."""
    async with streams.open(peer, PROTOCOL, deadline=deadline) as channel:
        message = FetchRequest(federation, kind, digest)
        header = await request(channel, message, FetchHeader, limit=limits.CONTROL_FRAME)
        if not 0 <= header.size <= limit:
            raise ProtocolViolation(f"{header.size} bytes where at most {limit} are allowed")
        data = b""
        while len(data) < header.size:
            data += await channel.receive(limits.FETCH_CHUNK)
    if len(data) != header.size or hashlib.sha256(data).digest() != header.sha256:
        raise IntegrityError("what was received does not have the hash that was promised")
    return data


async def fetch_file(
    streams: Streams, peer: str, federation: bytes, revision: bytes, partial: Path, user: str, deadline: float,
    progress: Progress | None = None,
) -> bytes:  # fmt: skip
    """Download a package into ``partial``, going on where it stands; returns the SHA-256 that it has to have.

    The caller checks the hash of the whole file and moves it to its place.
    """
    offset = partial.stat().st_size if partial.exists() else 0
    async with streams.open(peer, PROTOCOL, deadline=deadline) as channel:
        message = FetchRequest(federation, "package", revision, offset, user)
        header = await request(channel, message, FetchHeader, limit=limits.CONTROL_FRAME)
        if not 0 < header.size <= limits.PACKAGE or offset > header.size:
            partial.unlink(missing_ok=True)
            raise ProtocolViolation(f"a package of {header.size} bytes cannot go on at {offset}")
        with partial.open("ab") as file:
            while offset < header.size:
                chunk = await channel.receive(limits.FETCH_CHUNK)
                await trio.to_thread.run_sync(file.write, chunk)
                offset += len(chunk)
                if progress:
                    progress(offset, header.size)
    return header.sha256
