import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch
from atoll.engine.matching import RkmeIndex, gram_matrix, similarity
from atoll.engine.specs import Rkme, inner, mmd2
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

seeds = st.integers(0, 10**6)


def brute_force(rkmes, query):
    """Ids by (MMD^2, id), and MMD^2, one by one in float64."""
    found = sorted((mmd2(query, rkme), id_) for id_, rkme in rkmes.items())
    return [id_ for _, id_ in found], np.array([distance for distance, _ in found])


def test_the_index_agrees_with_brute_force(owners):
    index = RkmeIndex(owners[1])
    for query in owners[1].values():
        brute = [mmd2(query, owners[1][id_]) for id_ in index.ids]
        np.testing.assert_allclose(index.distances(query), brute, atol=1e-9)
        ids, found = index.nearest(query, 2)
        assert ids == [index.ids[place] for place in np.argsort(brute)[:2]]
        assert list(found) == sorted(found)


@given(seed=seeds, count=st.integers(1, 60), limit=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_nearest_are_those_of_brute_force(draw_rkmes, seed, count, limit):
    rkmes = draw_rkmes(seed, count)
    query = next(iter(draw_rkmes(seed + 1, 1).values()))
    ids, found = RkmeIndex(rkmes).nearest(query, limit)
    true_ids, true = brute_force(rkmes, query)
    assert ids == true_ids[:limit]
    np.testing.assert_allclose(found, true[:limit], atol=1e-12)


@given(seed=seeds, shuffle=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_insertion_changes_no_bit(draw_rkmes, seed, shuffle):
    rkmes = draw_rkmes(seed, 30)
    rkmes |= {f"copy of {id_}": rkmes[id_] for id_ in list(rkmes)[:10]}
    query = rkmes.pop(next(iter(rkmes)))
    items = list(rkmes.items())
    shuffle.shuffle(items)
    one, other = RkmeIndex(rkmes), RkmeIndex(dict(items))
    assert one.ids == other.ids
    assert one.nearest(query, 15)[0] == other.nearest(query, 15)[0]
    np.testing.assert_array_equal(one.nearest(query, 15)[1], other.nearest(query, 15)[1])
    np.testing.assert_array_equal(one.distances(query), other.distances(query))


@given(seed=seeds, steps=st.lists(st.tuples(st.booleans(), st.integers(0, 39)), max_size=120))
@settings(max_examples=40, deadline=None)
def test_adding_and_removing_leaves_what_a_fresh_index_holds(draw_rkmes, seed, steps):
    known = list(draw_rkmes(seed, 40).items())
    query = known[0][1]
    index, held = RkmeIndex(dict(known[:20])), dict(known[:20])
    for adding, place in steps:
        id_, rkme = known[place]
        if adding:
            index.add(id_, rkme)
            held[id_] = rkme
        else:
            index.remove(id_)
            held.pop(id_, None)
    fresh = RkmeIndex(held)
    assert (len(index), index.ids) == (len(held), fresh.ids)
    assert index.nearest(query, 7)[0] == fresh.nearest(query, 7)[0]
    np.testing.assert_array_equal(index.distances(query), fresh.distances(query))


def test_removing_nearly_all_frees_their_points(draw_rkmes):
    rkmes = draw_rkmes(3, 300)
    index = RkmeIndex(rkmes)
    for id_ in index.ids[3:]:
        index.remove(id_)
    assert len(index._stack.norms) < 60
    query = rkmes[index.ids[0]]
    np.testing.assert_allclose(index.distances(query), [mmd2(query, rkmes[id_]) for id_ in index.ids], atol=1e-12)


def test_an_id_that_is_added_again_is_replaced(owners):
    index = RkmeIndex({"a": owners[1]["o0"]})
    index.add("a", owners[1]["o2"])
    assert len(index) == 1
    assert "a" in index
    assert index.nearest(owners[1]["o2"])[1] == pytest.approx([0.0], abs=1e-12)


def test_a_search_among_some_finds_no_others(draw_rkmes):
    rkmes = draw_rkmes(5, 80)
    query = rkmes.pop("l00003")
    some = [*sorted(rkmes)[::3], "unknown"]
    ids, _ = RkmeIndex(rkmes).nearest(query, 10, among=some)
    assert ids == brute_force({id_: rkmes[id_] for id_ in some[:-1]}, query)[0][:10]
    assert RkmeIndex(rkmes).nearest(query, 10, among=[])[0] == []


@given(scale=st.sampled_from([1.0, 1e2, 1e4, 1e18, 1e38]), points=arrays.arrays(
    np.float32, (6, 3, 2), elements=st.floats(-3, 3, width=32)))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_far_points_do_not_spoil_the_ranking(scale, points):
    third = np.full(3, 1 / 3, np.float32)
    wide = (points.astype(np.float64) * scale).astype(np.float32)
    rkmes = {f"{place}": Rkme(part, third, 0.5, 9) for place, part in enumerate(wide)}
    rkmes["near"] = Rkme(points[0], third, 0.5, 9)
    query = Rkme(points[1], third, 0.5, 9)
    index = RkmeIndex(rkmes)
    ids, found = index.nearest(query, 4)
    every = index.distances(query)
    assert np.isfinite(every).all()
    order = np.lexsort((index.ids, every))[:4]
    assert ids == [index.ids[place] for place in order]
    np.testing.assert_array_equal(found, every[order])


def test_the_error_bound_of_the_scan_holds_and_is_small(draw_rkmes):
    rkmes = draw_rkmes(7, 200)
    index, query = RkmeIndex(rkmes), rkmes["l00000"]
    cross, bound = index._stack.scan(index._stack.basis(index._slots["l00000"]))
    true = np.array([inner(query, rkmes[id_]) for id_ in index._ids])
    assert (np.abs(cross - true) <= bound).all()
    assert bound.max() < 1e-4


def test_ties_are_broken_by_id(owners):
    same = owners[1]["o0"]
    index = RkmeIndex({"b": same, "c": same, "a": same, "d": same})
    assert index.nearest(same, 3)[0] == ["a", "b", "c"]


def test_an_empty_index_finds_nothing(owners):
    index = RkmeIndex()
    assert index.nearest(owners[1]["o0"])[0] == []
    assert (len(index), len(index.cross(owners[1]["o0"])), len(index.distances(owners[1]["o0"]))) == (0, 0, 0)
    assert gram_matrix([]).shape == (0, 0)
    index.remove("nobody")
    index.add("a", owners[1]["o0"])
    assert index.nearest(owners[1]["o0"], 0)[0] == []


@pytest.mark.parametrize(("dimension", "gamma"), [(2, None), (None, 0.5)])
def test_one_index_holds_one_island(owners, dimension, gamma):
    member = owners[1]["o0"]
    points = np.zeros((1, dimension or member.dimension), np.float32)
    other = Rkme(points, np.ones(1, np.float32), gamma or member.gamma, 5)
    with pytest.raises(DimensionMismatch):
        RkmeIndex({"a": member, "b": other})
    index = RkmeIndex(owners[1])
    for refuse in (index.distances, index.cross, index.nearest, lambda rkme: index.add("o0", rkme)):
        with pytest.raises(DimensionMismatch):
            refuse(other)
    assert index.ids == tuple(sorted(owners[1]))


def test_the_gram_matrix_holds_the_inner_products(owners):
    members = list(owners[1].values())
    np.testing.assert_allclose(gram_matrix(members), [[inner(a, b) for b in members] for a in members], atol=1e-12)


def test_similarity_is_one_for_equals_and_stays_between_zero_and_one():
    assert similarity(0.0, 0.4, 0.4) == 1.0
    assert similarity(9.0, 0.4, 0.4) == 0.0
    assert similarity(0.0, 0.0, 0.0) == 0.0
