"""Images as vectors: their low frequencies, whitened and compressed, in closed form; nothing is fitted on any image.

Row i depends on image i alone. MMD^2 ranks 40 models by true loss at Spearman .48, .45, .55 (fashion with shifted
images, without, digits with). PCA of other images' pixels .44, .44, .51, of the very images, which no federation can
pool, .45, .54, .47, random convolutions (NNGP) .38, .28, .48: examples/benchmarks/images.py, three seeds.
It sees layout, contrast and colour, not fine texture or meaning. 1000 images take some 0.02 s.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from atoll.engine.errors import NotFinite, SpecificationError
from atoll.engine.islands import Encoder
from numpy.typing import NDArray

SIDE = 32  # every image is seen at this size
LUMINANCE = 8  # frequencies a side of the mean of the channels
CHROMINANCE = 4  # frequencies a side of each of the two colour differences
DIMENSION = LUMINANCE**2 + 2 * CHROMINANCE**2
GAMMA = 2.0 / DIMENSION  # vectors have a mean square of about 1; <P, P> of one class is then 0.1 to 0.2
OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.0, -0.5), (-0.25, 0.5, -0.25))
POWER = 2.0  # coefficients of images fall as 1/f; more than evened out, for outlines tell more than brightness
FLOOR = 5.0  # the length that noise of 0.01 in [0, 1] has, real images 50 to 300: what is flat fades to zero
KNEE = 0.3  # linear below, square root above: no single coefficient owns the distance
TINY = 1e-12
SMALLEST = 8
BATCH_VALUES = 2**21  # 16 MB at a time
ACCEPTED = "(n, H, W), (n, H, W, C) or (n, C, H, W) with C = 1 or 3, H and W at least 8"

DEFINITION = f"""atoll/image-encoder/1
x: values in [0, 1], one channel repeated to three; side {SIDE}: triangle filter, support max(1, size / {SIDE}),
centres (i + 1/2) size / {SIDE} - 1/2, rows normalised; then minus 1/2
orthonormal DCT-II of both axes, vertical frequency i, horizontal j; channels mixed by {OPPONENT!r}
i, j < {LUMINANCE} of the first, i, j < {CHROMINANCE} of the second and third, in this order, j fastest
c = coefficient (1 + sqrt(i^2 + j^2))^{POWER}
u = sqrt({DIMENSION}) c / |c|; v = u / (u^2 + {KNEE}^2)^(1/4)
y = sqrt({DIMENSION}) v / |v| |c| / sqrt(|c|^2 + {FLOOR}^2); 0 where c is
"""
ENCODER = Encoder("low-frequencies", "1", hashlib.sha256(DEFINITION.encode()).digest())


def encode(images: Any, progress: Callable[[int, int], None] | None = None) -> NDArray[np.float32]:
    """Vectors float32 (n, 96), row i for image i.

    ``images`` are uint8 in 0..255 or floats in [0, 1], of shape (n, H, W), (n, H, W, C) or (n, C, H, W), with C 1 or 3
    and sides of at least 8. ``progress`` is told (images done, images in all) after each batch.
    Raises NotFinite on NaN or inf, SpecificationError on any other value, type or shape.
    """
    stack = _channels_first(np.asarray(images))
    _check_values(stack)
    n, channels, height, width = stack.shape
    vectors = np.empty((n, DIMENSION), dtype=np.float32)
    batch = max(1, BATCH_VALUES // (channels * height * width))
    for start in range(0, n, batch):
        part = np.ascontiguousarray(stack[start : start + batch], dtype=np.float64)
        if stack.dtype == np.uint8:
            part /= 255.0
        vectors[start : start + len(part)] = _compressed(_coefficients(part))
        if progress is not None:
            progress(start + len(part), n)
    return vectors


def _channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """A view (n, C, H, W) of any accepted shape."""
    if images.ndim == 3:
        stack = images[:, None]
    elif images.ndim == 4:
        first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
        if first and last:
            raise SpecificationError(f"the channels of shape {images.shape} could be axis 1 or 3", hint=_accepts())
        if not first and not last:
            raise SpecificationError(f"no axis of shape {images.shape} holds 1 or 3 channels", hint=_accepts())
        stack = images if first else np.moveaxis(images, 3, 1)
    else:
        raise SpecificationError(f"shape {images.shape} is no stack of images", hint=_accepts())
    if min(stack.shape[2:]) < SMALLEST:
        raise SpecificationError(f"images of {stack.shape[2]} x {stack.shape[3]} pixels are too small", hint=_accepts())
    return stack


def _accepts() -> str:
    return f"pass an array of shape {ACCEPTED}; a single image as images[None]"


def _check_values(stack: NDArray[Any]) -> None:
    if stack.dtype == np.uint8 or stack.size == 0:
        return
    if not np.issubdtype(stack.dtype, np.floating):
        raise SpecificationError(
            f"images of type {stack.dtype} have no known range", hint="pass uint8 in 0..255 or floats in [0, 1]"
        )
    low, high = float(stack.min()), float(stack.max())  # NaN anywhere makes both NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = next(place for place, image in enumerate(stack) if not np.isfinite(image).all())
        raise NotFinite(f"image {bad} holds NaN or infinite values", hint="repair or leave out such images")
    if low < 0 or high > 1:
        raise SpecificationError(
            f"float images must lie in [0, 1], these span {low:g} to {high:g}",
            hint="divide by 255, or shift and scale by the range of your own data's format",
        )


def _coefficients(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whitened DCT coefficients (n, 96) of values in [0, 1] of shape (n, C, H, W)."""
    n, channels, height, width = part.shape
    rows = (part.reshape(-1, width) @ _transform(width).T).reshape(n, channels, height, LUMINANCE)
    planes = np.broadcast_to(_transform(height) @ rows, (n, 3, LUMINANCE, LUMINANCE))
    mixed = np.einsum("kc,ncij->nkij", np.array(OPPONENT), planes)
    mixed[:, 0, 0, 0] -= SIDE / 2  # the coefficient of 1/2 everywhere
    colours = mixed[:, 1:, :CHROMINANCE, :CHROMINANCE].reshape(n, -1)
    return np.concatenate([mixed[:, 0].reshape(n, -1), colours], axis=1) * _weights()


def _compressed(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The square root of each coefficient, relative to the others; of length sqrt(96), less where all are small."""
    length = np.linalg.norm(coefficients, axis=1, keepdims=True)
    even = coefficients * (np.sqrt(DIMENSION) / np.maximum(length, TINY))
    roots = even / (even**2 + KNEE**2) ** 0.25
    wanted = np.sqrt(DIMENSION) * length / np.hypot(length, FLOOR)
    return np.asarray(roots * (wanted / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), TINY)))


@lru_cache(maxsize=64)
def _transform(size: int) -> NDArray[np.float64]:
    """Resizing from ``size`` to 32 pixels and the first 8 rows of the DCT, as one matrix (8, size)."""
    scale = size / SIDE
    centres = (np.arange(SIDE) + 0.5) * scale - 0.5
    distances = np.abs(np.arange(size)[None, :] - centres[:, None])
    resize = np.maximum(0.0, 1.0 - distances / max(1.0, scale))
    resize /= resize.sum(1, keepdims=True)
    frequency, pixel = np.arange(LUMINANCE)[:, None], np.arange(SIDE)[None, :] + 0.5
    cosines = np.cos(np.pi / SIDE * frequency * pixel) * np.sqrt(2 / SIDE)
    cosines[0] /= np.sqrt(2)
    return np.asarray(cosines @ resize)


@lru_cache(maxsize=1)
def _weights() -> NDArray[np.float64]:
    def square(side: int) -> NDArray[np.float64]:
        place = np.arange(side)
        return np.asarray((1.0 + np.hypot(place[:, None], place[None, :])).ravel() ** POWER)

    return np.concatenate([square(LUMINANCE), square(CHROMINANCE), square(CHROMINANCE)])
