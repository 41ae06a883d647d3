"""Poisoned specifications: what strangers plant takes no place among the first five, and nothing honest goes."""

import numpy as np
import pytest

from attacks.specifications import (
    Node,
    barycentres,
    clones,
    disclosed_barycentres,
    disclosed_clones,
    measured,
    nulls,
    scattered_barycentres,
    world,
)

TAKEN, LOST = 0.01, 0.01  # share of the places, and of recall
ATTACKS = {
    "barycentres": (barycentres, 0.05, {}),
    "barycentres that are no copies of each other": (scattered_barycentres, 0.05, {"vetted": True}),
    "barycentres with an RKME to show": (disclosed_barycentres, 0.05, {"vetted": True}),
    "nothing, and what claims more noise than norm": (nulls, 0.05, {"vetted": True}),
    "copies": (clones(0.0), 0.05, {"vetted": True}),
    "copies of whatever RKME is disclosed": (disclosed_clones, 0.05, {"vetted": True}),
    "copies on a node that has seen all at once": (clones(0.0), 0.05, {"fresh": True}),
    "copies by very many keys": (clones(0.0, popular=12), 0.2, {"vetted": True}),
    "near copies by new keys": (clones(1e-3), 0.05, {}),
    "near copies that lie about their distance": (clones(1e-3), 0.05, {"lie": 0.15}),
}


@pytest.fixture(scope="module")
def market():
    """300 learnwares of 30 owners, and 6 users."""
    return world(300, 6, seed=1)


async def test_an_honest_catalogue_is_ranked_by_distance_alone(market):
    node = Node(market)
    for user, truth in zip(market.users, market.truth, strict=True):
        result = await node.search(user)
        assert [hit.learnware_id for hit in result.hits[:5]] == truth
        assert not any(hit.hub or hit.holders for hit in result.hits)
        assert [hit.mmd2 for hit in result.hits] == sorted(hit.mmd2 for hit in result.hits)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_strangers_take_no_places(market, attack):
    plant, share, circumstances = ATTACKS[attack]
    planted = plant(market, int(share * len(market.honest)), np.random.default_rng(2))
    figures = await measured(market, planted, Node(market, planted, **circumstances))
    assert figures.taken <= TAKEN
    assert figures.recall >= 1.0 - LOST


async def test_copies_are_told_as_holders_of_the_original(market):
    planted = clones(0.0, popular=3)(market, 6, np.random.default_rng(3))
    node = Node(market, planted, vetted=True)
    held = {}
    for user in market.users:
        for hit in (await node.search(user)).hits:
            held[hit.learnware_id] = {holder.learnware_id for holder in hit.holders}
    strange = {each.id for each in planted}
    assert set().union(*held.values()) == strange
    assert set(held) & {each.id for each in market.popular[:3]}
    assert not set(held) & strange


@pytest.mark.parametrize(
    ("plant", "claimed"), [(clones(0.0), 1.0), (clones(1e-3), 0.0), (disclosed_barycentres, 0.0), (nulls, 0.0)]
)
async def test_what_is_called_certain_is_the_ranking_without_strangers(market, plant, claimed):
    planted = plant(market, 15, np.random.default_rng(4))
    honest, poisoned, certain = Node(market), Node(market, planted), 0
    for user in market.users:
        alone, result = await honest.search(user), await poisoned.search(user)
        assert alone.topk_exact
        if result.topk_exact:
            certain += 1
            assert [hit.learnware_id for hit in result.hits] == [hit.learnware_id for hit in alone.hits]
    assert certain >= claimed * len(market.users)
