"""Fixed maps from images and texts to vectors; an island names the one it was made with by the hash of its weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

from atoll.engine.errors import IslandError
from atoll.engine.islands import Island
from numpy.typing import NDArray

MODULES = {"image": "atoll.engine.encoders.images", "text": "atoll.engine.encoders.texts"}
ELSEWHERE = {  # encoders of what was brought here, by name: why nothing can be encoded with them
    "beimingwu-image": "its points are whitened by a basis that is not shipped with them",
    "beimingwu-text": "its sentence encoder, paraphrase-multilingual-MiniLM-L12-v2, is no part of Atoll",
}
Progress = Callable[[int, int], None]


def island_of(kind: Literal["image", "text"]) -> Island:
    """The island of images or texts under this version's encoder; everybody who has the version has the same one."""
    module = import_module(MODULES[kind])
    return Island(kind, module.DIMENSION, module.GAMMA, (), module.ENCODER)


def encode(island: Island, rows: Any, progress: Progress | None = None) -> NDArray[Any]:
    """Images or texts as vectors float32 (n, d) in the units of ``island``; IslandError if it has another encoder."""
    if island.kind == "table":
        raise IslandError("rows of a table need no encoder", hint="use island.transform")
    module = import_module(MODULES[island.kind])
    if island.encoder != module.ENCODER:
        name = island.encoder.name if island.encoder else "none"
        if name in ELSEWHERE:
            raise IslandError(
                f"nothing can be encoded into an island of Beimingwu's {island.kind}s here: {ELSEWHERE[name]}",
                hint="search it with a specification that Beimingwu's own package has made",
            )
        raise IslandError(
            f"the island was made with the encoder {name!r}, this version of Atoll has {module.ENCODER.name!r}"
        )
    vectors: NDArray[Any] = module.encode(rows, progress)
    return vectors
