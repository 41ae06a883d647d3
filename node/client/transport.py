"""The way to a node over HTTP: one session, JSON both ways, problems as errors."""

from __future__ import annotations

import asyncio
import io
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Self, TypeVar

import aiohttp
import msgspec
from atoll.engine.errors import AtollError
from atoll.node.api.problems import Problem
from atoll.node.api.uploading import UploadView
from atoll.node.client.endpoint import certificate_of, url_of
from atoll.node.config import default_home
from atoll.node.errors import ConfigError, NodeUnreachable, RequestInvalid
from atoll.node.store.backup_file import Progress

T = TypeVar("T")
PIECE = 8 << 20  # bytes of an upload in one request
AT_ONCE = 1 << 20  # bytes of a body; a longer one is sent in pieces
TIMEOUT = aiohttp.ClientTimeout(total=120, connect=5)
PATIENT = aiohttp.ClientTimeout(connect=5, sock_read=1800)  # for what takes a node long: a pass over a million rows


class RemoteError(AtollError):
    """A problem that the node reported, with its code."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title, hint=problem.hint)
        self.code = problem.code
        self.status = problem.status


class Transport:
    """``async with``; every method raises RemoteError or NodeUnreachable.

    Without a ``url`` it is the node of ``$ATOLL_URL``, else that of this machine's home, with ``$ATOLL_TOKEN``. Over
    https a node is known by ``certificate`` (SHA-256, hex), which that of this machine's home has written down; any
    other by the authorities in the file ``$ATOLL_CA``, or by those that this machine trusts.
    """

    def __init__(self, url: str | None = None, token: str | None = None, certificate: str = "") -> None:
        if url is None:
            url = os.environ.get("ATOLL_URL") or url_of(default_home())
            token = token or os.environ.get("ATOLL_TOKEN")
        self._url = url.rstrip("/")
        self._trust = _trusted(certificate or certificate_of(default_home(), self._url))
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    @property
    def url(self) -> str:
        """Where the node is."""
        return self._url

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._trust)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=TIMEOUT, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def _json(
        self, method: str, path: str, type_: type[T], *, body: object = None, data: bytes | None = None,
        params: dict[str, str] | None = None, timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> T:  # fmt: skip
        payload = msgspec.json.encode(body) if body is not None else data
        answer = await self._call(method, path, payload, params, timeout)
        try:
            return msgspec.json.decode(answer, type=type_)
        except msgspec.DecodeError as error:
            raise NodeUnreachable(f"{self._url} did not answer as an Atoll node: {error}") from None

    async def _send_file(self, path: str, file: IO[bytes], size: int, progress: Progress) -> None:
        """Upload a file in pieces, going on where an upload of the same has broken off."""
        received = (await self._json("GET", path, UploadView)).received
        while received < size:
            file.seek(received)
            piece = await asyncio.to_thread(file.read, PIECE)
            offset = {"offset": str(received)}
            received = (await self._json("PUT", path, UploadView, data=piece, params=offset)).received
            progress(received, size)

    async def _call(
        self, method: str, path: str, data: bytes | None = None, params: dict[str, str] | None = None,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> bytes:  # fmt: skip
        url = f"{self._url}/api/v1/{path}"
        body = io.BytesIO(data) if data is not None and len(data) > AT_ONCE else data
        with self._reaching():
            async with self._session.request(method, url, data=body, params=params, timeout=timeout) as response:
                answer = await response.read()
        if response.status >= 400:
            raise RemoteError(problem(answer, response.status))
        return answer

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch) as error:
            raise NodeUnreachable(
                f"{self._url} has a certificate that is not trusted here: {error}",
                hint="is it the node that you mean? Its authority's certificate goes into the file $ATOLL_CA",
            ) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NodeUnreachable(
                f"no node answers at {self._url}: {_why(error)}", hint="is `atoll serve` running?"
            ) from None
        except ValueError as error:
            raise RequestInvalid(f"{self._url} is not a URL: {error}") from None


def _trusted(certificate: str) -> ssl.SSLContext | aiohttp.Fingerprint | bool:
    """By what a node is known over https."""
    if certificate:
        return aiohttp.Fingerprint(bytes.fromhex(certificate))
    authorities = os.environ.get("ATOLL_CA")
    if not authorities:
        return True
    try:
        return ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"$ATOLL_CA: {authorities} holds no certificates that can be read: {error.strerror or error}",
            hint="it is a file of one or more authorities in PEM",
        ) from None


def problem(answer: bytes, status: int) -> Problem:
    try:
        return msgspec.json.decode(answer, type=Problem)
    except msgspec.DecodeError:
        return Problem("internal", f"the node answered with status {status}", status)


def _why(error: aiohttp.ClientError | TimeoutError) -> str:
    """What the system says, where it says anything."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno).lower()
    return str(error) or type(error).__name__
