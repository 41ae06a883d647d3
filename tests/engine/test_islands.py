import msgpack
import numpy as np
import pytest
from atoll.engine.errors import FeatureMismatch, IslandError
from atoll.engine.islands import CLIP, Feature, Island
from hypothesis import given
from hypothesis import strategies as st

ROWS = {"b": [1.0, 2, 3, 4, 50], "a": [10.0, 20, 30, 40, 50], "c": [0.0, 0, 0, 0, 0]}


@given(st.permutations(list(ROWS)))
def test_the_id_is_the_same_for_any_column_order(order):
    assert Island.mint({name: ROWS[name] for name in order}).id == Island.mint(ROWS).id


def test_minting_takes_median_and_iqr_to_two_digits():
    a, b, c = Island.mint(ROWS, units={"a": "kg"}).features
    assert (a.name, a.unit, a.loc, a.scale) == ("a", "kg", 30.0, 15.0)  # IQR 20 / 1.349 = 14.8
    assert (b.loc, b.scale) == (3.0, 1.5)  # the outlier of 50 does not count
    assert (c.loc, c.scale) == (0.0, 1.0)  # a constant column has scale 1


def test_minting_ignores_nan_but_needs_a_finite_value():
    assert Island.mint({"a": [1.0, np.nan, 1.0]}).features[0].loc == 1.0
    with pytest.raises(IslandError, match="no finite value"):
        Island.mint({"a": [np.nan, np.inf]})


def test_log1p_columns_must_lie_above_minus_one():
    assert Island.mint({"a": [0.0, 1, 2]}, log1p=frozenset("a")).features[0].transform == "log1p"
    with pytest.raises(IslandError, match="log1p"):
        Island.mint({"a": [-1.0, 1]}, log1p=frozenset("a"))
    with pytest.raises(FeatureMismatch, match="z"):
        Island.mint({"a": [1.0]}, units={"z": "m"})


def test_the_definition_round_trips_and_only_its_canonical_form_is_taken(island):
    back = Island.from_definition(island.definition)
    assert (back, back.id) == (island, island.id)
    tree = msgpack.unpackb(island.definition)
    for other in (dict(reversed(tree.items())), {**tree, "extra": 1}):
        with pytest.raises(IslandError, match="canonical"):
            Island.from_definition(msgpack.packb(other))


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\xff" * 100, b"\0" * 70_000])
def test_foreign_bytes_are_refused_as_island_errors(data):
    with pytest.raises(IslandError):
        Island.from_definition(data)


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 0},
        {"dimension": 5000},
        {"gamma": 0.0},
        {"gamma": float("nan")},
        {"basis": 2},
        {"features": (Feature("b"), Feature("a"))},
        {"features": (Feature("a"), Feature("a"))},
        {"features": (Feature("a"), Feature("b", scale=0.0))},
        {"kind": "image"},
    ],
)
def test_malformed_islands_are_refused(change):
    good = {"kind": "table", "dimension": 2, "gamma": 0.5, "features": (Feature("a"), Feature("b"))}
    assert Island(**good).names == ("a", "b")
    with pytest.raises(IslandError):
        Island(**{**good, **change})


def test_a_mismatch_names_the_columns(island):
    with pytest.raises(FeatureMismatch, match="1 columns are missing: c"):
        Island.mint(ROWS).transform({"a": [1.0], "b": [2.0]})
    assert not island.accepts(np.zeros((1, 3)))


def test_transform_centres_scales_clips_and_keeps_nan():
    island = Island.mint({"a": ROWS["a"]})
    units = island.transform({"a": [30.0, 45.0, 1e9, -1e9, np.nan]})
    assert units.dtype == np.float32
    np.testing.assert_allclose(units[:, 0], [0, 1, CLIP, -CLIP, np.nan])


def test_transform_does_not_depend_on_column_order():
    island = Island.mint(ROWS)
    turned = island.transform({name: ROWS[name] for name in "cab"})
    np.testing.assert_array_equal(island.transform(ROWS), turned)
