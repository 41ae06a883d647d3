"""How much one token, or one address without one, may ask over HTTP: requests, streams, wrong tokens."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from atoll.node.api.routing import ABOUT
from atoll.node.api.visitors import address, require
from atoll.node.config import HttpSection
from atoll.node.errors import TooOften
from atoll.node.p2p.buckets import Buckets
from atoll.node.store.tokens import TokenRow

WRONG_TOKENS = (1.0, 30.0)  # a second and at once, from one address
STREAM_SECONDS = 5.0  # after which one of many streams may have ended
PROBES = ("/healthz", "/readyz")


class Limits:
    """Lives in the asyncio loop. ``limited(kind)`` is told of every refusal: request, token or stream."""

    def __init__(self, config: HttpSection, limited: Callable[[str], None]) -> None:
        self._rate = config.requests_per_second
        self._most = config.streams
        self._limited = limited
        self._requests = Buckets(config.requests_per_second, config.burst)
        self._wrong = Buckets(*WRONG_TOKENS)
        self._streams: Counter[str] = Counter()

    def count(self, request: web.Request, token: TokenRow | None) -> None:
        """One more request of a token, or of an address; TooOften beyond the rate. Who asks whether the node lives is
        not counted."""
        if request.path in PROBES:
            return
        about = request[ABOUT]
        about.token = token.id if token is not None else ""
        about.caller = f"token {token.id}" if token is not None else f"address {address(request)}"
        whose = "of your token" if token is not None else "from your address"
        self._require(
            self._requests, about.caller, "request", f"requests {whose}, which may send {self._rate:g} a second"
        )

    def wrong_token(self, request: web.Request) -> None:
        """One more token that is none; TooOften beyond the rate."""
        self._require(self._wrong, address(request), "token", "wrong tokens from your address")

    @contextmanager
    def stream(self, request: web.Request) -> Iterator[None]:
        """Within the block an answer is followed as it comes; TooOften if the caller follows as many as it may."""
        caller = request[ABOUT].caller
        if self._streams[caller] >= self._most:
            self._limited("stream")
            raise TooOften(
                f"you follow {self._most} answers already", hint="end one of them", retry_after=STREAM_SECONDS
            )
        self._streams[caller] += 1
        try:
            yield
        finally:
            self._streams[caller] -= 1
            if not self._streams[caller]:
                del self._streams[caller]

    def _require(self, buckets: Buckets, key: str, kind: str, what: str) -> None:
        try:
            require(buckets, key, time.monotonic(), what, "wait")
        except TooOften:
            self._limited(kind)
            raise
