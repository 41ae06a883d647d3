"""Stand-ins in the store: made once for good, forgotten with their RKMEs."""

from contextlib import closing

import numpy as np
import pytest
from atoll.engine.specs import Rkme
from atoll.engine.specs.stand_in import stand_in
from atoll.node.matching import stand_ins
from atoll.node.matching.stand_ins import StandIns
from atoll.node.store.environment import Store


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def rkmes(islands, draw):
    random = np.random.default_rng(0)
    return [draw(random, islands[0]) for _ in range(3)]


def ready(store, wanted):
    """{number of the RKME: stand-in} after all that are wanted are there, and how many were made for that."""
    made = []

    def make(rkme):
        made.append(rkme)
        return stand_in(rkme)

    found = StandIns(store, make)
    found.want(wanted)
    while found.make_next():
        pass
    assert found.wait(wanted, 0)
    store.write(lambda txn: None).result()  # what was written without waiting has been by then
    return [found.find(rkme).to_bytes() for rkme in wanted], len(made)


def again(rkmes):
    return [Rkme.from_bytes(rkme.to_bytes()) for rkme in rkmes]


def test_after_a_restart_they_are_there_and_the_same(store, rkmes):
    expected = [stand_in(rkme).to_bytes() for rkme in rkmes]
    assert ready(store, rkmes) == (expected, 3)
    assert ready(store, again(rkmes)) == (expected, 0)


def test_those_of_what_is_gone_are_forgotten(store, rkmes):
    ready(store, rkmes)
    StandIns(store).keep_only(again(rkmes[:1]))
    assert ready(store, again(rkmes))[1] == 2


def test_what_a_row_has_no_room_for_is_made_again(store, rkmes, monkeypatch):
    monkeypatch.setattr(stand_ins, "KEPT", 10)
    ready(store, rkmes)
    assert ready(store, again(rkmes))[1] == 3


def test_what_somebody_waits_for_comes_first(store, rkmes):
    made = []
    found = StandIns(store, lambda rkme: made.append(rkme) or stand_in(rkme))
    found.want(rkmes)
    found.want(rkmes[2:], first=True)
    while found.make_next():
        pass
    assert made == [rkmes[2], *rkmes[:2]]
    assert not found.make_next()
