import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, NotFinite
from atoll.engine.matching import SketchIndex
from atoll.engine.specs import Sketch, sketch
from atoll.engine.specs.sketch import BLOCK, SCALE
from hypothesis import given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 10**6)


def draw_sketches(seed, count, blocks=1, private=0.2):
    """Sketches around a few centres, some of them noised, with a scale of their own, and some equal to others."""
    generator = np.random.default_rng(seed)
    centres = generator.integers(-60, 60, (5, BLOCK * blocks))
    drawn = {}
    for name in generator.permutation(count):
        values = centres[generator.integers(0, 5)] + generator.integers(-20, 20, BLOCK * blocks)
        scale, sigma = (2.5 * SCALE, 1e-4) if generator.random() < private else (SCALE, 0.0)
        drawn[f"l{name:05d}"] = Sketch(values.astype(np.int8), 0.3, scale, sigma)
    for name in list(drawn)[: count // 4]:
        drawn[f"copy of {name}"] = drawn[name]
    return drawn


def brute_force(sketches, query):
    def distance(other):
        difference = query.floats().astype(np.float64) - other.floats().astype(np.float64)
        return max(float(difference @ difference) - other.bias - query.bias, 0.0)

    return {id_: distance(each) for id_, each in sketches.items()}


@given(seed=seeds, count=st.integers(1, 60), blocks=st.sampled_from([1, 2, 3]))
@settings(max_examples=40, deadline=None)
def test_distances_are_those_of_the_decoded_sketches(seed, count, blocks):
    sketches = draw_sketches(seed, count, blocks)
    for query in list(draw_sketches(seed + 1, 4, blocks).values()):
        index = SketchIndex(sketches)
        true = brute_force(sketches, query)
        np.testing.assert_allclose(index.distances(query), [true[id_] for id_ in index.ids], rtol=1e-5)
        ids, found = index.nearest(query, 9)
        assert found[-1] <= sorted(true.values())[len(ids) - 1] * (1 + 1e-5)
        assert list(zip(found, ids, strict=True)) == sorted(zip(found, ids, strict=True))


@given(seed=seeds, steps=st.lists(st.tuples(st.booleans(), st.integers(0, 39)), max_size=80),
       threshold=st.sampled_from([0, 1000]))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_adding_and_removing_leaves_what_a_fresh_index_holds(seed, steps, threshold):
    known = list(draw_sketches(seed, 40).items())
    query = known[0][1]
    held = dict(known[:20])
    index = SketchIndex(held, approximate_above=threshold)
    for adding, place in steps:
        id_, each = known[place]
        if adding:
            index.add(id_, each)
            held[id_] = each
        else:
            index.remove(id_)
            held.pop(id_, None)
        if place == 0:
            index.nearest(query)
    fresh = SketchIndex(held)
    assert (len(index), index.ids) == (len(held), fresh.ids)
    assert index.nearest(query, 40)[0] == fresh.nearest(query, 40)[0]
    np.testing.assert_array_equal(index.distances(query), fresh.distances(query))


@given(seed=seeds, shuffle=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_insertion_changes_no_bit(seed, shuffle):
    sketches = draw_sketches(seed, 50)
    items = list(sketches.items())
    shuffle.shuffle(items)
    query = items[0][1]
    one, other = SketchIndex(sketches).nearest(query, 20), SketchIndex(dict(items)).nearest(query, 20)
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


def test_a_private_sketch_ranks_by_its_own_scale(owners, island):
    members = {name: sketch(rkme, island) for name, rkme in owners[1].items()}
    halved = {
        name: Sketch(np.rint(each.values / 2).astype(np.int8), each.norm2, 2 * SCALE, 1e-5)
        for name, each in members.items()
    }
    for query in members.values():
        exact = SketchIndex(members).distances(query)
        for threshold in (100, 0):
            index = SketchIndex(halved, approximate_above=threshold)
            np.testing.assert_allclose(index.distances(query), exact, atol=0.02)
            assert index.nearest(query, 4)[0] == SketchIndex(members).nearest(query, 4)[0]


def test_the_bias_of_noise_is_taken_off():
    generator = np.random.default_rng(0)
    clean = generator.integers(-30, 30, BLOCK)
    noise = generator.normal(size=BLOCK)
    noised = Sketch(np.rint(clean + 4 * noise).astype(np.int8), 0.3, SCALE, 4 * SCALE)
    found = SketchIndex({"a": noised}).distances(Sketch(clean.astype(np.int8), 0.3))
    assert found[0] < 0.2 * noised.bias


def test_an_index_gives_back_what_it_was_given():
    sketches = draw_sketches(4, 30)
    index = SketchIndex(sketches)
    for id_, each in sketches.items():
        assert id_ in index
        back = index[id_]
        assert (back.values == each.values).all()
        assert (back.norm2, back.scale, back.sigma) == (each.norm2, each.scale, each.sigma)


def test_sketches_rank_the_owner_of_the_data_first(owners, island):
    index = SketchIndex({name: sketch(rkme, island) for name, rkme in owners[1].items()})
    for name, rkme in owners[1].items():
        assert index.nearest(sketch(rkme, island), 1)[0] == [name]


def test_ties_are_broken_by_id(owners, island):
    s = sketch(owners[1]["o0"], island)
    for threshold in (0, 10):
        assert SketchIndex({"b": s, "c": s, "a": s}, approximate_above=threshold).nearest(s, 2)[0] == ["a", "b"]


def test_an_empty_index_finds_nothing(owners, island):
    index = SketchIndex()
    query = sketch(owners[1]["o0"], island)
    assert index.nearest(query)[0] == []
    assert len(index.distances(query)) == 0
    index.remove("nobody")


def test_sketches_of_two_lengths_or_without_sense_are_refused():
    one, two = (Sketch(np.zeros(BLOCK * blocks, np.int8), 0.3) for blocks in (1, 2))
    index = SketchIndex({"a": one})
    with pytest.raises(DimensionMismatch):
        index.update({"b": one, "c": two})
    assert index.ids == ("a",)
    for refuse in (index.nearest, index.distances):
        with pytest.raises(DimensionMismatch):
            refuse(two)
    for values in (np.zeros(100, np.int8), np.zeros(BLOCK), np.zeros((1, BLOCK), np.int8), np.zeros(0, np.int8)):
        with pytest.raises(DimensionMismatch):
            SketchIndex({"a": Sketch(values, 0.3)})
    with pytest.raises(NotFinite):
        SketchIndex({"a": Sketch(one.values, 0.3, float("nan"))})
