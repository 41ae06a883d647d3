"""Reusing found learnwares together: routing, averaging, label alignment."""

from atoll.engine.reuse.averaging import mean, vote_by_label, vote_by_prob
from atoll.engine.reuse.labels import spread, union
from atoll.engine.reuse.routing import route_by_rkme, route_by_sketch, sparse

__all__ = [
    "mean",
    "route_by_rkme",
    "route_by_sketch",
    "sparse",
    "spread",
    "union",
    "vote_by_label",
    "vote_by_prob",
]
