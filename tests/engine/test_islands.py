import msgpack
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from atoll.engine.errors import FeatureMismatch, IslandError
from atoll.engine.islands import CLIP, Encoder, Feature, Island, adopted
from atoll.engine.tables import Table
from hypothesis import given
from hypothesis import strategies as st

ROWS = {"b": [1.0, 2, 3, 4, 50], "a": [10.0, 20, 30, 40, 50], "c": [0.0, 0, 0, 0, 0]}


@pytest.fixture(scope="module")
def island_of_rows():
    return Island.mint(ROWS)


@given(st.permutations(list(ROWS)))
def test_the_order_of_columns_changes_neither_id_nor_rows(island_of_rows, order):
    turned = {name: ROWS[name] for name in order}
    assert Island.mint(turned).id == island_of_rows.id
    assert island_of_rows.accepts(turned)
    np.testing.assert_array_equal(island_of_rows.transform(turned), island_of_rows.transform(ROWS))


def in_file(suffix, write):
    def rows(frame, folder):
        write(frame, folder / f"rows.{suffix}")
        return Table.read(folder / f"rows.{suffix}")

    return rows


SOURCES = {
    "dict": lambda frame, _: {name: list(frame[name]) for name in frame},
    "pandas": lambda frame, _: frame,
    "pandas nullable": lambda frame, _: frame.convert_dtypes(),
    "arrow": lambda frame, _: pa.Table.from_pandas(frame),
    "structured array": lambda frame, _: frame.to_records(index=False),
    "csv": in_file("csv", lambda frame, path: frame.to_csv(path, index=False)),
    "parquet": in_file("parquet", lambda frame, path: frame.to_parquet(path)),
    "feather": in_file("feather", lambda frame, path: frame.to_feather(path)),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("order", ["abc", "cab"])
def test_the_source_of_rows_changes_neither_id_nor_rows(island_of_rows, source, order, tmp_path):
    rows = source(pd.DataFrame(ROWS)[list(order)], tmp_path)
    assert Island.mint(rows).id == island_of_rows.id
    assert island_of_rows.accepts(rows)
    np.testing.assert_array_equal(island_of_rows.transform(rows), island_of_rows.transform(ROWS))


def test_nameless_arrays_are_of_the_island_by_their_width():
    rows = np.column_stack([ROWS[name] for name in "abc"])
    island = Island.mint(rows)
    assert island.names == ("x0", "x1", "x2")
    assert island.accepts(rows)
    assert not island.accepts(rows[:, :2])
    np.testing.assert_array_equal(island.transform(rows), Island.mint(ROWS).transform(ROWS))


def test_other_columns_are_not_accepted_but_named_and_left_out_of_the_transform(island_of_rows):
    more = {**ROWS, "id": [1, 2, 3, 4, 5]}
    assert not island_of_rows.accepts(more)
    assert Table.of(more).mismatch(island_of_rows.names) == "1 columns are unexpected: id"
    np.testing.assert_array_equal(island_of_rows.transform(more), island_of_rows.transform(ROWS))


def test_minting_takes_median_and_iqr_to_two_digits():
    a, b, c = Island.mint(ROWS, units={"a": "kg"}).features
    assert (a.name, a.unit, a.loc, a.scale) == ("a", "kg", 30.0, 15.0)  # IQR 20 / 1.349 = 14.8
    assert (b.loc, b.scale) == (3.0, 1.5)  # the outlier of 50 does not count
    assert (c.loc, c.scale) == (0.0, 1.0)  # a constant column has scale 1


def test_minting_ignores_nan_but_needs_a_finite_value():
    assert Island.mint({"a": [1.0, np.nan, 1.0]}).features[0].loc == 1.0
    with pytest.raises(IslandError, match="no finite value"):
        Island.mint({"a": [np.nan, np.inf]})


@pytest.mark.parametrize("value", [0.1, 123456.789, 1e300, True])
def test_a_constant_column_has_scale_one_and_does_not_publish_its_value(value):
    (feature,) = Island.mint({"a": [value] * 3}).features
    assert (feature.loc, feature.scale) == (float(f"{value:.1e}"), 1.0)


@pytest.mark.parametrize("centre", [2017.0, 52.52, 1.7e9, -293.15])
def test_a_location_far_from_zero_is_rounded_no_coarser_than_the_spread(centre):
    column = {"a": centre + np.linspace(-0.5, 0.5, 101)}
    island = Island.mint(column)
    assert np.abs(island.transform(column)).max() < 2
    assert island.features[0].loc == pytest.approx(centre, abs=island.features[0].scale / 2)


@pytest.mark.parametrize("column", [[1e308, -1e308, 0], [-1e308] * 3, [0.0] * 9 + [1e300]])
def test_values_that_cannot_be_scaled_are_named(column):
    with pytest.raises(IslandError, match="column a has values too large"):
        Island.mint({"a": column})


def test_no_rows_mint_nothing_and_one_row_is_enough():
    with pytest.raises(IslandError, match="column a has no finite value"):
        Island.mint({"a": []})
    island = Island.mint({"a": [7.0], "b": [False]})
    assert [(feature.loc, feature.scale) for feature in island.features] == [(7.0, 1.0), (0.0, 1.0)]
    assert island.transform({"a": [], "b": []}).shape == (0, 2)


def test_nothing_is_minted_that_others_would_refuse():
    rows = {f"column {place}": [1.0] for place in range(1000)}
    with pytest.raises(IslandError, match="1000 features make a definition"):
        Island.mint(rows)


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
        {"features": (Feature("a"), Feature("b", scale=float("inf")))},
        {"features": (Feature("a"), Feature("b", loc=float("nan")))},
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
    units = island.transform({"a": [30.0, 45.0, 1e9, -1.7e308, np.nan, np.inf]})
    assert units.dtype == np.float32
    np.testing.assert_allclose(units[:, 0], [0, 1, CLIP, -CLIP, np.nan, np.inf])


def test_restore_is_the_inverse_of_transform_within_the_clip():
    random = np.random.default_rng(3)
    rows = Table(np.column_stack([random.exponential(50.0, 400), random.normal(2017, 3, 400)]), ("late", "year"))
    island = Island.mint(rows, log1p=frozenset({"late"}))
    units = island.transform(rows)
    inside = (np.abs(units) < 6).all(axis=1)
    assert inside.sum() > 300
    back = island.restore(units.astype(np.float64))
    assert np.allclose(back[inside], rows.select(island.names)[inside], rtol=1e-4, atol=1e-3)


def test_what_an_encoder_made_cannot_be_restored():
    island = Island("image", 4, 1.0, encoder=Encoder("e", "1", b"x" * 32))
    with pytest.raises(IslandError, match="no inverse"):
        island.restore(np.zeros((1, 4)))


def test_what_is_published_is_of_the_first_island_with_its_features_that_is_not_raw():
    raw = Island("table", 2, 0.5, (Feature("a", transform="raw"), Feature("b", transform="raw")))
    coarse = Island("table", 2, 0.5, (Feature("a", scale=10.0), Feature("b")))
    rows = {"b": [1.0, 2.0], "a": [3.0, 4.0]}
    assert adopted([Island.mint(ROWS), raw, coarse, Island.mint(rows)], rows) == coarse
    assert adopted([Island.mint(ROWS), raw], rows) is None


RAW = Island("table", 2, 0.1, (Feature("a", transform="raw"), Feature("b", loc=1.0, scale=2.0)))


def test_raw_columns_enter_as_they_are_and_are_never_clipped():
    rows = {"a": [1e6, -1e300, np.nan], "b": [1e6, 3.0, 5.0]}
    np.testing.assert_array_equal(RAW.transform(rows), np.float32([[1e6, CLIP], [-np.inf, 1.0], [np.nan, 2.0]]))
    np.testing.assert_array_equal(RAW.clipped(np.array([[1e6, 7.0]])), [[1e6, CLIP]])
    np.testing.assert_array_equal(RAW.restore(np.array([[1e6, 1.0]])), [[1e6, 3.0]])
    assert RAW.raw.tolist() == [True, False]
    assert Island.from_definition(RAW.definition) == RAW
    for changed in ({"loc": 1.0}, {"scale": 2.0}):
        with pytest.raises(IslandError, match="a raw feature has location 0"):
            Island("table", 1, 0.1, (Feature("a", transform="raw", **changed),))


def test_a_models_columns_are_found_by_name_and_by_position_only_in_nameless_islands():
    assert RAW.places(("b", "a")) == [1, 0]
    nameless = Island("table", 2, 0.1, (Feature("x0"), Feature("x1")))
    assert nameless.places(("width", "height")) == [0, 1]
    assert nameless.places(("x1", "x0")) == [1, 0]
    for island, columns in ((RAW, ("a", "c")), (nameless, ("a",)), (RAW, ("a", "a"))):
        with pytest.raises(FeatureMismatch, match="the model's columns are not those of island"):
            island.places(columns)
