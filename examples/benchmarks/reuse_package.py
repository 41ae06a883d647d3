"""The reference package's own search and reusers on the same market: losses by method, and seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from atoll.engine.islands import Island
from numpy.typing import NDArray
from reference import package
from reuse_market import Market, User

SIDE = Path(__file__).with_name("package_reuse.py")
TIMES = ("searching", "selecting")
LABEL_FREE = ("top-1", "job selector", "averaging", "voting")
ONE_SELECTOR = 400.0  # seconds of the package's job selector for one user, at most
THE_REST = 1200.0  # of everything else in one market
Losses = dict[str, NDArray[np.float64]]  # method -> (users,)


def package_losses(market: Market, island: Island, thorough: int, selecting: int) -> Losses:
    """Losses of every method for every user, and under ``TIMES`` CPU seconds; nothing where the package is not there.
    Its job selector takes minutes: it is run for the first ``selecting`` users, with its own defaults and timed for the
    first ``thorough``; the others' figures are NaN.

    Rows are given in the island's units: in raw ones its kernel of fixed width would see nothing.
    """
    users, learnwares = market.users, market.learnwares
    found = package(
        None, "market", side=SIDE, at_most=THE_REST + ONE_SELECTOR * selecting, thorough=thorough, selecting=selecting,
        rows=np.concatenate([island.transform(each.rows) for each in learnwares]),
        counts=np.array([len(each.rows.values) for each in learnwares]),
        queries=np.stack([island.transform(user.rows) for user in users]),
        labelled=np.stack([island.transform(user.labelled) for user in users]),
        labels=np.stack([user.labels for user in users]),
        outputs=np.stack([market.outputs(user.rows) for user in users]),
        labelled_outputs=np.stack([market.outputs(user.labelled) for user in users]),
        usable=np.array([[place in market.others(user) for place in range(len(learnwares))] for user in users]),
    )  # fmt: skip
    if found is None:
        return {}
    losses = {
        name: np.array([_loss(user, told) for user, told in zip(users, value, strict=True)])
        for name, value in found.items()
        if name not in TIMES
    }
    return losses | {name: found[name] for name in TIMES}


def _loss(user: User, told: NDArray[np.float64]) -> float:
    if not np.isfinite(told).all():
        return float("nan")
    wrong = told != user.truth if user.truth.dtype.kind == "i" else (told - user.truth) ** 2
    return float(np.mean(wrong))
