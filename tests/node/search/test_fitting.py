"""Rows into islands: every compatible one, whatever the order of the columns and the units of each."""

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from atoll.engine.errors import DimensionMismatch, FeatureMismatch, IslandError, NotFinite
from atoll.engine.island_file import write_island
from atoll.engine.islands import Feature, Island
from atoll.engine.specs import mmd2
from atoll.engine.tables import Table
from atoll.node.search.fitting import compatible, disagreeing, fit_rows, island_of, read_specification
from atoll.node.search.query import MAX_ISLANDS
from pyarrow import parquet

NAMES = ("age", "height", "weight")


@pytest.fixture(scope="module")
def rows():
    return Table(np.random.default_rng(0).normal((50, 170, 70), (10, 8, 9), (600, 3)), NAMES)


@pytest.fixture(scope="module")
def minted(rows):
    return Island.mint(rows)


def scaled(factor):
    """An island of the same features with other locations and scales, and another kernel."""
    features = [Feature(name, "", "affine", 50.0 * factor, 30.0 * factor) for name in NAMES]
    return Island("table", 3, 0.5, tuple(features))


def other():
    return Island.mint({name: [1.0, 2, 3] for name in ("height", "weight", "shoe")})


def test_rows_are_fitted_in_every_island_that_has_their_features(rows, minted):
    islands = [scaled(2.0), other(), minted]
    fitted = fit_rows(rows, islands)
    assert [each.island.id for each in fitted] == [islands[0].id, minted.id]
    assert all(each.given.comparable(each.island) for each in fitted)
    middles = [each.island.restore(each.given.points).mean(axis=0) for each in fitted]
    np.testing.assert_allclose(middles[0], middles[1], rtol=0.05)  # each in its own units, of the same people


def test_the_order_of_columns_changes_nothing(rows, minted):
    turned = Table(rows.values[:, ::-1], NAMES[::-1])
    one, two = [fit_rows(each, [minted])[0].given for each in (rows, turned)]
    assert one.to_bytes() == two.to_bytes()


def test_a_file_is_fitted_as_what_it_holds(rows, minted, tmp_path):
    np.save(tmp_path / "rows.npy", rows.values)
    parquet.write_table(pa.table(dict(zip(NAMES, rows.values.T, strict=True))), tmp_path / "rows.parquet")
    np.savetxt(tmp_path / "rows.csv", rows.values, "%.17g", ",", header=",".join(NAMES), comments="")
    whole = fit_rows(rows, [minted])[0].given.to_bytes()
    for name in ("rows.npy", "rows.parquet", "rows.csv"):
        assert fit_rows(tmp_path / name, [minted])[0].given.to_bytes() == whole, name


def test_the_most_used_islands_are_taken_where_there_are_many(rows):
    islands = [scaled(1.0 + place / 10) for place in range(MAX_ISLANDS + 3)]
    assert [each.island.id for each in fit_rows(rows, islands)] == [each.id for each in islands[:MAX_ISLANDS]]


def test_rows_of_no_island_are_told_how_they_differ_from_the_nearest(rows, minted):
    labelled = Table(np.column_stack([rows.values, np.ones(len(rows.values))]), (*NAMES, "label"))
    with pytest.raises(FeatureMismatch, match=rf"{minted.id[:16]}, 1 columns are unexpected: label"):
        fit_rows(labelled, [other(), minted])
    with pytest.raises(FeatureMismatch, match="no island of tables yet"):
        fit_rows(rows, [])


def test_what_is_missing_is_named_or_imputed(rows, minted):
    values = rows.values.copy()
    values[::7, 1] = np.nan
    with pytest.raises(NotFinite, match="86 cells are empty, NaN or infinite, in columns height"):
        fit_rows(Table(values, NAMES), [minted])
    (imputed,) = fit_rows(Table(values, NAMES), [minted], impute=True)
    assert mmd2(imputed.given, fit_rows(rows, [minted])[0].given) < 0.05
    values[:, 1] = np.nan
    with pytest.raises(NotFinite, match="no row has a finite value in columns height"):
        fit_rows(Table(values, NAMES), [minted], impute=True)


def test_rows_in_other_units_are_converted(rows, minted):
    metres = msgspec.structs.replace(
        minted,
        features=tuple(
            Feature(each.name, "m", "affine", each.loc / 100, each.scale / 100) if each.name == "height" else each
            for each in minted.features
        ),
    )
    told = {"height": "cm"}
    (plain,), (converted,) = fit_rows(rows, [minted]), fit_rows(rows, [metres], units=told)
    assert mmd2(plain.given, converted.given) < 1e-6
    assert compatible(rows, [metres, minted], {"height": "kg"}) == [minted]  # which says nothing of units
    with pytest.raises(FeatureMismatch, match="but height in m"):
        compatible(rows, [metres], {"height": "kg"})
    with pytest.raises(FeatureMismatch, match="columns that are not there: shoe"):
        fit_rows(rows, [metres], units={"shoe": "cm"})
    assert disagreeing([minted, metres]) == {}
    inches = msgspec.structs.replace(metres, features=(minted.features[0], Feature("height", "in"), minted.features[2]))
    assert disagreeing([minted, metres, inches]) == {"height": ["m", "in"]}
    assert disagreeing([minted, metres, inches], told) == {}


def test_a_ready_specification_is_of_its_island_or_moved_into_others_of_its_features(rows, minted, tmp_path):
    wide, path = scaled(2.0), tmp_path / "rows.rkme"
    here, there = fit_rows(rows, [minted, wide])
    here.given.save(path)
    for said, more in ((None, ()), (minted, (other(),)), (minted.id[:6], (other(),))):
        (found,) = read_specification(path, said, [wide, *more, minted])
        assert (found.island.id, found.given.to_bytes()) == (minted.id, here.given.to_bytes())
    write_island(minted, tmp_path / "rows.island.json")
    (found,) = read_specification(path, None, [other(), wide])
    assert found.island.id == wide.id
    assert mmd2(found.given, there.given) < 2e-3
    with pytest.raises(FeatureMismatch, match="1 columns are missing: shoe"):
        read_specification(path, None, [other()])
    with pytest.raises(DimensionMismatch, match="is not of island"):
        read_specification(path, wide, [wide])


def test_the_island_of_a_specification_is_found_where_only_one_can_be_it(rows, minted):
    (fitted,) = fit_rows(rows, [minted])
    assert island_of(fitted.given, [scaled(1.0), minted]).id == minted.id
    with pytest.raises(IslandError, match="of no island that this node knows"):
        island_of(fitted.given, [scaled(1.0)])
    with pytest.raises(IslandError, match=f"can be of 2 islands: {other().id[:16]}, {minted.id[:16]}"):
        island_of(fitted.given, [other(), minted])
