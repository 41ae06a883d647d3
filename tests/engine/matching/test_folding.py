"""Which specifications are copies of an elder one, and which are near neighbours in good faith."""

import numpy as np
import pytest
from atoll.engine.matching import Specifications, faces, unchanged
from atoll.engine.matching.folding import LEAST, MOST
from atoll.engine.specs import Rkme, fit_rkme, sketch
from atoll.engine.specs.sketch import Sketch


def given(rows, owners=None, learnwares=None, counts=512.0, biases=0.0):
    count = len(rows)
    return Specifications(
        np.asarray(rows, np.float32), np.full(count, 0.4), np.full(count, counts), np.full(count, biases),
        np.arange(count) if owners is None else np.array(owners),
        np.arange(count) if learnwares is None else np.array(learnwares) + 1000,
    )  # fmt: skip


def base(seed=0, scale=0.03):
    return scale * np.random.default_rng(seed).normal(size=512)


def moved(values, squared, seed=1):
    step = np.random.default_rng(seed).normal(size=values.shape)
    return values + step * np.sqrt(squared / np.square(step).sum())


def test_a_copy_has_the_face_of_the_eldest():
    rows = [base(0), base(1), moved(base(0), LEAST / 2, 5), base(0), base(2)]
    assert faces(given(rows)).tolist() == [0, 1, 0, 0, 4]


def test_no_chain_of_copies_leads_away_from_the_eldest():
    step = np.sqrt(0.9 * LEAST) * np.eye(512)[0]
    rows = [base() + number * step for number in range(4)]
    assert faces(given(rows, counts=1e6)).tolist() == [0, 0, 2, 2]


def test_models_of_one_owner_on_the_same_data_are_not_copies_of_each_other():
    rows = [base()] * 4
    assert faces(given(rows, owners=[7, 7, 8, 8])).tolist() == [0, 1, 0, 0]


def test_a_learnware_in_two_federations_is_one_though_one_lists_its_stand_in():
    rows = [base(), moved(base(), 0.01)]
    assert faces(given(rows, owners=[7, 7], learnwares=[1, 1])).tolist() == [0, 0]
    assert faces(given(rows, owners=[7, 7], learnwares=[1, 2])).tolist() == [0, 1]


def test_whoever_claims_few_rows_absorbs_no_more_than_the_largest_radius():
    rows = [base(), moved(base(), 1.1 * MOST)]
    assert faces(given(rows, counts=1.0)).tolist() == [0, 1]


def test_noise_that_is_not_there_makes_a_copy():
    rows = [base(), moved(base(), 0.01)]
    assert faces(given(rows, biases=0.05)).tolist() == [0, 0]
    assert faces(given(rows, biases=0.001)).tolist() == [0, 1]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 700])
def test_blocks_make_no_difference(count):
    random = np.random.default_rng(count)
    rows = np.array([base(seed) for seed in random.integers(0, 40, count)]).reshape(count, 512)
    owners = random.integers(0, 60, count)
    expected, shown = [], []
    for place in range(count):
        elder = [e for e in shown if np.allclose(rows[e], rows[place]) and owners[e] != owners[place]]
        expected.append(elder[0] if elder else place)
        shown += [] if elder else [place]
    assert faces(given(rows, owners=owners)).tolist() == expected


def test_samples_of_one_distribution_are_hardly_ever_copies(plane):
    random = np.random.default_rng(3)
    made = []
    for rows in [300, 600, 1200, 2400] * 10:
        points = np.concatenate([random.normal(-1, 0.5, (rows // 2, 3)), random.normal(1, 0.3, (rows // 2, 3))])
        made.append(fit_rkme(points.astype(np.float32), size=20, gamma=plane.gamma))
    rows = np.array([sketch(each, plane).floats() for each in made])
    counts = np.array([2.0 ** np.floor(np.log2(each.count)) for each in made])
    norms = np.array([each.norm2 for each in made])
    numbers = np.arange(len(made))
    face = faces(Specifications(rows, norms, counts, np.zeros(40), numbers, numbers + 99))
    assert (face != numbers).sum() <= 1


def test_a_sketch_is_unchanged_by_rounding_and_by_nothing_else(plane):
    rkme = Rkme(np.eye(3, dtype=np.float32), np.full(3, 1 / 3, np.float32), plane.gamma, 30)
    old = sketch(rkme, plane)
    rounded = Sketch(np.clip(old.values + np.random.default_rng(0).integers(0, 2, 512), -127, 127).astype(np.int8), 0.4)
    other = sketch(Rkme(rkme.points + np.float32(0.1), rkme.weights, rkme.gamma, 30), plane)
    assert unchanged(old, rounded)
    assert not unchanged(old, other)
    assert not unchanged(old, Sketch(old.values, old.norm2, sigma=0.01))
