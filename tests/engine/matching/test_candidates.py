import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch
from atoll.engine.matching import SketchIndex, mixture_candidates, mixture_of_sketches
from atoll.engine.specs import Rkme, Sketch, sketch
from atoll.engine.specs.sketch import BLOCK


@pytest.fixture(scope="module")
def market(plane):
    """Fifteen hundred learnwares: narrow ones, of single corners, and a crowd around the middle of all corners."""
    generator = np.random.default_rng(3)
    corners = 2.5 * np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T

    def around(centres):
        points = centres + 0.1 * generator.normal(size=(len(centres), 3))
        return Rkme(points.astype(np.float32), np.full(len(points), 1 / len(points), np.float32), plane.gamma, 50)

    narrow = {f"corner {place}": around(np.repeat(corner[None], 5, 0)) for place, corner in enumerate(corners)}
    crowd = {f"crowd {place:04d}": around(corners[generator.integers(0, 8, 12)]) for place in range(1500)}
    query = around(np.concatenate([np.repeat(corners[:1], 7, 0), np.repeat(corners[5:6], 3, 0)]))
    return narrow | crowd, query


def test_what_is_useful_only_in_a_mixture_is_a_candidate(market, plane):
    rkmes, query = market
    index = SketchIndex({id_: sketch(rkme, plane) for id_, rkme in rkmes.items()})
    asked = sketch(query, plane)
    ranked, _ = index.nearest(asked, len(index))
    assert ranked.index("corner 5") > 200
    places = mixture_candidates(asked, [index[id_] for id_ in ranked])
    assert list(places) == sorted(set(places))
    assert set(range(50)) <= set(places)
    assert len(places) < 100
    chosen = [ranked[place] for place in places]
    assert {"corner 0", "corner 5"} <= set(chosen)
    best = mixture_of_sketches(asked, [index[id_] for id_ in chosen])
    near = mixture_of_sketches(asked, [index[id_] for id_ in ranked[:50]])
    assert best.mmd2 < 0.5 * near.mmd2


def test_the_support_is_that_of_the_program_over_all(draw_rkmes, plane):
    sketches = [sketch(rkme, plane) for rkme in draw_rkmes(31, 400).values()]
    asked = sketch(draw_rkmes(32, 1)["l00000"], plane)
    best = mixture_of_sketches(asked, sketches, method="full")
    places = mixture_candidates(asked, sketches)
    found = mixture_of_sketches(asked, [sketches[place] for place in places], method="full")
    assert found.mmd2 <= best.mmd2 + 1e-3


def test_few_learnwares_are_all_candidates(owners, island):
    sketches = [sketch(rkme, island) for rkme in owners[1].values()]
    assert mixture_candidates(sketches[0], sketches) == (0, 1, 2, 3)
    assert mixture_candidates(sketches[0], []) == ()


def test_sketches_of_two_lengths_are_refused(owners, island):
    own = sketch(owners[1]["o0"], island)
    with pytest.raises(DimensionMismatch):
        mixture_candidates(own, [own, Sketch(np.zeros(2 * BLOCK, np.int8), 0.3)])
