"""Rows that a specification speaks of, made of nothing but the specification and its island: for trying models out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.packages.manifest import Manifest
from atoll.engine.specs.noised import Specification
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

SPREAD = 0.25  # length of the step away from a point, in kernel widths (2 gamma)^(-1/2)
SAMPLES = 400
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Samples:
    """``rows`` float32 (n, inputs) as the model takes them; ``units`` float64 (n, d) the same in island units, or None
    where there is no way back from them; ``words`` say where the rows come from."""

    rows: NDArray[np.float32]
    units: NDArray[np.float64] | None
    words: str


def draw(manifest: Manifest, specification: Specification, island: Island, seed: int) -> Samples:
    """Points of the RKME with noise of a quarter of the kernel's width; under differential privacy, where there are no
    points, rows of the island's location and scale; for images and texts, standard normal numbers."""
    random = np.random.default_rng(seed)
    if island.kind != "table":
        rows = random.standard_normal((SAMPLES, manifest.signature.inputs)).astype(np.float32)
        return Samples(rows, None, f"{SAMPLES} random rows: what an encoder made cannot be turned back into inputs")
    if isinstance(specification, Rkme):
        units = near_points(specification, island, SAMPLES, random)
        words = f"{SAMPLES} rows near the {len(specification.weights)} points of the specification"
    else:
        units = np.asarray(island.clipped(random.standard_normal((SAMPLES, island.dimension))), np.float64)
        words = f"{SAMPLES} rows of the island's location and scale: a noised sketch has no points"
    return Samples(in_columns(units, island, manifest.columns), units, words)


def near_points(rkme: Rkme, island: Island, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """``count`` rows (count, d) in the units of ``island``, from points chosen by their weight."""
    weights = rkme.weights.astype(np.float64)
    homes = random.choice(len(weights), count, p=weights / weights.sum())
    step = SPREAD / np.sqrt(2.0 * rkme.gamma * rkme.dimension)
    rows = rkme.points[homes] + step * random.standard_normal((count, rkme.dimension))
    return np.asarray(island.clipped(rows), np.float64)


def in_columns(units: NDArray[np.floating], island: Island, columns: tuple[str, ...]) -> NDArray[np.float32]:
    """Island units (n, d) as the raw rows float32 (n, d) that a model with these ``columns`` takes."""
    raw = island.restore(units)[:, island.places(columns)]
    return np.clip(raw, -LARGEST, LARGEST).astype(np.float32)
