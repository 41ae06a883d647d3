"""Owners that go away while they predict: what they have answered stays, the others take over, the report says so."""

import asyncio
from contextlib import AsyncExitStack

import numpy as np
import pytest
from atoll.engine.tables import Table
from atoll.node.client import RemoteError
from atoll.node.demo.processes import institution
from atoll.protocol.listings import Offers

PREDICT = Offers(disclose="members", predict="members")
ROWS = 100_000
CLASSES = ((), (0, 1, 2), (2, 3, 4))


@pytest.fixture
async def market(tmp_path, digits):
    """A node that asks, and two owners, as processes; many rows of all their digits."""
    async with AsyncExitStack() as stack:
        contexts = [institution(name, tmp_path / name) for name in ("asker", "lower", "higher")]
        nodes = await asyncio.gather(*(stack.enter_async_context(context) for context in contexts))
        federation = (await nodes[0].client.create_federation("test")).id
        island = digits.island()
        for node, classes in zip(nodes, CLASSES, strict=True):
            await node.client.add_island(island)
            if classes:
                await node.client.join((await nodes[0].client.invite(federation)).invite)
                package = digits.package(node.endpoint.peer_id, island, *classes)
                learnware = await node.client.add_learnware(package)
                await node.client.publish(learnware.learnware_id, federation, PREDICT)
        async with asyncio.timeout(20):
            while len(await nodes[0].client.catalogue()) < 2:
                await asyncio.sleep(0.05)  # the nodes are other processes: there is no event to wait for
        few, labels = digits.of(0, 1, 2, 3, 4), digits.labels_of(0, 1, 2, 3, 4)
        chosen = np.random.default_rng(0).integers(len(labels), size=ROWS)
        yield nodes, Table(few.values[chosen], few.columns), labels[chosen]


async def killed_on_the_way(client, reuse_id, *processes):
    """The events of a session, in the middle of which the processes are killed."""
    events = []
    async for event in client.reuse_events(reuse_id):
        events.append(event)
        if event.event == "progress" and event.data.done > event.data.total / 5:
            while processes:
                process, *processes = processes
                process.kill()
                await process.wait()
    return events


async def planned(asker, rows):
    found = await asker.client.search_rows(Table(rows.values[:2000], rows.columns), deadline_ms=10_000)
    view = await asker.client.plan_reuse(found.search_id, rows)
    await asker.client.start_reuse(view.id, send=True)
    return view


async def test_an_owner_that_is_killed_is_left_out_and_the_report_says_so(market):
    (asker, _, higher), rows, labels = market
    view = await planned(asker, rows)

    events = await killed_on_the_way(asker.client, view.id, higher.process)

    report, values = events[-1].data, await asker.client.predictions(view.id)
    failed = [event.data for event in events if event.event == "member_failed"]
    by_owner = {member.owner_name: member for member in report.members}
    gone, left = by_owner["higher"], by_owner["lower"]
    assert [each.owner for each in failed] == [gone.owner]
    assert failed[0].rows_answered <= gone.rows_answered  # what was on its way then still counts
    assert gone.failed
    assert 0 < gone.rows_answered < gone.rows_asked
    assert left.rows_answered == left.rows_asked > next(e.rows for e in view.plan.members if e.owner_name == "lower")
    assert report.rows_remote == gone.rows_asked + left.rows_asked > gone.rows_answered + left.rows_answered
    assert any("higher" in each and "stopped answering after" in each and "renormalised" in each
               for each in report.warnings)  # fmt: skip
    assert report.abstained == 0
    assert np.isfinite(values).all()
    predicted = np.array(report.class_names)[values.argmax(axis=1)].astype(int)
    assert np.mean(predicted[labels < 2] == labels[labels < 2]) > 0.9
    assert 0 < np.mean(predicted[labels > 2] == labels[labels > 2]) < 0.9  # what was answered before stays
    assert report.class_counts == {str(c): int((predicted == c).sum()) for c in range(5)}


async def test_where_nobody_is_left_that_is_said(market):
    (asker, lower, higher), rows, _ = market
    view = await planned(asker, rows)

    with pytest.raises(RemoteError, match="no member is left that answers") as ended:
        await killed_on_the_way(asker.client, view.id, lower.process, higher.process)

    state = await asker.client.reuse_state(view.id)
    assert ended.value.code == "policy.denied"
    assert (state.state, state.report) == ("failed", None)
    assert "no member is left" in state.failed
    with pytest.raises(RemoteError, match="no member is left"):
        await asker.client.predictions(view.id)
