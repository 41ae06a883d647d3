"""Search and mixtures against the reference package: CPU time of one thread, on a catalogue with structure.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ATOLL_LEARNWARE_PYTHON=/path/to/env/bin/python
    python examples/benchmarks/matching.py [--million]

Learnwares are samples of blends of a few of 300 latent clusters; queries are fresh samples of blends of their own
(search), or fitted to fresh samples of several learnwares' distributions (mixtures). Medians: of 5 runs, for mixtures
of 5 users, of the package's single search, which takes seconds, of 3.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from statistics import median
from time import process_time

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.matching import RkmeIndex, SketchIndex, mixture_candidates, mixture_of_rkmes, nearest_in_stages
from atoll.engine.matching.sketches import APPROXIMATE_ABOVE
from atoll.engine.specs import Rkme, Sketch, fit_rkme, inner, sketch
from atoll.engine.specs.sketch import FREQUENCIES, SCALE, frequencies
from reference import Row, cpu, package

DIMENSION = 10
CLUSTERS = 300
PARTS = 5  # clusters of one learnware, at most


class Market:
    """A catalogue by seed: learnware i is always the same, and nothing of it is kept."""

    def __init__(self, points: int) -> None:
        generator = np.random.default_rng(0)
        self.points = points
        self.island = Island.mint(generator.normal(size=(500, DIMENSION)))
        self._centres = generator.normal(size=(CLUSTERS, DIMENSION)).astype(np.float32)

    def sample(self, block: int, count: int, points: int, again: int = 0) -> np.ndarray:
        """``points`` points of each of the first ``count`` learnwares of a block: float32 (count, points, d).

        ``again`` other than 0 draws other points of the same distributions.
        """
        blends = np.random.default_rng([block, 0])
        parts = blends.integers(0, CLUSTERS, size=(count, PARTS))
        shares = blends.dirichlet(np.ones(PARTS), size=count) * (
            np.arange(PARTS) < blends.integers(2, PARTS + 1, size=(count, 1))
        )
        shares /= shares.sum(1, keepdims=True)
        generator = np.random.default_rng([block, 1, again])
        draws = generator.random((count, points, 1))
        which = (draws > np.cumsum(shares, 1)[:, None, :-1]).sum(2)
        chosen = self._centres[np.take_along_axis(parts, which, 1)]
        return chosen + 0.4 * generator.standard_normal(chosen.shape, dtype=np.float32)

    def rkme(self, points: np.ndarray) -> Rkme:
        weights = np.full(len(points), 1.0 / len(points), np.float32)
        return Rkme(points, weights, self.island.gamma, 10 * len(points))

    def queries(self, count: int) -> list[Rkme]:
        return [self.rkme(points) for points in self.sample(10**6, count, self.points)]

    def blends(self, users: int, rows: int = 2000) -> Iterator[Rkme]:
        """RKMEs, fitted, of users whose rows are fresh samples of the distributions of 2 to 4 learnwares."""
        generator = np.random.default_rng(7)
        for user in range(users):
            members = generator.choice(1000, generator.integers(2, 5), replace=False)
            counts = np.rint(rows * generator.dirichlet(np.full(len(members), 3.0))).astype(int)
            fresh = self.sample(0, 1000, rows, again=user + 1)[members]
            own = np.concatenate([part[:count] for part, count in zip(fresh, counts, strict=True)])
            yield fit_rkme(own, self.points, self.island.gamma)

    def sketches(self, points: np.ndarray) -> np.ndarray:
        """The sketches of many equally weighted RKMEs, in float32: int8 (count, 512)."""
        W = frequencies(self.island.digest, DIMENSION, self.island.gamma, 0).astype(np.float32)
        angles = points.reshape(-1, DIMENSION) @ W.T
        means = [f(angles).reshape(*points.shape[:2], FREQUENCIES).mean(1) for f in (np.cos, np.sin)]
        mean = np.concatenate(means, 1) / np.sqrt(FREQUENCIES)
        return np.clip(np.rint(mean / SCALE), -127, 127).astype(np.int8)


def catalogue(market: Market, count: int, block: int = 1000) -> Iterator[tuple[dict[str, Rkme], dict[str, Sketch]]]:
    """RKMEs and sketches by id, ``block`` at a time."""
    for start in range(0, count, block):
        points = market.sample(start // block, min(block, count - start), market.points)
        ids = [f"{start + place:07d}" for place in range(len(points))]
        rkmes = {id_: market.rkme(part) for id_, part in zip(ids, points, strict=True)}
        values = market.sketches(points)
        yield rkmes, {id_: Sketch(row, rkmes[id_].norm2) for id_, row in zip(ids, values, strict=True)}


def whole(market: Market, count: int) -> tuple[dict[str, Rkme], dict[str, Sketch]]:
    rkmes: dict[str, Rkme] = {}
    sketches: dict[str, Sketch] = {}
    for some_rkmes, some_sketches in catalogue(market, count):
        rkmes |= some_rkmes
        sketches |= some_sketches
    return rkmes, sketches


def exact_and_staged_search(python: str | None = None, count: int = 10_000, points: int = 100) -> list[Row]:
    """Single search: exact over all, and sketches with the exact order of their shortlist."""
    market = Market(points)
    rkmes, sketches = whole(market, count)
    exact, sketched = RkmeIndex(rkmes), SketchIndex(sketches)
    queries = market.queries(5)
    asked = [sketch(query, market.island) for query in queries]
    ours, found = cpu(lambda: exact.nearest(queries[0]))
    staged, _ = cpu(lambda: nearest_in_stages(queries[0], asked[0], sketched, exact))
    theirs = package(
        python, "single_search", **_arrays(rkmes), query_points=queries[0].points, query_weights=queries[0].weights,
        gamma=market.island.gamma, repeats=3,
    )  # fmt: skip
    recall = np.mean([_recall(exact.nearest(q)[0], nearest_in_stages(q, a, sketched, exact)[0])
                      for q, a in zip(queries, asked, strict=True)])  # fmt: skip
    seconds = median(theirs["seconds"]) if theirs else None
    same = [int(id_) for id_ in found[0]] == theirs["order"][:10].tolist() if theirs else "-"
    size = f"N={count:g}, m={points}, d={DIMENSION}"
    return [
        Row(f"exact search, {size}", ours, seconds, {"same top 10": same}),
        Row(f"sketch + exact re-rank, {size}", staged, seconds, {"recall@10": float(recall)}),
    ]


def mixture_search(python: str | None = None, count: int = 10_000, points: int = 100, users: int = 5) -> list[Row]:
    """Search for a mixture, from the query to the weights, greedy on both sides."""
    market = Market(points)
    rkmes, sketches = whole(market, count)
    index = SketchIndex(sketches)
    asking = list(market.blends(users))
    results = [cpu(lambda query=query: _mixture(query, market.island, index, rkmes), 1) for query in asking]
    ours = [_blend_mmd2(query, rkmes, members) for query, (_, members) in zip(asking, results, strict=True)]
    most = max(len(query.weights) for query in asking)
    theirs = package(
        python, "greedy_mixture", **_arrays(rkmes), gamma=market.island.gamma,
        query_points=np.array([_padded(query.points, most) for query in asking]),
        query_weights=np.array([_padded(query.weights, most) for query in asking]),
    )  # fmt: skip
    quality: dict[str, object] = {"MMD^2 ours": float(np.median(ours))}
    if theirs:
        blends = [
            {f"{member:07d}": weight for member, weight in zip(*pair, strict=True) if member >= 0}
            for pair in zip(theirs["members"], theirs["weights"], strict=True)
        ]
        package_mmd2 = [_blend_mmd2(query, rkmes, blend) for query, blend in zip(asking, blends, strict=True)]
        quality |= {
            "package": float(np.median(package_mmd2)),
            "ratios": " ".join(f"{a / b:.2f}" for a, b in zip(ours, package_mmd2, strict=True)),
        }
    seconds = float(np.median(theirs["seconds"])) if theirs else None
    return [Row(f"mixture, N={count:g}, m={points}", median(each for each, _ in results), seconds, quality)]


def sketch_search(count: int = 1_000_000, points: int = 20, queries: int = 30) -> list[Row]:
    """Sketches beyond the scan: inverted lists and exact re-ranking; recall of the exact top 10 over all.

    The package has nothing of the kind; its exact search at this size takes minutes a query.
    """
    market = Market(points)
    exact, sketched = RkmeIndex(), SketchIndex(approximate_above=min(APPROXIMATE_ABOVE, count - 1))
    for rkmes, sketches in catalogue(market, count):
        sketched.update(sketches)
        for id_, rkme in rkmes.items():
            exact.add(id_, rkme)
    asking = market.queries(queries)
    asked = [sketch(query, market.island) for query in asking]
    building, _ = cpu(lambda: sketched.nearest(asked[0]), 1)
    alone = [cpu(lambda a=a: sketched.nearest(a, 200), 1)[0] for a in asked]
    pairs = zip(asking, asked, strict=True)
    staged = [cpu(lambda q=q, a=a: nearest_in_stages(q, a, sketched, exact), 1) for q, a in pairs]
    true = [exact.nearest(query)[0] for query in asking]
    recalls = [_recall(ids, found[0]) for ids, (_, found) in zip(true, staged, strict=True)]
    started = process_time()
    for id_ in sketched.ids[:1000]:
        kept = sketched[id_]
        sketched.remove(id_)
        sketched.add(id_, kept)
    change = (process_time() - started) / 2000
    quality: dict[str, object] = {
        "recall@10": float(np.mean(recalls)), "sketches alone ms": 1e3 * median(alone), "built in s": building,
        "ms an add or remove": 1e3 * change,
    }  # fmt: skip
    return [Row(f"sketch search, N={count:g}", median(seconds for seconds, _ in staged), None, quality)]


def _mixture(query: Rkme, island: Island, index: SketchIndex, rkmes: dict[str, Rkme]) -> dict[str, float]:
    asked = sketch(query, island)
    ids, _ = index.nearest(asked, len(index))
    places = mixture_candidates(asked, [index[id_] for id_ in ids])
    solved = mixture_of_rkmes(query, [rkmes[ids[place]] for place in places])
    return {ids[places[member]]: weight for member, weight in zip(solved.members, solved.weights, strict=True)}


def _blend_mmd2(query: Rkme, rkmes: dict[str, Rkme], blend: dict[str, float]) -> float:
    members, w = [rkmes[id_] for id_ in blend], np.array(list(blend.values()))
    gram = np.array([[inner(a, b) for b in members] for a in members])
    return float(w @ gram @ w - 2.0 * w @ [inner(query, each) for each in members] + query.norm2)


def _arrays(rkmes: dict[str, Rkme]) -> dict[str, np.ndarray]:
    ordered = [rkmes[id_] for id_ in sorted(rkmes)]
    return {name: np.array([getattr(rkme, name) for rkme in ordered]) for name in ("points", "weights")}


def _padded(rows: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([rows, np.zeros((length - len(rows), *rows.shape[1:]), rows.dtype)])


def _recall(true: list[str], found: list[str]) -> float:
    return len(set(true) & set(found)) / len(true)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package-python", help="interpreter with the reference package")
    parser.add_argument("--million", action="store_true", help="the search among a million, too (minutes, 5 GB)")
    arguments = parser.parse_args()
    for row in exact_and_staged_search(arguments.package_python) + mixture_search(arguments.package_python):
        print(row, flush=True)
    if arguments.million:
        print(sketch_search()[0])
