"""The standing of an island's listings is the same however they came, and soon what it should be."""

import numpy as np
import pytest
from atoll.engine.semantic import SemanticSpec
from atoll.node.search import standing as module
from atoll.node.search.standing import REFRESHED, SIMULTANEOUS, Standings
from atoll.protocol.listings import Listing, Offers, SpecSummary

ISLAND, FEDERATION = b"i" * 32, b"F" * 32


class Seen:
    """When, by learnware, and which owners are new."""

    def __init__(self):
        self.times, self.new = {}, set()

    def first_seen(self, listing, island):
        return self.times.get(listing.learnware_id, 0)

    def newcomer(self, federation, owner, now):
        return owner in self.new


@pytest.fixture
def seen():
    return Seen()


def row(number, seed, owner=None, discloses=False):
    values = np.random.default_rng(seed).integers(-60, 60, 512).astype(np.int8)
    norm2 = float(np.square(values / 2032.0).sum())
    spec = SpecSummary(ISLAND, values.tobytes(), norm2, 32, bytes(32))
    offers = Offers(disclose="members" if discloses else "nobody")
    who = (number if owner is None else owner).to_bytes(32)
    id_ = number.to_bytes(32)
    return Listing(who, FEDERATION, id_, id_, 1, 1, "live", SemanticSpec("it"), (spec,), offers), spec


def plain(standing):
    return (standing.face == np.arange(len(standing.face))).tolist()


def test_the_eldest_is_who_was_seen_first_and_not_within_the_same_hour(seen):
    rows = [row(1, 0), row(2, 0), row(3, 9, owner=2)]
    seen.times = {(1).to_bytes(32): 5 * SIMULTANEOUS, (2).to_bytes(32): 3 * SIMULTANEOUS}
    assert Standings(seen).of(ISLAND, rows, 0).face.tolist() == [1, 1, 2]


def test_of_what_came_at_once_that_of_who_has_work_of_its_own_is_the_original(seen):
    rows = [row(1, 0), row(2, 0), row(3, 0, discloses=True), row(4, 9, owner=2)]
    assert Standings(seen).of(ISLAND, rows, 0).face.tolist() == [1, 1, 1, 3]
    assert Standings(seen).of(ISLAND, rows[:3], 0).face.tolist() == [2, 2, 2]


def test_an_empty_island_has_a_standing(seen):
    standings = Standings(seen)
    assert plain(standings.of(ISLAND, [], 0)) == []
    assert plain(standings.of(ISLAND, [row(1, 0)], 0)) == [True]
    assert plain(standings.of(ISLAND, [], 0)) == []


def test_whatever_changes_it_is_what_it_would_be_if_judged_anew(seen):
    random, kept, rows = np.random.default_rng(0), Standings(seen), []
    for step in range(40):
        if random.integers(3) and rows:
            del rows[random.integers(len(rows))]
        rows += [row(int(random.integers(1, 30)) + 100 * step, int(random.integers(12))) for _ in range(3)]
        rows.sort(key=lambda each: each[0].learnware_id)
        seen.new = {rows[0][0].owner}
        found, anew = kept.of(ISLAND, tuple(rows), step), Standings(seen).of(ISLAND, tuple(rows), step)
        for of in ("face", "age", "odd", "new"):
            assert getattr(found, of).tolist() == getattr(anew, of).tolist()


def test_among_many_a_change_is_judged_after_a_while(seen, monkeypatch):
    monkeypatch.setattr(module, "FEW", 2)
    standings = Standings(seen)
    seen.times = {(2).to_bytes(32): 9 * SIMULTANEOUS, (4).to_bytes(32): 9 * SIMULTANEOUS}
    before = [row(1, 0), row(2, 0), row(3, 1)]
    assert plain(standings.of(ISLAND, before, 0)) == [True, True, True]
    standings.wait()
    assert plain(standings.of(ISLAND, before, 0)) == [True, False, True]
    after = [*before[1:], row(4, 1)]
    assert plain(standings.of(ISLAND, after, REFRESHED - 1)) == [True, True, True]
    standings.of(ISLAND, after, REFRESHED)
    standings.wait()
    assert plain(standings.of(ISLAND, after, REFRESHED)) == [True, True, False]
