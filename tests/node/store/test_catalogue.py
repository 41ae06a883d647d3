"""The catalogue: what is looked up is what a scan would find, what is stored comes back, what cannot be is undone."""

import hashlib
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest
from atoll.engine.semantic import LICENSES, SCENARIOS, SemanticQuery, SemanticSpec
from atoll.node import identity as identities
from atoll.node.errors import StoreError
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.decrees import Decree, Takedown, sign_decree
from atoll.protocol.heads import Head, sign_head
from atoll.protocol.listings import Listing, SpecSummary, sign_listing
from atoll.protocol.log import Line, root_of
from atoll.protocol.sync import Kind, Notice
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_700_000_000_000
ISLANDS = [hashlib.sha256(bytes([n])).digest() for n in range(3)]
WORDS = ("digits", "wine", "flights")


class Opened:
    """A home's store with a federation founded by its own key."""

    def __init__(self, home):
        self.store = Store(home / "store")
        self.identity = identities.load(home)
        self.federations = Federations(self.store, self.identity)
        self.catalogue = Catalogue(self.store, self.federations)

    def publish(self, listings, seq, now=NOW, epoch=1, others=()):
        fed = self.federations.all()[0].id
        signed = [sign_listing(self.identity.key, each) for each in listings]
        lines = [*others, *map(Line.of, signed)]
        counted = [line for line in lines if line.counted]
        head = Head(
            self.identity.public, fed, epoch, seq, len(counted), root_of(counted), now, now + limits.HEAD_LIFETIME
        )
        record = sign_head(self.identity.key, head).record
        certificate = self.federations.certificate_of(fed, self.identity.public)
        return self.catalogue.apply(fed, certificate, record, [each.record for each in signed], now)

    def listing(self, number, seq, **changes):
        random = np.random.default_rng(number)
        semantic = SemanticSpec(
            f"{random.choice(WORDS)} {number}", scenario=(str(random.choice(SCENARIOS)),),
            license=str(random.choice(LICENSES)),
        )  # fmt: skip
        spec = SpecSummary(ISLANDS[number % 3], bytes(512), 0.2, 64, bytes(32))
        fields = {
            "owner": self.identity.public, "federation": self.federations.all()[0].id, "revision": bytes(32),
            "learnware_id": hashlib.sha256(b"%d" % number).digest(), "seq": seq, "issued_at": NOW, "status": "live",
            "semantic": semantic, "specifications": (spec,),
        }  # fmt: skip
        return Listing(**(fields | changes))


@pytest.fixture
def home(tmp_path):
    identities.create(tmp_path)
    return tmp_path


@pytest.fixture
def opened(home):
    made = Opened(home)
    made.federations.create("f", NOW)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    home = tmp_path_factory.mktemp("many")
    identities.create(home)
    made = Opened(home)
    made.federations.create("f", NOW)
    made.publish([made.listing(number, number + 1) for number in range(60)], 61)
    yield made
    made.store.close()


QUERIES = st.builds(
    SemanticQuery,
    text=st.sampled_from(["", "digits", "wine 1", "flihgts", "nothing of the kind"]),
    scenario=st.lists(st.sampled_from(SCENARIOS), max_size=4).map(tuple),
    license=st.lists(st.sampled_from(LICENSES), max_size=4).map(tuple),
)


@given(QUERIES)
def test_words_and_tags_find_what_a_scan_finds(many, query):
    everything = many.catalogue.alive(NOW)
    assert many.catalogue.alive(NOW, query) == [each for each in everything if query.matches(each.semantic)]


def test_ids_owners_and_islands_find_their_listings(many):
    everything = many.catalogue.alive(NOW)
    assert len(everything) == 60
    for island in ISLANDS:
        assert many.catalogue.in_island(island, NOW) == [e for e in everything if e.specifications[0].island == island]
    assert many.catalogue.find(everything[7].learnware_id, NOW) == everything[7]
    assert many.catalogue.of_owner(everything[0].federation, many.identity.public) == everything


def test_a_restart_shows_the_same(home, opened):
    opened.publish([opened.listing(n, n + 1) for n in range(5)], 6)
    before, root = opened.catalogue.alive(NOW), opened.catalogue.root(opened.federations.all()[0].id, NOW)
    opened.store.close()
    again = Opened(home)
    assert again.catalogue.alive(NOW) == before
    assert again.catalogue.root(again.federations.all()[0].id, NOW) == root
    again.store.close()


def test_withdrawn_and_paused_listings_are_not_shown_and_an_expired_head_hides_all(opened):
    first = [opened.listing(n, n + 1) for n in range(3)]
    opened.publish(first, 3)
    lines = opened.catalogue.log(first[0].federation, opened.identity.public).lines
    news = [opened.listing(0, 4, status="withdrawn", specifications=()), opened.listing(1, 5, status="paused")]
    opened.publish(news, 5, others=[lines[first[2].learnware_id]])
    assert [each.learnware_id for each in opened.catalogue.alive(NOW)] == [first[2].learnware_id]
    assert opened.catalogue.in_island(ISLANDS[0], NOW) == []
    later = NOW + limits.HEAD_LIFETIME
    assert opened.catalogue.alive(later) == []
    assert "expired" in opened.catalogue.hidden(first[0].federation, opened.identity.public, later)


@pytest.fixture
def full(opened, monkeypatch):
    """A context in which nothing can be stored."""

    @contextmanager
    def full_disk():
        failed: Future = Future()
        failed.set_exception(StoreError("the disk is full"))
        with monkeypatch.context() as patch:
            patch.setattr(opened.store, "write", lambda operation: failed)
            yield

    return full_disk


def test_what_cannot_be_stored_has_not_happened(opened, full):
    opened.publish([opened.listing(0, 1)], 1)
    before, position = opened.catalogue.alive(NOW), opened.catalogue.log(
        opened.federations.all()[0].id, opened.identity.public).position  # fmt: skip
    with full(), pytest.raises(StoreError):
        opened.publish([opened.listing(1, 2)], 2, others=[Line.of(sign_listing(opened.identity.key, before[0]))])
    assert opened.catalogue.alive(NOW) == before
    assert opened.catalogue.log(opened.federations.all()[0].id, opened.identity.public).position == position
    assert opened.publish([opened.listing(1, 2)], 2, others=[Line.of(sign_listing(opened.identity.key, before[0]))])
    assert len(opened.catalogue.alive(NOW)) == 2


def test_a_decree_that_cannot_be_stored_is_not_in_force(opened, full):
    opened.publish([opened.listing(0, 1)], 1)
    before, federation = opened.catalogue.alive(NOW), opened.federations.all()[0].id
    taken = Takedown(opened.identity.public, before[0].learnware_id)
    decree = sign_decree(opened.identity.key, Decree(federation, opened.identity.public, 1, NOW, takedowns=(taken,)))
    with full(), pytest.raises(StoreError):
        opened.federations.take_decree(federation, decree.record, NOW)
    assert opened.catalogue.alive(NOW) == before
    assert opened.federations.decrees(federation) == ()
    assert opened.federations.take_decree(federation, decree.record, NOW)
    assert opened.catalogue.alive(NOW) == []


def test_a_fork_or_a_pardon_that_cannot_be_stored_has_not_happened(opened, full):
    federation, owner = opened.federations.all()[0].id, opened.identity.public
    heads = [Head(owner, federation, 1, 1, 0, root_of([]), NOW + n, NOW + limits.HEAD_LIFETIME) for n in range(2)]
    proof = Notice(federation, Kind.FORK, tuple(sign_head(opened.identity.key, head).record for head in heads))
    with full(), pytest.raises(StoreError):
        opened.catalogue.take_notice(proof, NOW)
    assert opened.catalogue.quarantined(federation) == {}
    assert opened.catalogue.take_notice(proof, NOW)
    with full(), pytest.raises(StoreError):
        opened.catalogue.pardon(federation, owner)
    assert owner in opened.catalogue.quarantined(federation)
    opened.catalogue.pardon(federation, owner)
    assert opened.catalogue.quarantined(federation) == {}
    assert not opened.catalogue.take_notice(proof, NOW), "pardoned"


def test_leaving_forgets_every_listing_also_on_disk(home, opened):
    opened.publish([opened.listing(0, 1)], 1)
    federation = opened.federations.all()[0].id
    opened.federations.leave(federation)
    assert opened.catalogue.alive(NOW) == []
    with opened.store.view() as txn:
        for name in ("listings", "heads", "members", "decrees", "federations"):
            assert list(opened.store.table(name, object).raw(txn, b"")) == []


def test_what_was_seen_first_outlives_a_restart_and_a_write_that_failed(opened, home, monkeypatch):
    old, later = opened.listing(0, 1), opened.listing(3, 3)
    island = old.specifications[0].island
    opened.publish([old], 2)
    with monkeypatch.context() as patch:
        patch.setattr(opened.store, "write", _broken)
        with pytest.raises(StoreError):
            opened.publish([later], 4, NOW + 1, others=[Line.of(sign_listing(opened.identity.key, old))])
    assert opened.catalogue.first_seen(later, island) == 0
    assert opened.publish([later], 4, NOW + 2, others=[Line.of(sign_listing(opened.identity.key, old))])
    opened.store.close()
    again = Opened(home)
    for each in (opened.catalogue, again.catalogue):
        assert [each.first_seen(one, island) for one in (old, later)] == [NOW, NOW + 2]
    again.store.close()


def test_in_a_federation_that_vets_its_members_nobody_is_a_newcomer(opened):
    opened.publish([opened.listing(0, 1)], 2)
    assert not opened.catalogue.newcomer(opened.federations.all()[0].id, b"s" * 32, NOW)


def _broken(operation):
    failed = Future()
    failed.set_exception(StoreError("the disk is full"))
    return failed
