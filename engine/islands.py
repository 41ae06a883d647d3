"""Specification islands: what makes two RKMEs comparable, content-addressed.

Everything that affects comparability (features, transforms, encoder, kernel, sketch basis) is inside the hash;
free text is outside. Location and scale belong to the island, so a shift between institutions stays visible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import EncodingError, FeatureMismatch, IslandError
from atoll.engine.tables import Table
from numpy.typing import NDArray

DOMAIN = b"atoll/island/1\0"
MAX_DEFINITION = 64 * 1024
MAX_DIMENSION = 4096
HUGE = 1e307  # beyond, differences overflow
CLIP = 6.0  # transformed values are cut here: one outlier must not own the kernel


class Feature(msgspec.Struct, frozen=True):
    """One column and how it enters island units: transform, then (value - loc) / scale. ``raw`` columns enter as they
    are: loc 0, scale 1, and never clipped."""

    name: str
    unit: str = ""
    transform: Literal["affine", "log1p", "raw"] = "affine"
    loc: float = 0.0
    scale: float = 1.0


class Encoder(msgspec.Struct, frozen=True):
    """A fixed map from raw images or texts to vectors, named by the hash of its weights."""

    name: str
    version: str
    sha256: bytes


class Island(msgspec.Struct, frozen=True, dict=True):
    """Definition of an island; ``id`` is the SHA-256 (hex) of its canonical bytes."""

    kind: Literal["table", "image", "text"]
    dimension: int
    gamma: float
    features: tuple[Feature, ...] = ()
    encoder: Encoder | None = None
    basis: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise IslandError(f"an island has 1 to {MAX_DIMENSION} dimensions, not {self.dimension}")
        if not self.gamma > 0:
            raise IslandError(f"gamma must be positive, not {self.gamma}")
        if self.basis != 1:
            raise IslandError(f"sketch basis version {self.basis} is not known to this version of Atoll")
        if (self.kind == "table") != (self.encoder is None):
            raise IslandError("a table island has features, an image or text island an encoder")
        if self.encoder is not None and len(self.encoder.sha256) != 32:
            raise IslandError("an encoder is named by a SHA-256 of 32 bytes")
        if self.kind == "table":
            self._check_features()

    def _check_features(self) -> None:
        names = [feature.name for feature in self.features]
        if len(names) != self.dimension or len(set(names)) != len(names):
            raise IslandError(f"{len(names)} features named, {self.dimension} dimensions declared")
        if names != sorted(names):
            raise IslandError("features must be sorted by name, so that order does not change the id")
        if any(not (0 < feature.scale < np.inf and np.isfinite(feature.loc)) for feature in self.features):
            raise IslandError("every feature needs a finite location and a positive, finite scale")
        if any(each.transform == "raw" and (each.loc != 0.0 or each.scale != 1.0) for each in self.features):
            raise IslandError("a raw feature has location 0 and scale 1")

    @cached_property
    def definition(self) -> bytes:
        """Canonical bytes, as hashed, stored and sent."""
        return pack(self)

    @cached_property
    def digest(self) -> bytes:
        """The island id as 32 raw bytes, as it travels."""
        return hashlib.sha256(DOMAIN + self.definition).digest()

    @property
    def id(self) -> str:
        """The island id in hex."""
        return self.digest.hex()

    @cached_property
    def raw(self) -> NDArray[np.bool_]:
        """Which columns enter as they are (dimension,); none of images and texts."""
        return np.array([feature.transform == "raw" for feature in self.features] or [False] * self.dimension)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Feature names in island order (sorted); empty for image and text islands."""
        return tuple(feature.name for feature in self.features)

    @classmethod
    def from_definition(cls, data: bytes) -> Island:
        """An island from foreign bytes; refused unless they are exactly its canonical definition."""
        try:
            island = unpack(data, cls, limit=MAX_DEFINITION)
        except EncodingError as error:
            raise IslandError(f"not an island definition: {error.message}") from None
        if island.definition != data:
            raise IslandError("the island definition is not in canonical form")
        return island

    @classmethod
    def mint(cls, rows: Any, units: dict[str, str] | None = None, log1p: frozenset[str] = frozenset()) -> Island:
        """A new table island from robust statistics of ``rows`` (algorithms: islands).

        loc = median; scale = IQR / 1.349, else the standard deviation, else 1; both to two significant digits.
        ``log1p`` names the columns that are transformed by log(1 + x) first.
        """
        table = Table.of(rows)
        columns = table.columns or positional_names(table.values.shape[1])
        units = units or {}
        unknown = sorted((set(units) | log1p) - set(columns))
        if unknown:
            raise FeatureMismatch(f"no such columns: {', '.join(unknown)}")
        values = dict(zip(columns, table.values.T, strict=True))
        features = tuple(_feature(name, values[name], units.get(name, ""), name in log1p) for name in sorted(values))
        island = cls("table", len(features), 1.0 / len(features), features)
        if len(island.definition) > MAX_DEFINITION:  # nobody would take it from us
            raise IslandError(
                f"{len(features)} features make a definition of {len(island.definition)} bytes, "
                f"more than the {MAX_DEFINITION} that fit",
                hint="fewer columns or shorter names; or reduce the rows first, by a PCA say",
            )
        return island

    def accepts(self, rows: Any) -> bool:
        """Whether ``rows`` speak of this island's features (same names in any order; nameless: same width).

        ``Table.of(rows).mismatch(island.names)`` says which columns they differ in.
        """
        return self.kind == "table" and not Table.of(rows).mismatch(self.names)

    def places(self, columns: Sequence[str]) -> list[int]:
        """Where in this table island each of a model's ``columns`` lies: by name; or, where its own features are the
        numbered ones of nameless tables and the model's are not, by position. FeatureMismatch names what differs."""
        if self.kind == "table" and set(self.names) == set(columns) and len(columns) == self.dimension:
            found = {name: place for place, name in enumerate(self.names)}
            return [found[name] for name in columns]
        if self.names == positional_names(self.dimension) and len(columns) == self.dimension:
            return list(range(self.dimension))
        differ = sorted(set(self.names) ^ set(columns))[:8]
        raise FeatureMismatch(f"the model's columns are not those of island {self.id[:8]}: {', '.join(differ)}")

    def transform(self, rows: Any) -> NDArray[np.float32]:
        """Rows in island units: float32 (n, dimension), clipped to +-6 unless raw; NaN and inf pass through unchanged.

        Columns that the island does not name are left out. Raises FeatureMismatch, naming them, if any are missing.
        Islands of images and texts take images and texts, and encode them.
        """
        if self.kind != "table":
            from atoll.engine.encoders import encode  # loads torch, which no node needs to list or match

            return encode(self, rows)
        values = Table.of(rows).select(self.names)
        logged = np.array([feature.transform == "log1p" for feature in self.features])
        if logged.any():
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.where(logged, np.log1p(values), values)
        loc = np.array([feature.loc for feature in self.features])
        scale = np.array([feature.scale for feature in self.features])
        with np.errstate(over="ignore"):  # what overflows is far beyond the clip
            units = self.clipped((values - loc) / scale)
            clipped = np.where(np.isfinite(values), units, values)
            return np.asarray(clipped, dtype=np.float32)

    def clipped(self, units: NDArray[np.floating]) -> NDArray[np.floating]:
        """Island units (n, dimension) cut to +-6, the columns that are raw as they are."""
        cut = np.clip(units, -CLIP, CLIP)
        return np.where(self.raw, units, cut) if self.raw.any() else cut

    def restore(self, units: NDArray[np.floating]) -> NDArray[np.float64]:
        """Island units (n, dimension) back in raw units, float64, columns in the order of ``names``.

        The inverse of ``transform`` within the clip. IslandError for images and texts: no encoder can be inverted.
        """
        if self.kind != "table":
            raise IslandError(f"{self.kind} rows cannot be made of island units: an encoder has no inverse")
        loc = np.array([feature.loc for feature in self.features])
        scale = np.array([feature.scale for feature in self.features])
        logged = np.array([feature.transform == "log1p" for feature in self.features])
        values = np.asarray(units, np.float64) * scale + loc
        values[:, logged] = np.expm1(np.minimum(values[:, logged], 700.0))  # beyond, exp overflows
        return np.asarray(values)


def adopted(islands: Iterable[Island], rows: Any) -> Island | None:
    """The first of the islands that has the features of ``rows``, for what is to be published; None if none has. Raw
    ones, of what came from Beimingwu, scale nothing and are not taken."""
    return next((each for each in islands if each.accepts(rows) and not each.raw.all()), None)


def positional_names(width: int) -> tuple[str, ...]:
    """Names for the columns of a nameless array; zero-padded, so that sorting keeps their order."""
    digits = len(str(max(width - 1, 0)))
    return tuple(f"x{place:0{digits}d}" for place in range(width))


def _feature(name: str, column: NDArray[np.float64], unit: str, log: bool) -> Feature:
    values = column[np.isfinite(column)]
    if log:
        if (values <= -1).any():
            raise IslandError(f"column {name} has values <= -1: log1p is not defined there")
        values = np.log1p(values)
    if values.size == 0:
        raise IslandError(f"column {name} has no finite value")
    with np.errstate(over="ignore", invalid="ignore"):
        low, middle, high = np.percentile(values, [25, 50, 75])
        deviation = float(values.std()) if values.min() < values.max() else 0.0  # of equal values: not their rounding
        spread = _two_digits((high - low) / 1.349) or _two_digits(deviation)
    if not max(abs(middle), spread) < HUGE:
        raise IslandError(f"column {name} has values too large to scale", hint="choose a larger unit for it")
    return Feature(name, unit, "log1p" if log else "affine", _location(float(middle), spread), spread or 1.0)


def _two_digits(value: float) -> float:
    """Two significant digits: an island shared by institutions must not publish exact statistics of one."""
    return float(f"{value:.1e}")


def _location(median: float, spread: float) -> float:
    """Two significant digits, or down to the first digit of the spread where that is finer: the year 2017 as 2000
    would be several spreads off, and every row clipped. Never the one value of a column that has no spread."""
    place = _exponent(median) - 1
    return float(round(median, -min(place, _exponent(spread)) if spread else -place))


def _exponent(value: float) -> int:
    """The power of ten of the first digit; 0 of 0."""
    return int(f"{value:e}".partition("e")[2])
