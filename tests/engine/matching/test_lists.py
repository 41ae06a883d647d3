"""Beyond the scan: five thousand sketches of blends, with the threshold lowered so that inverted lists are used."""

import numpy as np
import pytest
from atoll.engine.matching import SketchIndex
from atoll.engine.specs import sketch


@pytest.fixture(scope="module")
def market(draw_rkmes, plane):
    rkmes = draw_rkmes(11, 5000, points=6)
    sketches = {id_: sketch(rkme, plane) for id_, rkme in rkmes.items()}
    return sketches, [sketch(rkme, plane) for rkme in draw_rkmes(12, 40, points=6).values()]


def recall(index, sketches, queries):
    scan = SketchIndex(sketches)
    shares = [len({*index.nearest(q)[0]} & {*scan.nearest(q)[0]}) / 10 for q in queries]
    return np.mean(shares)


def test_recall_is_high_and_the_same_calls_give_the_same_answers(market):
    sketches, queries = market
    index, again = (SketchIndex(sketches, approximate_above=1000) for _ in range(2))
    assert recall(index, sketches, queries) > 0.98
    assert [index.nearest(q)[0] for q in queries] == [again.nearest(q)[0] for q in queries]


def test_what_was_removed_never_comes_back_and_what_was_added_is_found(market):
    sketches, queries = market
    ids = sorted(sketches)
    late, gone = ids[:500], ids[500:2500:4]
    index = SketchIndex({id_: sketches[id_] for id_ in ids[500:]}, approximate_above=1000)
    index.nearest(queries[0])
    for id_ in gone:
        index.remove(id_)
    for id_ in late:
        index.add(id_, sketches[id_])
    found = {id_ for query in queries for id_ in index.nearest(query, 200)[0]}
    assert not found & set(gone)
    assert found & set(late)
    assert all(index.nearest(sketches[id_], 1)[1][0] == 0 for id_ in late[::50])
    left = {id_: each for id_, each in sketches.items() if id_ not in set(gone)}
    assert recall(index, left, queries) > 0.98


def test_the_lists_are_left_when_few_remain_and_trained_anew_when_many_come(market):
    sketches, queries = market
    ids = sorted(sketches)
    index = SketchIndex({id_: sketches[id_] for id_ in ids[:300]}, approximate_above=200)
    index.nearest(queries[0])
    assert index._lists.trained == 300
    index.update({id_: sketches[id_] for id_ in ids[300:2000]})
    index.nearest(queries[0])
    assert index._lists.trained == 2000
    for id_ in ids[100:2000]:
        index.remove(id_)
    assert (
        index.nearest(queries[0], 5)[0]
        == SketchIndex({id_: sketches[id_] for id_ in ids[:100]}).nearest(queries[0], 5)[0]
    )
    assert index._lists is None


def test_asking_for_more_than_the_lists_yield_falls_back_to_the_scan(market):
    sketches, queries = market
    index = SketchIndex(sketches, approximate_above=1000)
    assert len(index.nearest(queries[0], 5000)[0]) == 5000
