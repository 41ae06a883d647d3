"""How much of an undisclosed RKME its owner's answers give away, and what guarding them costs honest queries.

    export OMP_NUM_THREADS=1
    python examples/benchmarks/oracle.py [--quick]

Share of the points recovered to within 10 % of the rows' median nearest-neighbour distance by the attacks of
``tests/oracle_attack.py``; then, for honest queries, guarded and sketched against exact distances. "Own sketch" is a
listing with the sketch of the RKME itself, the others have the stand-in's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np
from atoll.engine.errors import QueryTooNarrow
from atoll.engine.islands import Island
from atoll.engine.matching.oracle import check_query, told
from atoll.engine.specs import Rkme, fit_rkme, mmd2, sketch
from atoll.engine.specs.stand_in import stand_in
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from oracle_attack import Knowledge, Oracle, holes, moving_point, recovered, single_points, sketch_alone

CASES = ((2, 300, 30), (3, 300, 30), (5, 300, 30), (10, 300, 30), (10, 600, 45))  # d, rows, points
SECRETS = 2
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Secret:
    island: Island
    rkme: Rkme
    rows: Rows
    others: Rows

    @classmethod
    def draw(cls, d: int, n: int, points: int, seed: int) -> Secret:
        random = np.random.default_rng(seed)
        values = random.normal(size=(8, d))[random.integers(0, 8, 2 * n)] + 0.5 * random.normal(size=(2 * n, d))
        island = Island.mint(values)
        rows = island.transform(values)
        return cls(island, fit_rkme(rows[:n], points, gamma=island.gamma, seed=seed), rows[:n], rows[n:])

    def known(self, listed: Rkme) -> Knowledge:
        return Knowledge(self.island, len(self.rkme.weights), listed.norm2, sketch(listed, self.island), self.others)


def answers(about: Rkme, *, admitted: bool, digits: bool) -> Oracle:
    def oracle(query: Rkme) -> float:
        if admitted:
            check_query(query)
        return told(mmd2(query, about)) if digits else mmd2(query, about)

    return oracle


def attacked(secret: Secret, queries: int) -> Iterator[tuple[str, int, NDArray[np.float64]]]:
    """(attack and guard, queries, guesses)."""
    own, other = secret.rkme, stand_in(secret.rkme)
    ask = partial(answers, admitted=True, digits=True)
    exact = answers(own, admitted=False, digits=False)
    yield "public sketch alone, own sketch", 0, sketch_alone(secret.known(own))
    yield "single points, unguarded", 2000, single_points(exact, secret.known(own), 2000)
    yield "moving point, 30 points and 3 digits only", queries, moving_point(ask(own), secret.known(own), queries)
    yield "moving point, guarded", queries, moving_point(ask(other), secret.known(other), queries)
    yield "moving point, guarded, own sketch", queries, moving_point(ask(other), secret.known(own), queries)
    endless = answers(other, admitted=False, digits=False)
    yield "single points, guarded by stand-in alone", 2000, single_points(endless, secret.known(other), 2000)
    if secret.island.dimension <= 3:
        yield "stand-in known, gaps in it", 0, holes(other)
    yield "stand-in known, own sketch", 0, sketch_alone(secret.known(own), other)


def attacks(queries: int) -> None:
    print(f"{'d':>3} {'points':>6}  {'attack':42} {'queries':>7} {'recovered':>9}")
    for d, n, points in CASES:
        secrets = [Secret.draw(d, n, points, seed) for seed in range(SECRETS)]
        shares: dict[tuple[str, int], list[float]] = {}
        for secret in secrets:
            for name, asked, guesses in attacked(secret, queries):
                shares.setdefault((name, asked), []).append(recovered(secret.rkme, guesses, secret.rows))
        size = sum(len(secret.rkme.weights) for secret in secrets)
        for (name, asked), share in shares.items():
            print(f"{d:3} {size:6}  {name:42} {asked:7} {np.mean(share):9.1%}", flush=True)


def blends(name: str, learnwares: int = 60, queries: int = 25) -> tuple[Island, list[Rkme], list[Rkme]]:
    """Learnwares and users: samples of blends of clusters, of two halves of the rows."""
    values = {"digits": load_digits, "breast cancer": load_breast_cancer, "diabetes": load_diabetes}[name]().data
    island, random = Island.mint(values), np.random.default_rng(1)
    rows = island.transform(values)
    homes = KMeans(8, n_init=3, random_state=0).fit_predict(rows)
    half = random.random(len(rows)) < 0.5

    def drawn(pool: NDArray[np.bool_], seed: int) -> Rkme:
        share = (random.dirichlet(np.full(8, 0.3))[homes] + 1e-4) * pool
        chosen = rows[random.choice(len(rows), 600, p=share / share.sum())]
        jittered = chosen + 0.05 * random.standard_normal(chosen.shape)  # rows drawn twice
        return fit_rkme(jittered.astype(np.float32), 60, gamma=island.gamma, seed=seed)

    return island, [drawn(half, i) for i in range(learnwares)], [drawn(~half, 1000 + i) for i in range(queries)]


def honest() -> None:
    print("data           answers    rank corr.  top 10  first    RMSE  largest  admitted")
    for name in ("digits", "breast cancer", "diabetes"):
        island, learnwares, queries = blends(name)
        exact = np.array([[mmd2(query, rkme) for rkme in learnwares] for query in queries])
        started = process_time()
        others = [stand_in(rkme) for rkme in learnwares]
        spent = (process_time() - started) / len(learnwares)
        guarded = np.array([[told(mmd2(query, other)) for other in others] for query in queries])
        asked = np.array([sketch(query, island).floats() for query in queries])
        public = np.array([sketch(other, island).floats() for other in others])
        sketched = np.square(asked[:, None] - public).sum(axis=2)
        admitted = np.mean([_admitted(query) for query in queries])
        for kind, distances in (("guarded", guarded), ("sketch", sketched)):
            print(f"{name:14} {kind:10} {_agreement(exact, distances)} {admitted:9.0%}")
        print(f"{'':14} a stand-in takes {spent * 1e3:.0f} ms, once")


def _agreement(exact: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    pairs = list(zip(exact, other, strict=True))
    correlation = np.mean([spearmanr(one, two).statistic for one, two in pairs])
    top = np.mean([len({*np.argsort(one)[:10].tolist()} & {*np.argsort(two)[:10].tolist()}) / 10 for one, two in pairs])
    first = np.mean([one.argmin() == two.argmin() for one, two in pairs])
    error = other - exact
    return f"{correlation:10.4f} {top:7.3f} {first:6.2f} {np.sqrt(np.mean(error**2)):7.4f} {np.abs(error).max():8.4f}"


def _admitted(query: Rkme) -> bool:
    try:
        check_query(query)
    except QueryTooNarrow:
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="1 000 queries instead of 10 000")
    honest()
    attacks(1000 if parser.parse_args().quick else 10_000)
