"""An RKME in another island of the same features: its points are a weighted sample, which any transform and kernel may
take (algorithms: islands). So institutions that scaled, or measured, the same features otherwise find each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from atoll.engine.errors import FeatureMismatch
from atoll.engine.islands import CLIP, Island
from atoll.engine.specs.rkme import Rkme
from atoll.engine.units import convert, convertible


def reachable(source: Island, islands: Iterable[Island]) -> list[Island]:
    """Those of ``islands``, in their order, into which RKMEs of ``source`` can be moved; itself is none of them."""
    return [island for island in islands if island.digest != source.digest and _alike(source, island)]


def moved(rkme: Rkme, source: Island, target: Island) -> Rkme:
    """The RKME of ``source`` in the units of ``target`` and under its kernel; FeatureMismatch unless both have the same
    features. What was beyond the clip of the one stays at its edge."""
    if not _alike(source, target):
        raise FeatureMismatch("the islands differ in their features")
    raw = source.restore(rkme.points)
    for place, (ours, theirs) in enumerate(zip(source.features, target.features, strict=True)):
        raw[:, place] = convert(raw[:, place], ours.unit, theirs.unit)
    units = target.transform(raw)  # a log of what lies below -1 there is none
    points = target.clipped(np.nan_to_num(units, nan=-CLIP))
    return Rkme(np.asarray(points, np.float32), rkme.weights, target.gamma, rkme.count)


def _alike(source: Island, target: Island) -> bool:
    return (
        source.kind == target.kind == "table"
        and source.names == target.names
        and all(convertible(a.unit, b.unit) for a, b in zip(source.features, target.features, strict=True))
    )
