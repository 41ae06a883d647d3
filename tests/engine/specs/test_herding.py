import numpy as np
import pytest
from atoll.engine.errors import SpecificationError
from atoll.engine.specs import Rkme, mmd2
from atoll.engine.specs.herding import herd


def test_herded_samples_follow_the_distribution_and_more_do_so_better(owners):
    rkme = owners[1]["o2"]

    def distance(count):
        samples = herd(rkme, count)
        return mmd2(Rkme(samples, np.full(count, 1 / count, np.float32), rkme.gamma, count), rkme)

    assert distance(200) < distance(10)
    assert distance(200) < 0.3 * min(mmd2(rkme, other) for name, other in owners[1].items() if name != "o2")


def test_the_same_seed_gives_the_same_samples(owners):
    rkme = owners[1]["o0"]
    np.testing.assert_array_equal(herd(rkme, 20, seed=1), herd(rkme, 20, seed=1))
    assert herd(rkme, 3).dtype == np.float32


@pytest.mark.parametrize(("count", "spread"), [(0, 0.5), (10**6, 0.5), (5, -1.0), (5, float("nan"))])
def test_impossible_requests_are_refused(owners, count, spread):
    with pytest.raises(SpecificationError):
        herd(owners[1]["o0"], count, spread=spread)
