"""What each way of reuse comes to for each user of a market, asked for as users ask: by a client of one node."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.matching import solve_mixture
from atoll.engine.matching.distances import gram_matrix
from atoll.engine.reuse import JobSelector, Routing
from atoll.engine.specs import fit_rkme, inner
from atoll.engine.tables import Table
from atoll.node.client.reuse import Reused
from numpy.typing import NDArray
from reuse_alone import self_trained
from reuse_market import Market, User
from reuse_nodes import Federated

Losses = dict[str, list[float]]  # name -> a loss for each user
LABELLED = (100, 500)
LABEL_FREE = {"top-1": "single", "job selector": "selector", "averaging": "averaging", "soft routing, RKMEs": "routing"}
SKETCHES = "soft routing, sketches"


class Timed(NamedTuple):
    """CPU milliseconds of one user's routing over ten members: soft and by the job selector."""

    soft: float
    selector: float


async def through_nodes(market: Market, nodes: Federated) -> Losses:
    """Losses of what goes through the nodes, and ``seconds`` of one session."""
    losses: Losses = defaultdict(list)
    for user in market.users:
        found = (await nodes.search(market, user, nodes.disclosed)).search_id
        for name, method in LABEL_FREE.items():
            await _reused(market, nodes, user, losses, name, found, method=method)
        for count in LABELLED:
            few = _labelled(market, user, count)
            for method in ("pruning", "augmentation", "auto"):
                await _reused(market, nodes, user, losses, f"{method} {count}", found, method=method, labelled=few)
        found = (await nodes.search(market, user, nodes.hidden)).search_id
        await _reused(market, nodes, user, losses, SKETCHES, found, method="routing", form="sketch")
    return losses


async def _reused(
    market: Market, nodes: Federated, user: User, losses: Losses, name: str, search_id: str, **asked: Any
) -> None:
    began = perf_counter()
    reused = await nodes.asked.reuse(search_id, user.rows, confirm=True, force=True, **asked)
    losses["seconds"].append(perf_counter() - began)
    failed = [f"{each.name}: {each.failed}" for each in reused.report.members if each.failed]
    if failed:
        raise RuntimeError(f"members failed: {failed}")
    if asked["method"] == "auto":
        losses[f"chosen: {reused.report.method} {name[5:]}"].append(1.0)
    losses[name].append(user.loss(_in_order(market, reused)))


def _in_order(market: Market, reused: Reused) -> NDArray[np.float64]:
    """Predictions over the market's class names."""
    if not market.class_names:
        return reused.values
    values = np.zeros((len(reused.values), len(market.class_names)))
    values[:, [market.class_names.index(name) for name in reused.class_names]] = reused.values
    return values


def _labelled(market: Market, user: User, count: int) -> tuple[Table, list[Any]]:
    labels = user.labels[:count].tolist()
    few = Table(user.labelled.values[:count], user.labelled.columns)
    return few, [market.class_names[label] for label in labels] if market.class_names else labels


def without_nodes(market: Market) -> Losses:
    """What is nobody's service: the market's models one by one, and models trained on the few labels alone."""
    losses: Losses = defaultdict(list)
    for user in market.users:
        outputs = market.outputs(user.rows)
        each = [user.loss(outputs[:, place]) for place in market.others(user)]
        losses["mean in market"].append(float(np.mean(each)))
        losses["best in market"].append(min(each))
        for count in LABELLED:
            few = user.labelled.values[:count], user.labels[:count]
            values = self_trained(*few, len(market.class_names), user.rows.values)
            losses[f"self-trained {count}"].append(user.loss(values))
    return losses


def times(market: Market, island: Island, users: int) -> list[Timed]:
    """Of the engine alone, on what the plan of a session would take: no model runs, nothing is sent."""
    rkmes = [fit_rkme(island.transform(each.rows), 100, island.gamma) for each in market.learnwares]
    found = []
    for user in market.users[:users]:
        units = island.transform(user.rows)
        own = fit_rkme(units, 100, island.gamma)
        places = market.others(user)
        gram = gram_matrix([rkmes[place] for place in places])
        cross = np.array([inner(own, rkmes[place]) for place in places])
        solved = solve_mixture(gram, cross, own.norm2, max_members=10, min_gain=0.0)
        members = [rkmes[places[place]] for place in solved.members]
        ways = (Routing(members, solved.weights, island), JobSelector(members, solved.weights, island))
        found.append(Timed(*(_milliseconds(way, units) for way in ways)))
    return found


def _milliseconds(way: Routing | JobSelector, units: NDArray[np.float32]) -> float:
    began = process_time()
    way.fit(units).shares(units)
    return 1000.0 * (process_time() - began)
