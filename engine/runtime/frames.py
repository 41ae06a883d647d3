"""Frames between the node and a model worker: 4-byte length, then one tagged msgpack message. Never pickle.

A worker's answer carries the random number of its request, so that an answer given early or twice is told apart.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from atoll.engine.encoding import Array, pack, unpack
from atoll.engine.runtime.signature import Signature

MAX_FRAME = 64 << 20
MAX_ORDER = 64 << 10
HEADER = 4


class Frame(msgspec.Struct, frozen=True, tag=True):
    """Base of the messages."""


class Order(Frame, frozen=True, tag=True):
    """To a warm parent: fork a worker for a model in this format, held by at least the layers of ``required``.

    ``private_bytes`` and ``address_bytes`` are whole limits of the process, the runtime's own memory included.
    ``folder`` is the working directory: of a learnware that is more than one file, or "".
    """

    format: str
    signature: Signature
    threads: int
    more_threads: bool
    processes: int
    private_bytes: int
    address_bytes: int
    call_seconds: float
    required: tuple[str, ...]
    folder: str = ""


class Ready(Frame, frozen=True, tag=True):
    """From a warm parent: all is imported."""


class Loaded(Frame, frozen=True, tag=True):
    """The model is loaded; ``isolation`` names what really holds the process."""

    isolation: tuple[str, ...]


class Predict(Frame, frozen=True, tag=True):
    number: int
    rows: Array


class Prediction(Frame, frozen=True, tag=True):
    number: int
    values: Array


class Failure(Frame, frozen=True, tag=True):
    """``code`` is one of engine/errors.py; the words are data. ``number`` is 0 while loading."""

    number: int
    code: Annotated[str, msgspec.Meta(max_length=40)]
    message: Annotated[str, msgspec.Meta(max_length=500)]


FromModel = Loaded | Prediction | Failure
FromParent = Ready | Failure


def body_of(frame: Frame) -> bytes:
    """Without its length: for sockets that keep messages apart."""
    return pack(frame)


def encode(frame: Frame) -> bytes:
    body = body_of(frame)
    return len(body).to_bytes(HEADER, "big") + body


def decode_order(body: bytes) -> Order:
    return unpack(body, Order, limit=MAX_ORDER)


def decode_from_parent(body: bytes) -> FromParent:
    return unpack(body, FromParent, limit=MAX_ORDER)  # type: ignore[arg-type]


def decode_to_model(body: bytes) -> Predict:
    return unpack(body, Predict, limit=MAX_FRAME)


def decode_from_model(body: bytes) -> FromModel:
    return unpack(body, FromModel, limit=MAX_FRAME)  # type: ignore[arg-type]


def printable(text: str, limit: int = 500) -> str:
    """Foreign text without control characters, cut to ``limit``."""
    return "".join(c if c.isprintable() else " " for c in text)[:limit]
