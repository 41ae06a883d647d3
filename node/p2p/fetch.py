"""Fetching islands and packages by hash: header, then chunks, resumable from an offset, hash-checked."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import RawIOBase
from typing import BinaryIO, Literal

import msgspec
import trio
from atoll.engine.errors import AtollError, IntegrityError
from atoll.node.p2p.errors import ChannelClosed, PeerTimeout, ProtocolViolation
from atoll.node.p2p.exchange import asker, receive_request, request
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Streams
from atoll.node.serving import Owner
from atoll.node.store.partial import Partial, Room
from atoll.protocol import limits
from atoll.protocol.fetch import PROTOCOL, FetchHeader, FetchRequest
from atoll.protocol.messages import Refusal, encode

PIECE = 1 << 20  # bytes that are read or written at a time
SOON = 5.0  # seconds after which less than a piece is written: what was received is not to be lost
LEAST_RATE = 64 * 1024  # bytes a second that an owner sends in the long run, or the download breaks off
GRACE, LONGEST = 60.0, 3600.0  # seconds for which it may be slower, and for which a download goes on at all
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
            while piece := await trio.to_thread.run_sync(source.read, PIECE):
                for start in range(0, len(piece), limits.FETCH_CHUNK):
                    await channel.send(piece[start : start + limits.FETCH_CHUNK])

    def _open(self, peer: str, message: FetchRequest) -> tuple[FetchHeader, BinaryIO]:
        user = asker(self._peers, peer, message)
        if message.kind == "island":
            data = self._owner.island(message.federation, message.digest)
            return FetchHeader(len(data), hashlib.sha256(data).digest()), _bytes_from(data, message.offset)
        path, digest = self._owner.package(user, message.federation, message.digest, resumed=message.offset > 0)
        size, file = path.stat().st_size, path.open("rb")
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
            data += await _next_chunk(channel, header.size - len(data))
    if hashlib.sha256(data).digest() != header.sha256:
        raise IntegrityError("what was received does not have the hash that was promised")
    return data


async def fetch_file(
    streams: Streams, peer: str, message: FetchRequest, growing: Partial, room: Room, deadline: float,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Download a package into ``growing``, going on where it stands; the caller checks what came.

    ``room(size, done)`` blocks, and raises if there is none for a package of so many bytes. Where the owner promises
    other bytes than those that are here, it begins anew.
    """
    try:
        await _fetch_on(streams, peer, message, growing, room, deadline, progress)
    except _OtherBytes:
        await trio.to_thread.run_sync(growing.discard)
        await _fetch_on(streams, peer, message, growing, room, deadline, progress)


async def _fetch_on(
    streams: Streams, peer: str, message: FetchRequest, growing: Partial, room: Room, deadline: float,
    progress: Progress | None,
) -> None:  # fmt: skip
    done = await trio.to_thread.run_sync(lambda: growing.size)
    async with streams.open(peer, PROTOCOL, deadline=deadline) as channel:
        asked = msgspec.structs.replace(message, offset=done)
        header = await request(channel, asked, FetchHeader, limit=limits.CONTROL_FRAME)
        if not 0 < header.size <= limits.PACKAGE or len(header.sha256) != hashlib.sha256().digest_size:
            raise ProtocolViolation(f"a package of {header.size} bytes, where at most {limits.PACKAGE} are allowed")
        if done and (header.sha256 != growing.promised or done > header.size):
            raise _OtherBytes("other bytes than those that are here")
        await trio.to_thread.run_sync(room, header.size, done)
        path = await trio.to_thread.run_sync(growing.begin, header.sha256)
        # Unbuffered: what was written is there, however this node ends.
        with _quick(peer) as came, path.open("ab", buffering=0) as file:
            while done < header.size:
                piece = await _next_piece(channel, header.size - done)
                done += len(piece)
                came(len(piece))
                await trio.to_thread.run_sync(_write, file, piece, partial(room, header.size, done))
                if progress:
                    progress(done, header.size)


@contextmanager
def _quick(peer: str) -> Iterator[Callable[[int], None]]:
    """PeerTimeout where what comes within the block comes too slowly; it is told of every piece."""
    began = trio.current_time()
    received = 0

    def came(count: int) -> None:
        nonlocal received
        received += count
        scope.deadline = began + min(LONGEST, GRACE + received / LEAST_RATE)

    with trio.CancelScope(deadline=began + GRACE) as scope:
        yield came
    if scope.cancelled_caught:
        raise PeerTimeout(
            f"{peer} sends too slowly: {received} bytes in {trio.current_time() - began:.0f} s",
            hint="the next try goes on from there",
        )


def _write(file: RawIOBase, piece: bytes, room: Callable[[], None]) -> None:
    room()
    file.write(piece)


async def _next_piece(channel: Channel, left: int) -> bytes:
    """About a megabyte, for which a thread is worth its while; less where the stream ends before, or is slow."""
    piece, late = bytearray(), trio.current_time() + SOON
    while len(piece) < min(PIECE, left) and not (piece and trio.current_time() > late):
        try:
            piece += await _next_chunk(channel, left - len(piece))
        except ChannelClosed:
            if piece:
                break
            raise
    return bytes(piece)


class _OtherBytes(AtollError):
    """The package is not the one whose beginning is here."""


async def _next_chunk(channel: Channel, left: int) -> bytes:
    """ProtocolViolation where an owner sends chunks that lead nowhere, or beyond the end."""
    chunk = await channel.receive(limits.FETCH_CHUNK)
    if not 0 < len(chunk) <= left:
        raise ProtocolViolation(f"a chunk of {len(chunk)} bytes where {left} were left")
    return chunk
