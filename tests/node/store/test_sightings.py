"""First sight of a specification: what an owner says later, or under another name, does not change it."""

import msgspec
import numpy as np
import pytest
from atoll.engine.semantic import SemanticSpec
from atoll.node.store.environment import Store
from atoll.node.store.sightings import PROBATION, SETTLING, Sightings
from atoll.protocol.limits import DAY
from atoll.protocol.listings import Listing, SpecSummary

HOME, FARM, FEDERATION, OTHER = b"H" * 32, b"F" * 32, b"1" * 32, b"2" * 32
OWNER, HEIR = b"o" * 32, b"h" * 32


def spec(island, seed, shift=0):
    values = np.random.default_rng(seed).integers(-60, 60, 512)
    values[::2] += shift
    return SpecSummary(island, values.astype(np.int8).tobytes(), 0.3, 32, bytes(32))


def listing(*specs, owner=OWNER, federation=FEDERATION, number=1):
    return Listing(
        owner, federation, number.to_bytes(32), bytes(32), 1, 1, "live", SemanticSpec("it"), specs
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def sightings(store):
    return Sightings(store)


@pytest.fixture
def see(store, sightings):
    """``see(listing, now)`` as the catalogue does."""

    def see(*listings, now, gone=(), before=()):
        times = store.write(lambda txn: sightings.write(txn, listings, gone, list(before), now)).result()
        sightings.keep(times, gone)

    return see


def key(each):
    return each.federation, each.owner, each.learnware_id


def test_a_specification_keeps_its_time_when_it_is_signed_again(sightings, see):
    first = listing(spec(HOME, 1))
    see(first, now=100)
    see(msgspec.structs.replace(listing(spec(HOME, 1, shift=1)), seq=2), now=200)
    assert sightings.first(key(first), HOME) == 100


def test_another_specification_begins_another_time_and_other_islands_keep_theirs(sightings, see):
    see(listing(spec(HOME, 1)), now=100)
    see(listing(spec(HOME, 1), spec(FARM, 2)), now=200)
    see(listing(spec(HOME, 3), spec(FARM, 2)), now=300)
    assert [sightings.first(key(listing()), island) for island in (HOME, FARM, b"")] == [300, 200, 100]


def test_small_steps_lead_to_no_elder_specification(sightings, see):
    for step in range(1, 8):
        see(listing(spec(HOME, 1, shift=step)), now=100 * step)
    assert sightings.first(key(listing()), HOME) > 100


def test_whoever_hands_over_hands_the_times_over(sightings, see):
    see(listing(spec(HOME, 1)), now=100)
    see(listing(spec(HOME, 1), owner=HEIR), now=200, before=[OWNER])
    see(listing(spec(HOME, 1), owner=b"s" * 32), now=300)
    assert sightings.first(key(listing(owner=HEIR)), HOME) == 100
    assert sightings.first(key(listing(owner=b"s" * 32)), HOME) == 300


def test_times_outlive_the_process_and_end_with_what_was_seen(store, sightings, see):
    kept, gone, left = listing(spec(HOME, 1)), listing(number=2), listing(spec(HOME, 1), federation=OTHER)
    see(kept, gone, left, now=100)
    see(now=200, gone=[key(gone)])
    store.write(lambda txn: sightings.forget(txn, OTHER)).result()
    again = Sightings(store)
    with store.view() as txn:
        for federation in (FEDERATION, OTHER):
            again.load(txn, federation)
    for each in (sightings, again):
        assert [each.first(key(one), b"") for one in (kept, gone, left)] == [100, 0, 0]


def test_a_newcomer_is_one_for_a_month_unless_all_are(sightings, see):
    see(listing(owner=OWNER), now=DAY)
    see(listing(owner=HEIR), now=DAY + SETTLING)
    late = DAY + 2 * SETTLING
    see(listing(owner=b"s" * 32), now=late)
    assert not sightings.newcomer(FEDERATION, HEIR, late)
    assert sightings.newcomer(FEDERATION, b"s" * 32, late)
    assert not sightings.newcomer(FEDERATION, b"s" * 32, late + PROBATION)
