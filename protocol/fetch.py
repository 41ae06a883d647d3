"""``/atoll/fetch/1``: islands and packages by hash, from an offset, in 64 KB chunks."""

from __future__ import annotations

from typing import Literal

from atoll.protocol.messages import Message

PROTOCOL = "/atoll/fetch/1"


class FetchRequest(Message, frozen=True):
    """``digest`` is an island id, or the revision of a learnware whose package is asked for."""

    federation: bytes
    kind: Literal["island", "package"]
    digest: bytes
    offset: int = 0
    user: str = ""


class FetchHeader(Message, frozen=True):
    """Size and SHA-256 of the whole; chunks from the offset follow as raw frames until it is complete."""

    size: int
    sha256: bytes
