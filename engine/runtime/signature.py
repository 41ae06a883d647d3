"""What a model takes and gives, and what it may use."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Signature(msgspec.Struct, frozen=True):
    """``inputs`` columns in, float32; ``outputs`` class probabilities or target values out, float32."""

    task: Literal["classification", "regression"]
    inputs: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    outputs: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Limits(msgspec.Struct, frozen=True):
    """Limits of one model process. ``memory_bytes`` bounds private memory beyond what the runtime itself takes."""

    load_seconds: float = 30.0
    call_seconds: float = 5.0
    memory_bytes: int = 1 << 30
    frame_bytes: int = 64 << 20
    threads: int = 1
