"""Sketches: fixed-length int8 vectors whose squared distance estimates MMD^2; these are what is gossiped.

Orthogonal random Fourier features (Yu et al. 2016) in blocks of 256 frequencies. The frequencies come from the
island id through SHAKE-256 and Box-Muller in float64, so that any language derives the same ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from atoll.engine.errors import DimensionMismatch
from atoll.engine.islands import Island
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

FREQUENCIES = 256
BLOCK = 2 * FREQUENCIES
SCALE = 1.0 / (16 * 127)  # |s| <= 256^(-1/2) = 1/16, so one fixed scale fills int8
DOMAIN = b"atoll/sketch/1\0"


@dataclass(frozen=True, eq=False)
class Sketch:
    """``values`` int8 (512 * blocks,), decoded by ``scale``; ``norm2`` is the exact <P, P> of the RKME.

    ``sigma`` is the standard deviation of the noise of a sketch under differential privacy, else 0.
    """

    values: NDArray[np.int8]
    norm2: float
    scale: float = SCALE
    sigma: float = 0.0

    @property
    def bias(self) -> float:
        """What the noise adds to squared distances on average: D sigma^2, to be taken off."""
        return BLOCK * self.sigma * self.sigma

    def floats(self) -> NDArray[np.float32]:
        """float32 (512 * blocks,) / sqrt(blocks): plain inner products then estimate <P, Q>."""
        return decode(self.values, self.scale)


def sketch(rkme: Rkme, island: Island, blocks: int = 1) -> Sketch:
    """The sketch of an RKME in its island; DimensionMismatch if it is not of that island."""
    if not rkme.comparable(island):
        raise DimensionMismatch(f"the RKME ({rkme.dimension} dimensions, gamma {rkme.gamma:g}) is not of this island")
    mean = rkme.weights.astype(np.float64) @ features(rkme.points, island, blocks)
    quantised = np.clip(np.rint(mean / SCALE), -127, 127).astype(np.int8)
    return Sketch(quantised, rkme.norm2)


def agrees(sketch: Sketch, rkme: Rkme, island: Island, chosen: NDArray[np.int64]) -> bool:
    """Whether a sketch of one block is that of the RKME at the ``chosen`` of its 256 frequencies: whoever does not know
    which they are cannot make another that is. The last digit may differ by machine; without noise only."""
    angles = rkme.points @ frequencies(island.digest, island.dimension, island.gamma, 0)[chosen].T.astype(np.float32)
    mean = rkme.weights @ np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(FREQUENCIES)
    listed = sketch.values[np.concatenate([chosen, chosen + FREQUENCIES])]
    return bool((np.abs(np.clip(np.rint(mean / SCALE), -127, 127) - listed) <= 1).all())


def features(rows: NDArray[np.floating], island: Island, blocks: int = 1) -> NDArray[np.float64]:
    """Random Fourier features of ``rows`` (n, d) in island units: float64 (n, 512 * blocks)."""
    parts = []
    for block in range(blocks):
        angles = np.asarray(rows, np.float64) @ frequencies(island.digest, island.dimension, island.gamma, block).T
        parts += [np.cos(angles), np.sin(angles)]
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(FREQUENCIES))


def decode(values: NDArray[np.int8], scale: float = SCALE) -> NDArray[np.float32]:
    """int8 (..., 512 * blocks) to float32, so that squared distances estimate MMD^2 whatever the block count."""
    blocks = values.shape[-1] // BLOCK
    return (values.astype(np.float32) * np.float32(scale / np.sqrt(blocks))).astype(np.float32)


@lru_cache(maxsize=64)
def frequencies(island_digest: bytes, dimension: int, gamma: float, block: int) -> NDArray[np.float64]:
    """W (256, d): orthogonal directions (QR with diag(R) > 0), chi_d norms, scaled by sqrt(2 gamma)."""
    stream = Normals(DOMAIN + island_digest + block.to_bytes(4, "big"))
    group = min(dimension, FREQUENCIES)
    rows: list[NDArray[np.float64]] = []
    while sum(map(len, rows)) < FREQUENCIES:
        q, r = np.linalg.qr(stream.draw(dimension * group).reshape(dimension, group))
        directions = (q * np.sign(np.diag(r))).T
        norms = np.sqrt((stream.draw(group * dimension).reshape(group, dimension) ** 2).sum(1))
        rows.append(directions * norms[:, None])
    basis = np.concatenate(rows)[:FREQUENCIES] * np.sqrt(2.0 * gamma)
    basis.setflags(write=False)
    return np.asarray(basis)


class Normals:
    """Standard normals from SHAKE-256(seed || counter) by Box-Muller, in float64."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0

    def draw(self, count: int) -> NDArray[np.float64]:
        pairs = (count + 1) // 2
        raw = hashlib.shake_256(self._seed + self._counter.to_bytes(4, "big")).digest(16 * pairs)
        self._counter += 1
        uniform = ((np.frombuffer(raw, ">u8") >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(uniform[:pairs]))
        angle = 2.0 * np.pi * uniform[pairs:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
