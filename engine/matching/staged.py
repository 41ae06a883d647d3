"""Search in two stages: sketches choose a shortlist, which is ranked exactly.

Measured: the exact top 10 were all in the sketches' top 50 at 2e5 learnwares, spread or close, and all in the shortlist
at 1e6 (examples/benchmarks/matching.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from atoll.engine.matching.distances import RkmeIndex
from atoll.engine.matching.ranking import Ranking
from atoll.engine.matching.sketches import SketchIndex
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch

SHORTLIST = 200


def nearest_in_stages(
    query: Rkme, asked: Sketch, sketches: SketchIndex, rkmes: RkmeIndex | Mapping[str, Rkme],
    limit: int = 10, *, shortlist: int = SHORTLIST,
) -> Ranking:  # fmt: skip
    """The ``limit`` nearest ids and their exact MMD^2, of the ``shortlist`` that come first by sketch.

    ``asked`` is the sketch of ``query``. ``rkmes`` is an index, or any mapping, which may load what it is asked for;
    an id that it does not hold is left out.
    """
    ids, _ = sketches.nearest(asked, max(limit, shortlist))
    if not isinstance(rkmes, RkmeIndex):
        rkmes = RkmeIndex({id_: rkmes[id_] for id_ in ids if id_ in rkmes})
    return rkmes.nearest(query, limit, among=ids)
