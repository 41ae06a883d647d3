"""What a model takes and gives, and what it may use."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from atoll.engine.errors import ModelRefused

WITH_TORCH = ("torch", "beimingwu")  # families whose models may load it


class Signature(msgspec.Struct, frozen=True):
    """``inputs`` columns in, float32; ``outputs`` class probabilities or target values out, float32."""

    task: Literal["classification", "regression"]
    inputs: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    outputs: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Limits(msgspec.Struct, frozen=True):
    """What models may use. Memory is private memory beyond what the runtime itself takes, per worker.

    ``processes`` bounds threads (a worker may not start processes at all), ``queue`` the calls that wait for a worker.
    """

    load_seconds: float = 30.0
    call_seconds: float = 5.0
    memory_bytes: int = 1 << 30
    torch_memory_bytes: int = 4 << 30
    file_bytes: int = 64 << 20
    frame_bytes: int = 64 << 20
    processes: int = 32
    threads: int = 1
    workers_per_core: int = 2
    queue: int = 32

    def require_file(self, size: int) -> None:
        """ModelRefused for a model file of more bytes than are run."""
        if size > self.file_bytes:
            raise ModelRefused(
                f"the model has {size} bytes, at most {self.file_bytes} are run",
                hint="its owner can set sandbox.model_bytes in atoll.toml",
            )

    def memory(self, family: str) -> int:
        return self.torch_memory_bytes if family in WITH_TORCH else self.memory_bytes
