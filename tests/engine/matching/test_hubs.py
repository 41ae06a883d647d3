"""Hubs and odd norms: what poisons a catalogue stands out in it, and what is in good faith does not."""

import numpy as np
import pytest
from atoll.engine.matching import neighbourhoods, odd_norms
from atoll.engine.matching.hubs import LEAST_LISTINGS


@pytest.fixture(scope="module")
def honest():
    """Sketches of families of near neighbours (300, 512)."""
    random = np.random.default_rng(5)
    families = random.normal(size=(40, 512)) * 0.02 + random.normal(size=512) * 0.015
    return (families[np.arange(300) % 40] + 0.003 * random.normal(size=(300, 512))).astype(np.float32)


def hubs(rows, also):
    everything = np.concatenate([rows, also]).astype(np.float32)
    return neighbourhoods(everything, 0).hubs(everything, np.zeros(len(everything)))


def test_no_honest_listing_is_a_hub(honest):
    assert not hubs(honest, honest[:0]).any()


@pytest.mark.parametrize("copies", [1, 15, 60])
def test_a_barycentre_is_a_hub_however_many_there_are(honest, copies):
    noise = np.random.default_rng(0).normal(size=(copies, 512))
    found = hubs(honest, honest.mean(axis=0) + 0.001 * noise)
    assert found[300:].all()
    assert not found[:300].any()


def test_among_few_listings_nobody_is_a_hub(honest):
    few = honest[: LEAST_LISTINGS - 2]
    assert not hubs(few, few.mean(axis=0)[None]).any()


def test_of_very_many_listings_some_are_looked_at(honest, monkeypatch):
    monkeypatch.setattr("atoll.engine.matching.hubs.PROBES", 120)
    rows = np.concatenate([honest, honest.mean(axis=0)[None]]).astype(np.float32)
    around = neighbourhoods(rows, 7)
    assert len(around.probes) == 120
    assert np.flatnonzero(around.hubs(rows, np.zeros(301))).tolist() == [300]


def test_claimed_noise_makes_a_hub(honest):
    rows = np.concatenate([honest, np.zeros((1, 512))]).astype(np.float32)
    biases = np.append(np.zeros(300), 512.0)
    assert neighbourhoods(rows, 0).hubs(rows, biases)[-1]


def odd(own, claimed=None, biases=None):
    own = np.asarray(own, np.float64)
    return np.flatnonzero(
        odd_norms(
            own if claimed is None else np.asarray(claimed), own, np.zeros(len(own)) if biases is None else biases
        )
    ).tolist()


def test_a_norm_is_odd_beyond_four_times_the_median_or_below_a_quarter():
    usual = np.linspace(0.15, 0.3, 30)
    assert odd([*usual, 1.0, 0.01]) == [30, 31]
    assert odd([*usual[:10], 1.0, 0.01]) == []  # too few to say


def test_a_norm_that_its_sketch_belies_is_odd():
    assert odd([0.2, 0.2, 0.0], claimed=[0.21, 0.9, 0.2]) == [1, 2]


def test_more_noise_than_norm_is_odd():
    usual = np.full(30, 0.2)
    assert odd([*usual, 0.25, 5.0], biases=np.array([*np.zeros(30), 0.05, 4.8])) == [31]
