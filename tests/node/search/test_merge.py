"""The mixture of a search: which learnwares may be in it, and in which representation they are compared."""

import msgspec
import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme, mmd2, sketch
from atoll.node.search.merge import mixture
from atoll.node.search.plan import Candidate, plan, rank
from atoll.node.search.query import SearchQuery, SpecificationQuery
from atoll.node.search.sketches import CatalogueSketches
from atoll.protocol.listings import Listing, SpecSummary
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from made_up import MadeUpCatalogue

OWNER = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()


@pytest.fixture(scope="module")
def island():
    return Island.mint(np.random.default_rng(0).normal(size=(100, 3)))


def around(centres, island, seed):
    points = np.asarray(centres) + 0.1 * np.random.default_rng(seed).normal(size=(len(centres), 3))
    return Rkme(points.astype(np.float32), np.full(len(points), 1 / len(points), np.float32), island.gamma, 50)


def candidate(number, rkme, query, island, disclosed=True):
    """A learnware whose owner has answered exactly."""
    short = sketch(rkme, island)
    summary = SpecSummary(island.digest, short.values.tobytes(), short.norm2, 32, bytes(32))
    listing = Listing(
        OWNER, bytes(32), number.to_bytes(32), bytes(32), 1, 1, "live", SemanticSpec(f"number {number}"), (summary,)
    )
    distance = mmd2(rkme, query)
    return Candidate(listing, summary, distance, rkme.norm2, estimated=False, rkme=rkme if disclosed else None)


@pytest.fixture(scope="module")
def market(island):
    """Two corners of which the query is made, and a crowd between them that is nearer to it."""
    low, high = [-2.0] * 3, [2.0] * 3
    query = around([low] * 6 + [high] * 4, island, 0)
    crowd = [around([low] * 3 + [high] * 3 + [[0, 2, 0]] * 2, island, seed) for seed in range(1, 121)]
    rkmes = [around([low] * 5, island, 901), around([high] * 5, island, 902), *crowd]
    return query, rank(candidate(number, rkme, query, island) for number, rkme in enumerate(rkmes))


def mixed(ranked, query, island):
    """The mixture for a query, as a search finds it."""
    asked = SpecificationQuery(island.digest, query)
    sketches = CatalogueSketches(MadeUpCatalogue([each.listing for each in ranked]))
    planned = plan(SearchQuery((asked,), user="somebody"), [island], list, sketches, 0)
    return mixture(ranked, asked, planned.fields[0])


def names(members):
    return {member.listing.semantic.name for member in members}


def test_what_is_useful_only_in_a_mixture_is_a_member(market, island):
    query, ranked = market
    assert not {"number 0", "number 1"} & names(ranked[:50])
    view, members = mixed(ranked, query, island)
    assert names(members[:2]) == {"number 0", "number 1"}
    assert view.explained > 0.95


def hiding(ranked, *hidden):
    return [msgspec.structs.replace(each, rkme=None) if names([each]) <= set(hidden) else each for each in ranked]


def test_exact_products_unless_what_is_not_disclosed_is_worth_a_place(market, island):
    query, ranked = market
    exact, _ = mixed(ranked, query, island)
    assert exact.representation == "rkme"
    other, _ = mixed(hiding(ranked, *(names(ranked) - {"number 0", "number 1"})), query, island)
    assert (other.representation, other.mmd2) == ("rkme", pytest.approx(exact.mmd2, abs=1e-3))
    view, members = mixed(hiding(ranked, "number 0"), query, island)
    assert view.representation == "sketch"
    assert names(members[:2]) == {"number 0", "number 1"}
    assert mixed(hiding(ranked, *names(ranked)), query, island)[0].representation == "sketch"


def test_without_candidates_nothing_is_served(market, island):
    query, _ = market
    view, members = mixed([], query, island)
    assert (members, view.uncovered, view.served) == ((), 1.0, False)
