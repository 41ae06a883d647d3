"""An owner is killed (kill -9) in the middle of a prediction of 1e5 rows: what becomes of it."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
from atoll.engine.tables import Table
from atoll.node.reuse.query import ReusePlan
from atoll.node.reuse.result import ReuseReport
from reuse_market import market
from reuse_nodes import Federated, federated
from search_figures import Figure

ROWS = 100_000
USERS = 10


async def measured(work: Path | None) -> list[Figure]:
    """Flights of one user, over and over; all models that run at their owners do."""
    made = market("flights", 0, users=USERS, work=work)
    user = made.users[0]
    chosen = np.random.default_rng(0).integers(len(user.rows.values), size=ROWS)
    rows = Table(user.rows.values[chosen], user.rows.columns)
    async with federated(made) as nodes:
        found = await nodes.search(made, user, nodes.disclosed)
        undisturbed, _, before = await _predicted(nodes, found.search_id, rows, kill=False)
        disturbed, report, after = await _predicted(nodes, found.search_id, rows, kill=True)
    truth = user.truth[chosen]
    gone = [each for each in report.members if each.failed]
    told = " ".join(report.warnings)
    unnamed = {each.owner_name for each in gone if each.owner_name not in told}
    return [
        Figure("rows without a prediction", int(np.isnan(disturbed).sum()), "", 0),
        Figure("members that failed", len(gone), "", 1, least=True),
        Figure("of their rows answered before", sum(each.rows_answered for each in gone), "", 1, least=True),
        Figure("of their rows asked for", sum(each.rows_asked for each in gone)),
        Figure("owners that failed and the report does not name", len(unnamed), "", 0, note=told),
        Figure("seconds, nobody killed", before, "s"),
        Figure("seconds, one owner killed", after, "s"),
        Figure("mean squared error, nobody killed", float(np.mean((undisturbed[:, 0] - truth) ** 2))),
        Figure("mean squared error, one owner killed", float(np.mean((disturbed[:, 0] - truth) ** 2))),
    ]  # fmt: skip


async def _predicted(nodes: Federated, search_id: str, rows: Table, *, kill: bool):
    """Predictions (n, 1), report, and seconds from start to predictions."""
    client = nodes.asked
    view = await client.plan_reuse(search_id, rows, prefer="remote", method="routing", force=True)
    began = perf_counter()
    await client.start_reuse(view.id, send=True)
    report: ReuseReport | None = None
    async for event in client.reuse_events(view.id):
        if kill and event.event == "progress" and event.data.done > event.data.total / 4:
            await _kill(nodes, view.plan)
            kill = False
        if isinstance(event.data, ReuseReport):
            report = event.data
    values = await client.predictions(view.id)
    return values, report, perf_counter() - began


async def _kill(nodes: Federated, plan: ReusePlan) -> None:
    """The other owner with most rows."""
    rows = {node.endpoint.peer_id: 0 for node in nodes.nodes[1:]}
    for member in plan.members:
        if member.place == "remote" and member.owner in rows:
            rows[member.owner] += member.rows
    (node,) = [node for node in nodes.nodes if node.endpoint.peer_id == max(rows, key=rows.__getitem__)]
    node.process.kill()
    await node.process.wait()
