"""What is listed more than once takes one place, under the eldest; what is doubtful comes last unless it is of use."""

import msgspec
from atoll.engine.semantic import SemanticQuery, SemanticSpec
from atoll.node.search.merge import PER_OWNER, WEIGHT, fold, hits
from atoll.node.search.plan import Candidate, plan, rank
from atoll.node.search.query import SearchQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, SpecSummary
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OWNERS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32).public_key().public_bytes_raw() for n in range(12)]
HOME, FARM, ISLAND = b"H" * 32, b"F" * 32, b"i" * 32


def listing(number, owner, federation=HOME, island=ISLAND, name=""):
    specs = (SpecSummary(island, bytes(512), 0.3, 32, bytes(32)),)
    semantic = SemanticSpec(name or f"number {number}")
    return Listing(OWNERS[owner], federation, number.to_bytes(32), bytes(32), 1, 1, "live", semantic, specs)


def candidate(number, owner, mmd2, *, of=None, age=0, federation=HOME, island=ISLAND, **flags):
    """Number ``number`` of an owner, a copy of ``of``."""
    listed = listing(number, owner, federation, island)
    face = of if of is not None else (federation, OWNERS[owner], listed.learnware_id)
    summary = listed.specifications[0]
    return Candidate(listed, summary, mmd2, 0.3, may=("match",), face=face, age=age, **flags)


def face(number, owner, federation=HOME):
    return federation, OWNERS[owner], number.to_bytes(32)


def shown(everything, weights=None, limit=10):
    folded = fold(rank(everything), everything)
    asked = {ISLAND: 0.3, b"j" * 32: 0.3}
    return hits(folded, weights or {}, asked, lambda peer: f"name of {peer}", lambda _: None, limit)


def numbers(found):
    return [int(hit.learnware_id, 16) for hit in found]


def test_a_copy_is_a_holder_of_the_eldest_wherever_it_ranks():
    original = candidate(1, 1, 0.2, age=3)
    nearer = candidate(2, 2, 0.1, of=face(1, 1), age=5)
    found = shown([original, nearer, candidate(3, 3, 0.15)])
    assert numbers(found) == [3, 1]
    assert [(holder.learnware_id, holder.owner) for holder in found[1].holders] == [(nearer.id, peer_id(OWNERS[2]))]
    assert found[1].holders[0].owner_name == f"name of {peer_id(OWNERS[2])}"
    assert found[0].holders == ()


def test_where_the_eldest_is_not_admitted_the_next_is_shown():
    found = shown([candidate(2, 2, 0.1, of=face(1, 1), age=5), candidate(3, 3, 0.1, of=face(1, 1), age=4)])
    assert numbers(found) == [3]
    assert [holder.learnware_id for holder in found[0].holders] == [(2).to_bytes(32).hex()]


def test_another_federation_of_the_same_owner_is_told():
    here, there = candidate(1, 1, 0.1), candidate(1, 1, 0.1, federation=FARM, of=face(1, 1), age=1)
    found = shown([here, there])
    assert numbers(found) == [1]
    assert [holder.federation for holder in found[0].holders] == [FARM.hex()]


def test_two_that_are_each_the_elder_in_one_island_are_shown_once():
    other = b"j" * 32
    first = [candidate(1, 1, 0.3, age=1), candidate(1, 1, 0.1, island=other, of=face(2, 2), age=2)]
    second = [candidate(2, 2, 0.1, of=face(1, 1), age=2), candidate(2, 2, 0.2, island=other, age=1)]
    assert len(shown([*first, *second])) == 1


def test_a_copy_takes_no_place_of_its_owner():
    copies = [candidate(n, 2, 0.01 * n, of=face(n, 1), age=9) for n in range(1, 8)]
    originals = [candidate(n, 1, 0.1 + 0.01 * n) for n in range(1, 8)]
    own = candidate(20, 2, 0.5)
    assert numbers(shown([*copies, *originals, own])) == [*range(1, PER_OWNER + 1), 20]


def test_what_is_doubtful_comes_last_unless_the_mixture_gives_it_weight():
    doubted = [candidate(1, 1, 0.1, hub=True), candidate(2, 2, 0.2, odd=True), candidate(3, 3, 0.3, new=True)]
    plain = [candidate(n, n, 0.1 * n) for n in (4, 5)]
    assert numbers(shown([*doubted, *plain])) == [4, 5, 1, 2, 3]
    assert numbers(shown([*doubted, *plain], {doubted[1].key: WEIGHT})) == [2, 4, 5, 1, 3]
    assert numbers(shown([*doubted, *plain], limit=2)) == [4, 5]
    assert [hit.hub for hit in shown([*doubted, *plain])] == [False, False, True, False, False]


class Shelf:
    """What a search by words needs of the sketches."""

    def first_seen(self, listing):
        return listing.issued_at


def test_words_rank_by_how_well_they_fit_and_copies_are_told():
    found = [listing(1, 1, name="wheats"), listing(2, 2, name="wehat"), listing(3, 3, name="wheat")]
    claimed = msgspec.structs.replace(listing(3, 4, name="wheat"), issued_at=9)
    query = SearchQuery(semantic=SemanticQuery(text="wheat"), user="somebody")
    planned = plan(query, [], lambda: [*found, claimed], Shelf(), 0)
    everything = [msgspec.structs.replace(each, may=("match",)) for each in planned.candidates]
    result = shown(everything)
    assert numbers(result) == [1, 3]  # what is only alike is not found where something fits
    assert [holder.owner for holder in result[1].holders] == [peer_id(OWNERS[4])]
    assert result[0].mmd2 is None
    alike = plan(SearchQuery(semantic=SemanticQuery(text="wheaty"), user="somebody"), [], lambda: found, Shelf(), 0)
    assert [each.listing.semantic.name for each in alike.candidates] == ["wheat", "wheats", "wehat"]
