"""Units of features: the same quantity in another unit."""

import numpy as np
import pytest
from atoll.engine.errors import FeatureMismatch
from atoll.engine.islands import Feature, Island
from atoll.engine.tables import Table
from atoll.engine.units import MAX_UNIT, convert, convertible, in_units_of


@pytest.mark.parametrize(
    ("source", "target", "value", "expected"),
    [
        ("degC", "degF", 100.0, 212.0),
        ("°C", "K", 0.0, 273.15),
        ("mph", "km/h", 1.0, 1.609344),
        ("mg/dL", "g/L", 100.0, 1.0),
        ("m^2", "cm**2", 1.0, 1e4),
        ("", "m", 3.0, 3.0),
        ("widgets", "widgets", 3.0, 3.0),
    ],
)
def test_numbers_are_told_in_another_unit(source, target, value, expected):
    assert convert(np.array([value]), source, target)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "other", ["m", "widgets", "9**9**9**9", "dBm", "__import__('os')", "m" * (MAX_UNIT + 1), "s/0", "dB dB", "dB m"]
)
def test_what_measures_something_else_or_is_no_unit_is_not_converted(other):
    assert not convertible("kg", other)
    with pytest.raises(FeatureMismatch):
        convert(np.zeros(1), "kg", other)


def test_only_columns_of_another_unit_are_converted():
    features = (Feature("speed", "m/s"), Feature("temp", "degC"))
    island = Island("table", 2, 0.5, features)
    rows = Table(np.array([[32.0, 36.0]]), ("temp", "speed"))
    converted = in_units_of(island, rows, {"temp": "degF"})
    assert converted.columns == rows.columns
    np.testing.assert_allclose(converted.values, [[0.0, 36.0]], atol=1e-9)
    assert in_units_of(island, rows, {}) is rows
    with pytest.raises(FeatureMismatch, match="hum"):
        in_units_of(island, rows, {"hum": "%"})
    with pytest.raises(FeatureMismatch, match="kg"):
        in_units_of(island, rows, {"temp": "kg"})
