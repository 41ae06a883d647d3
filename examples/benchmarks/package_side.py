"""The reference package's half of the benchmarks; runs inside an environment that has ``learnware==0.4.0.post1``.

    python package_side.py TASK INPUT.npz OUTPUT.npz

Reads the arrays of a task, runs it with the package's own classes, writes the results and ``seconds``, the CPU time
of each repetition. Imports nothing of Atoll. One thread.
"""

import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from learnware.market.easy.searcher import EasyStatSearcher
from learnware.specification import RKMETableSpecification

SPEC = "RKMETableSpecification"
TASKS = {}


def task(function):
    """Make ``function(arrays) -> results`` a task of this name."""
    TASKS[function.__name__] = function
    return function


def timed(function, repeats):
    """The last result of ``function()`` and the CPU seconds of each run."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        result = function()
        seconds.append(time.process_time() - started)
    return result, np.array(seconds)


@task
def single_search(arrays):
    """``points`` (n, m, d), ``weights`` (n, m), one query (k, d) and (k,): all distances, sorted."""
    searcher, market = _market(arrays)
    query = _rkme(arrays["query_points"], arrays["query_weights"], arrays["gamma"])
    (distances, found), seconds = timed(
        lambda: searcher._search_by_rkme_spec_single(market, query), int(arrays["repeats"])
    )
    return {"seconds": seconds, "order": [each.id for each in found], "distances": distances}


@task
def greedy_mixture(arrays):
    """As the package's search does it: single search, then greedy over the 25 nearest; several queries."""
    searcher, market = _market(arrays)
    rows = {"seconds": [], "members": [], "weights": [], "claimed": []}
    for points, weights in zip(arrays["query_points"], arrays["query_weights"], strict=True):
        query = _rkme(points, weights, arrays["gamma"])
        (claimed, shares, members), seconds = timed(lambda query=query: _mixture(searcher, market, query), 1)
        rows["seconds"].append(seconds[0])
        rows["members"].append(np.pad([each.id for each in members], (0, 5 - len(members)), constant_values=-1))
        rows["weights"].append(np.pad(np.asarray(shares), (0, 5 - len(members))))
        rows["claimed"].append(float(claimed))
    return rows


@task
def fit(arrays):
    """``rows`` (n, d), ``size``, ``gamma``: the package's RKME of a table."""

    def run():
        rkme = RKMETableSpecification(gamma=float(arrays["gamma"]), cuda_idx=-1)
        rkme.generate_stat_spec_from_data(arrays["rows"].astype(np.float64), K=int(arrays["size"]))
        return rkme

    rkme, seconds = timed(run, int(arrays["repeats"]))
    return {"seconds": seconds, "z": rkme.get_z(), "beta": rkme.get_beta()}


@task
def image(arrays):
    """``images`` (n, c, 32, 32): the package's RKME of images."""
    transforms = ModuleType("torchvision.transforms")
    transforms.Resize = None  # imported by the package, not used for images of its own size
    sys.modules |= {"torchvision": ModuleType("torchvision"), "torchvision.transforms": transforms}
    from learnware.specification import RKMEImageSpecification

    def run():
        rkme = RKMEImageSpecification(cuda_idx=-1)
        rkme.generate_stat_spec_from_data(arrays["images"].astype(np.float32), resize=False, verbose=False)
        return rkme

    rkme, seconds = timed(run, int(arrays["repeats"]))
    return {"seconds": seconds, "z": rkme.get_z(), "beta": rkme.get_beta()}


def _mixture(searcher, market, query, most=5):
    _, ranked = searcher._search_by_rkme_spec_single(market, query)
    return searcher._search_by_rkme_spec_mixture_greedy(ranked[: most * most], query, most)


def _market(arrays):
    searcher = EasyStatSearcher(organizer=None)
    searcher.stat_spec_type = SPEC
    return searcher, [
        _learnware(place, _rkme(points, weights, arrays["gamma"]))
        for place, (points, weights) in enumerate(zip(arrays["points"], arrays["weights"], strict=True))
    ]


def _learnware(id_, rkme):
    return SimpleNamespace(id=id_, specification=SimpleNamespace(get_stat_spec_by_name=lambda name: rkme))


def _rkme(points, weights, gamma):
    rkme = RKMETableSpecification(gamma=float(gamma), cuda_idx=-1)
    rkme.z, rkme.beta = torch.from_numpy(points).double(), torch.from_numpy(weights).double()
    return rkme


def main(arguments):
    name, source, target = arguments
    with np.load(source) as file:
        given = dict(file)
    np.savez(target, **TASKS[name](given))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
