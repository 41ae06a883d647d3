"""Islands of what Beimingwu made: tables in raw units under one fixed kernel, images and texts under its encoders.

All table specifications of one width and gamma share an island, whoever made them: they say nothing of their columns.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

from atoll.engine.errors import SpecificationError
from atoll.engine.islands import MAX_DEFINITION, MAX_DIMENSION, Encoder, Feature, Island, positional_names

GAMMA = 0.1  # Beimingwu's default
TEXT_ENCODER = "paraphrase-multilingual-MiniLM-L12-v2"
TEXT_DIMENSION = 384
IMAGE, TEXT = "beimingwu-image", "beimingwu-text"  # names of encoders


def table_island(dimension: int, gamma: float = GAMMA) -> Island:
    """The island of table specifications of ``dimension`` nameless raw columns."""
    return named_island(positional_names(dimension), gamma)


def named_island(names: Sequence[str], gamma: float = GAMMA) -> Island:
    """An island of raw columns with these names, which it sorts; SpecificationError for more than its definition may
    hold, some 1200."""
    island = Island("table", len(names), gamma, tuple(Feature(name, transform="raw") for name in sorted(names)))
    if len(island.definition) > MAX_DEFINITION:
        raise SpecificationError(
            f"a table of {len(names)} columns: their names take {len(island.definition)} bytes, at most "
            f"{MAX_DEFINITION} are taken"
        )
    return island


def image_island(shape: Sequence[int], n_models: int, model_config: dict[str, object]) -> Island:
    """The island of image specifications of points (channels, height, width). Nobody can encode into it: they are
    whitened by a basis that is not shipped with them."""
    dimension = math.prod(shape)
    if len(shape) != 3 or not 1 <= dimension <= MAX_DIMENSION:
        raise SpecificationError(f"images of {'x'.join(map(str, shape))}, at most {MAX_DIMENSION} numbers are taken")
    facts = {"shape": list(shape), "n_models": n_models, "model_config": model_config}
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    return Island("image", dimension, 1.0 / dimension, (), Encoder(IMAGE, "1", hashlib.sha256(canonical).digest()))


def text_island(gamma: float = GAMMA) -> Island:
    """The island of text specifications: embeddings of the sentence encoder that Beimingwu uses."""
    digest = hashlib.sha256(TEXT_ENCODER.encode()).digest()
    return Island("text", TEXT_DIMENSION, gamma, (), Encoder(TEXT, "1", digest))
