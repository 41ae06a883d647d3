"""What specifications tell of single rows, ours and the reference package's. python privacy.py

Points within 1 % and 10 % of a row's nearest-neighbour distance; AUC of the best of three membership attacks against as
many held-out rows of the same distribution, mean over repeats (the best is picked on the mean, not in each repeat).
"""

from __future__ import annotations

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.specs import Rkme, fit_rkme
from atoll.engine.specs.disclosure import disclosure
from atoll.engine.specs.privacy import attacks
from data import clustered
from numpy.typing import NDArray
from reference import package
from sklearn.datasets import load_breast_cancer, load_digits

SIZES = (60, 150, 300, 1000, 5000)
Rows = NDArray[np.float32]


def heavy(n: int, d: int, seed: int) -> Rows:
    """Student's t with two degrees of freedom, clipped as islands clip."""
    return np.clip(np.random.default_rng(seed).standard_t(2, size=(n, d)), -6, 6).astype(np.float32)


def blob(n: int, d: int, seed: int) -> Rows:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def draws(kind: str, n: int, seed: int) -> tuple[Rows, Rows] | None:
    """Members and as many others; None where the data set is too small."""
    real = {"digits": load_digits, "breast cancer": load_breast_cancer}
    if kind in real:
        values = real[kind]().data
        rows = Island.mint(values).transform(values)
        rows = rows[np.random.default_rng(seed).permutation(len(rows))]
        return (rows[:n], rows[n : 2 * n]) if len(rows) >= 2 * n else None
    name, d = kind.split(" d=")
    if name == "clusters":
        both = clustered(2 * n, int(d), seed)
    else:
        both = {"heavy tails": heavy, "blob": blob}[name](2 * n, int(d), seed)
    return both[:n], both[n:]


def ours(members: Rows, seed: int) -> Rkme:
    return fit_rkme(members, 100, seed=seed)


def theirs(members: Rows, seed: int) -> Rkme | None:
    gamma = 1.0 / members.shape[1]
    found = package(None, "fit", rows=members, size=100, gamma=gamma, repeats=1)
    if found is None:
        return None
    weights = np.clip(found["beta"], 0, None)
    return Rkme(found["z"].astype(np.float32), (weights / weights.sum()).astype(np.float32), gamma, len(members))


def measured(kind: str, n: int, fit: object, repeats: int) -> str | None:
    near, aucs = [], []
    for seed in range(repeats):
        drawn = draws(kind, n, seed)
        fitted = fit(drawn[0], seed) if drawn and callable(fit) else None
        if drawn is None or fitted is None:
            return None
        share = disclosure(fitted.points, [drawn[0]]).share
        near.append([(share < 0.01).mean(), (share < 0.0999).mean()])
        aucs.append(attacks(fitted, *drawn))
    hundredth, tenth = np.mean(near, axis=0)
    return f"{hundredth:6.1%} {tenth:6.1%}  AUC {max(np.mean(aucs, axis=0)):.3f}"


def table() -> list[str]:
    lines = []
    for kind in ("blob d=10", "clusters d=10", "heavy tails d=10", "clusters d=50", "heavy tails d=50", "digits",
                 "breast cancer"):  # fmt: skip
        for n in SIZES:
            own = measured(kind, n, ours, max(4, min(200, 12_000 // n)))
            other = measured(kind, n, theirs, 2) if own and n <= 1000 else None
            if own:
                lines.append(f"{kind:18} n={n:5}  within 1 %, 10 %: {own}" + (f"   package {other}" if other else ""))
    return lines


if __name__ == "__main__":
    for row in table():
        print(row, flush=True)
