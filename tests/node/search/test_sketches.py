"""The sketches of the catalogue in memory: as they would be if they were gathered anew for every search."""

import msgspec
import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme, sketch
from atoll.node.search.plan import MAX_OWNERS, SHORTLIST, plan
from atoll.node.search.query import SearchQuery, SpecificationQuery
from atoll.node.search.sketches import FRESH_MS, CatalogueSketches
from atoll.protocol.listings import Listing, SpecSummary

FEDERATIONS = [bytes([1]) * 32, bytes([2]) * 32]
OWNERS = [bytes([number]) * 32 for number in range(10, 15)]


class Shelves:
    """A catalogue whose listings come, change, hide and go."""

    def __init__(self):
        self.listings, self.hidden, self.listeners = {}, set(), []

    def put(self, listing):
        self.listings[listing.federation, listing.owner, listing.learnware_id] = listing
        self.tell(listing.federation, listing.owner)

    def drop(self, key):
        del self.listings[key]
        self.tell(*key[:2])

    def leave(self, federation):
        self.listings = {key: listing for key, listing in self.listings.items() if key[0] != federation}
        self.tell(federation, b"")

    def tell(self, federation, owner):
        for listener in self.listeners:
            listener(federation, owner)

    def owners(self):
        return sorted({key[:2] for key in self.listings})

    def of_owner(self, federation, owner):
        return [listing for key, listing in sorted(self.listings.items()) if key[:2] == (federation, owner)]

    def in_island(self, island, now):
        found = [listing for key, listing in sorted(self.listings.items()) if key not in self.hidden]
        return [each for each in found if any(spec.island == island for spec in each.specifications)]

    def first_seen(self, listing, island=b""):
        return 0

    def newcomer(self, federation, owner, now):
        return False

    def on_change(self, listener):
        self.listeners.append(listener)


@pytest.fixture(scope="module")
def islands():
    random = np.random.default_rng(0)
    return [Island.mint(random.normal(size=(60, 3)) * spread) for spread in (1.0, 5.0)]


def rkme(random, island):
    points = (random.normal(size=3) + 0.3 * random.normal(size=(6, 3))).astype(np.float32)
    return Rkme(points, np.full(6, 1 / 6, np.float32), island.gamma, 50)


def listing(random, islands, federation=None, owner=None, number=None):
    specifications = []
    for island in islands:
        short = sketch(rkme(random, island), island)
        specifications.append(SpecSummary(island.digest, short.values.tobytes(), short.norm2, 32, bytes(32)))
    return Listing(
        owner or OWNERS[random.integers(len(OWNERS))], federation or FEDERATIONS[random.integers(2)],
        int(random.integers(8) if number is None else number).to_bytes(32), random.bytes(32), 1, 1, "live",
        SemanticSpec("made"), tuple(specifications[: random.integers(1, 3)]),
    )  # fmt: skip


def shown(sketches, island, asked, now=0):
    """What a search sees: [(federation, owner, learnware, revision, distance)]."""
    found = sketches.nearest(island.digest, asked, None, now)
    rows = [found.placed.rows[place][0] for place in found.places]
    return [
        (row.federation, row.owner, row.learnware_id, row.revision, distance)
        for row, distance in zip(rows, found.mmd2.tolist(), strict=True)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_after_any_changes_it_is_what_it_would_be_if_made_anew(islands, seed):
    random, shelves = np.random.default_rng(seed), Shelves()
    kept = CatalogueSketches(shelves)
    for step in range(60):
        keys, act = sorted(shelves.listings), random.integers(6)
        if act <= 2 or not keys:
            shelves.put(listing(random, islands))
        elif act == 3:
            shelves.drop(keys[random.integers(len(keys))])
        elif act == 4:
            key = keys[random.integers(len(keys))]
            shelves.put(msgspec.structs.replace(shelves.listings[key], revision=random.bytes(32)))
        elif random.integers(8) == 0:
            shelves.leave(FEDERATIONS[random.integers(2)])
        if step % 3 == 0:
            for island in islands:
                asked = sketch(rkme(random, island), island)
                assert shown(kept, island, asked) == shown(CatalogueSketches(shelves), island, asked)


def test_what_expires_without_an_event_is_gone_soon(islands):
    random, shelves = np.random.default_rng(1), Shelves()
    shelves.put(listing(random, islands[:1]))
    kept, asked = CatalogueSketches(shelves), sketch(rkme(random, islands[0]), islands[0])
    assert len(shown(kept, islands[0], asked, now=0)) == 1
    shelves.hidden |= set(shelves.listings)
    assert shown(kept, islands[0], asked, now=FRESH_MS) == []


def test_whoever_claims_the_learnware_of_another_owner_lists_another_one(islands):
    random, shelves = np.random.default_rng(2), Shelves()
    for owner in OWNERS[:2]:
        for federation in FEDERATIONS:
            shelves.put(listing(random, islands[:1], federation, owner, 7))
    query = SearchQuery((SpecificationQuery(islands[0].digest, rkme(random, islands[0])),), user="somebody")
    planned = plan(query, islands[:1], list, CatalogueSketches(shelves), 0)
    assert sorted(each.listing.owner for each in planned.candidates) == OWNERS[:2]


def test_of_many_owners_those_of_the_nearest_are_asked(islands):
    random, shelves = np.random.default_rng(3), Shelves()
    for number in range(2 * MAX_OWNERS):
        shelves.put(listing(random, islands[:1], FEDERATIONS[0], (number + 1).to_bytes(32), number))
    query = SearchQuery((SpecificationQuery(islands[0].digest, rkme(random, islands[0])),), user="somebody")
    planned = plan(query, islands[:1], list, CatalogueSketches(shelves), 0)
    assert len(planned.questions) == MAX_OWNERS
    asked = {question[0] for question in planned.questions}
    assert {each.owner for each in planned.candidates[:MAX_OWNERS]} == asked


def test_the_shortlist_holds_the_nearest_and_what_a_mixture_needs(islands):
    random, shelves, island = np.random.default_rng(4), Shelves(), islands[0]
    for number in range(2 * SHORTLIST):
        shelves.put(listing(random, islands[:1], FEDERATIONS[0], OWNERS[0], number))
    asked = rkme(random, island)
    query = SearchQuery((SpecificationQuery(island.digest, asked),), user="somebody")
    sketches = CatalogueSketches(shelves)
    planned = plan(query, [island], list, sketches, 0)
    found = sketches.nearest(island.digest, sketch(asked, island), None, 0)
    nearest = {found.placed.rows[place][0].learnware_id for place in found.places[:SHORTLIST]}
    support = {found.placed.rows[found.places[number]][0].learnware_id for number in found.support}
    assert {each.listing.learnware_id for each in planned.candidates} == nearest | support
    assert support
