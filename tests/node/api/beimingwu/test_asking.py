"""In which islands a specification of Beimingwu's is asked about: its own, and those with the very same columns."""

import msgspec
import numpy as np
import pytest
from atoll.engine.beimingwu.legacy import table_island, text_island
from atoll.engine.beimingwu.specifications import Given
from atoll.engine.errors import DimensionMismatch
from atoll.engine.islands import Island
from atoll.engine.specs import mmd2
from atoll.engine.specs.rkme import Rkme
from atoll.engine.tables import Table
from atoll.node.api.beimingwu.asking import specifications
from atoll.node.search.query import MAX_ISLANDS

ROWS = np.random.default_rng(0).normal([1.0, 20.0, 300.0], [1.0, 2.0, 30.0], (50, 3)).astype(np.float32)
NAMES = ("weight", "age", "height")
LEGACY = table_island(3)
GIVEN = Given(LEGACY, Rkme(ROWS, np.full(50, 0.02, np.float32), 0.1, 500), b"")
SCALED = Island.mint(Table(ROWS.astype(np.float64), NAMES))
NAMELESS = Island.mint(ROWS.astype(np.float64))


def asked(names, *known, listed=lambda island: 1, given=GIVEN):
    return specifications(given, names, known, listed)


def test_its_own_island_comes_first_with_the_specification_as_it_is():
    (only,) = asked((), LEGACY)
    assert (only.island, only.given) == (LEGACY.digest, GIVEN.rkme)


def test_an_island_that_nobody_knows_is_not_asked_about():
    assert asked(NAMES) == ()
    assert asked(NAMES, table_island(4), table_island(3, 0.2), text_island()) != ()  # another kernel: it is moved
    assert asked(NAMES, table_island(4), text_island()) == ()


def test_names_lead_into_islands_of_these_columns_whatever_their_order():
    (only,) = asked(NAMES, SCALED)
    assert only.island == SCALED.digest
    rkme = Rkme(SCALED.transform(Table(ROWS.astype(np.float64), NAMES)), GIVEN.rkme.weights, SCALED.gamma, 500)
    assert mmd2(only.given, rkme) < 1e-6


def test_without_names_only_nameless_islands_are_the_same():
    assert [each.island for each in asked((), SCALED, NAMELESS)] == [NAMELESS.digest]
    assert asked(("a", "b", "c"), SCALED) == ()


def test_what_nobody_lists_in_is_left_out_and_the_most_used_come_first():
    many = [msgspec.structs.replace(SCALED, gamma=SCALED.gamma * (1 + step / 10)) for step in range(1, 12)]
    used = {island.digest: place % 11 for place, island in enumerate(many)}
    found = [each.island for each in asked(NAMES, LEGACY, *many, listed=used.get)]
    assert found[0] == LEGACY.digest
    assert len(found) == MAX_ISLANDS
    assert [used[island] for island in found[1:]] == [10, 9, 8, 7, 6, 5, 4]


def test_another_number_of_names_is_refused():
    with pytest.raises(DimensionMismatch, match="2 dimensions"):
        asked(NAMES[:2], SCALED)


def test_texts_have_no_names():
    island = text_island()
    given = Given(island, Rkme(np.zeros((1, 384), np.float32), np.ones(1, np.float32), island.gamma, 9), b"")
    assert [each.island for each in asked(NAMES, island, given=given)] == [island.digest]
