import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch
from atoll.engine.matching import RkmeIndex, SketchIndex, gram_matrix, similarity
from atoll.engine.specs import Rkme, inner, mmd2, sketch


def test_the_index_agrees_with_brute_force(owners):
    index = RkmeIndex(owners[1])
    for query in owners[1].values():
        brute = [mmd2(query, owners[1][id_]) for id_ in index.ids]
        np.testing.assert_allclose(index.distances(query), brute, atol=1e-9)
        ids, found = index.nearest(query, 2)
        assert ids == [index.ids[place] for place in np.argsort(brute)[:2]]
        assert list(found) == sorted(found)


def test_ties_are_broken_by_id(owners, island):
    same = owners[1]["o0"]
    assert RkmeIndex({"b": same, "c": same, "a": same}).nearest(same)[0] == ["a", "b", "c"]
    s = sketch(same, island)
    assert SketchIndex({"b": s, "c": s, "a": s}).nearest(s, 2)[0] == ["a", "b"]


def test_an_empty_index_finds_nothing(owners, island):
    assert RkmeIndex({}).nearest(owners[1]["o0"])[0] == []
    assert SketchIndex({}).nearest(sketch(owners[1]["o0"], island))[0] == []


def test_one_index_holds_one_island(owners):
    other = Rkme(np.zeros((1, 2), np.float32), np.ones(1, np.float32), 0.5, 5)
    with pytest.raises(DimensionMismatch):
        RkmeIndex({"a": owners[1]["o0"], "b": other})
    with pytest.raises(DimensionMismatch):
        RkmeIndex(owners[1]).distances(other)


def test_the_gram_matrix_holds_the_inner_products(owners):
    members = list(owners[1].values())
    np.testing.assert_allclose(gram_matrix(members), [[inner(a, b) for b in members] for a in members], atol=1e-12)


def test_similarity_is_one_for_equals_and_stays_between_zero_and_one():
    assert similarity(0.0, 0.4, 0.4) == 1.0
    assert similarity(9.0, 0.4, 0.4) == 0.0
    assert similarity(0.0, 0.0, 0.0) == 0.0


def test_sketches_rank_the_owner_of_the_data_first(owners, island):
    index = SketchIndex({name: sketch(rkme, island) for name, rkme in owners[1].items()})
    for name, rkme in owners[1].items():
        assert index.nearest(sketch(rkme, island), 1)[0] == [name]
