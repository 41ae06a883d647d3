"""Whatever the network does, honest nodes end with equal catalogues, and nothing forged is in any of them."""

import os

import pytest
from simulation import World

SEEDS = [int(os.environ["ATOLL_SEED"])] if "ATOLL_SEED" in os.environ else range(20)
STEPS = 25


def play(seed, loss):
    """A failing seed is in the test's name; ATOLL_SEED=n replays it alone."""
    world = World(seed, loss=loss)
    for _ in range(STEPS):
        world.step()
    world.heal()
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_catalogues_become_equal_and_hold_nothing_forged(seed):
    loss = (0.0, 0.2, 0.4)[seed % 3]
    world = play(seed, loss)
    most = 8 if loss == 0 else 16
    rounds = world.rounds_until_equal(most)
    assert len(world.whole_views()) == 1, f"seed {seed}: not equal after {rounds} rounds, loss {loss}"
    for node in world.honest:
        held = {record.digest for record in node.records.values()}
        held |= {log.head.record.digest for log in node.replica.logs.values()}
        held |= {signed.record.digest for signed in node.replica.roll.decrees.values()}
        assert not held & world.forged
    (view,) = world.whole_views()
    assert not {owner for owner, _ in view} & world.revoked
    assert view, "nothing was published: the run says nothing"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 220))
def test_more_seeds(seed):
    test_catalogues_become_equal_and_hold_nothing_forged(seed)
