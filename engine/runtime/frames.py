"""Frames between the node and a model process: 4-byte length, then one tagged msgpack message. Never pickle."""

from __future__ import annotations

from typing import Annotated

import msgspec
from atoll.engine.encoding import Array, pack, unpack
from atoll.engine.runtime.signature import Limits, Signature

MAX_FRAME = 64 << 20
HEADER = 4


class Frame(msgspec.Struct, frozen=True, tag=True):
    """Base of the messages."""


class Load(Frame, frozen=True, tag=True):
    """Load the ONNX file at ``path``."""

    path: str
    signature: Signature
    limits: Limits


class Loaded(Frame, frozen=True, tag=True):
    """Ready; ``isolation`` names what really holds the process."""

    isolation: tuple[str, ...]


class Predict(Frame, frozen=True, tag=True):
    rows: Array


class Prediction(Frame, frozen=True, tag=True):
    values: Array


class Failure(Frame, frozen=True, tag=True):
    """``code`` is ``model.refused`` or ``model.failed``; the words are data."""

    code: Annotated[str, msgspec.Meta(max_length=40)]
    message: Annotated[str, msgspec.Meta(max_length=500)]


ToModel = Load | Predict
FromModel = Loaded | Prediction | Failure


def encode(frame: Frame) -> bytes:
    body = pack(frame)
    return len(body).to_bytes(HEADER, "big") + body


def decode_to_model(body: bytes) -> ToModel:
    return unpack(body, ToModel, limit=MAX_FRAME)  # type: ignore[arg-type]


def decode_from_model(body: bytes) -> FromModel:
    return unpack(body, FromModel, limit=MAX_FRAME)  # type: ignore[arg-type]


def printable(text: str, limit: int = 500) -> str:
    """Foreign text without control characters, cut to ``limit``."""
    return "".join(c if c.isprintable() else " " for c in text)[:limit]
