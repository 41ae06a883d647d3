"""The codec of the stream protocols: one tagged struct a message, one frame each way, refusals as data."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import AtollError, EncodingError
from atoll.protocol.errors import ProtocolError

M = TypeVar("M", bound="Message")


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=True):
    """Base of every message: encoded as a map with its class name under ``type``."""


class Refusal(Message, frozen=True, tag=True):
    """A polite no, with the stable code of the error behind it."""

    code: str
    message: str

    @classmethod
    def of(cls, error: AtollError) -> Refusal:
        return cls(error.code, error.message[:500])


class PeerRefused(ProtocolError):
    """A peer answered with a refusal; its code and words are data, shown but never trusted."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("".join(c if c.isprintable() else "?" for c in refusal.message[:500]))
        self.code = refusal.code if len(refusal.code) <= 40 and refusal.code.isascii() else "protocol.invalid"


def encode(message: Message) -> bytes:
    return pack(message)


def decode(data: bytes, type_: Any, *, limit: int) -> Any:
    """``type_`` is a Message class or a union of them; ProtocolError on anything else."""
    try:
        return unpack(data, type_, limit=limit)
    except EncodingError as error:
        raise ProtocolError(f"malformed message: {error.message}") from None


def expect(data: bytes, type_: type[M], *, limit: int) -> M:
    """The answer of ``type_``, or PeerRefused if the peer said no."""
    answer = decode(data, type_ | Refusal, limit=limit)
    if isinstance(answer, Refusal):
        raise PeerRefused(answer)
    return answer  # type: ignore[no-any-return]


def topic(federation: bytes) -> str:
    """The gossip topic of a federation: a hash, so that subscribing does not tell its id."""
    return f"atoll/1/{hashlib.sha256(b'atoll/topic/1' + federation).hexdigest()}/catalogue"
