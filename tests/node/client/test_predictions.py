"""Predictions on their way to the client, over connections that break."""

import numpy as np
import pytest
from atoll.node.client import RemoteError, resuming
from atoll.node.errors import NodeUnreachable
from atoll.protocol.listings import Offers

HERE = Offers(disclose="members", predict="members", download="members")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(resuming, "PAUSE", 0.001)


@pytest.fixture
async def node(federated, publish):
    (running,), federation = await federated("node")
    await publish(running, federation, HERE, 0, 1)
    return running


async def planned(node, rows):
    found = await node.client.search_rows(rows, deadline_ms=10_000)
    return await node.client.plan_reuse(found.search_id, rows)


async def fetched(client, reuse_id):
    async with client.forgetting(reuse_id):
        return await client.predictions(reuse_id)


async def test_what_broke_off_goes_on_from_there(node, digits, broken):
    view = await planned(node, digits.of(0, 1))
    await node.client.start_reuse(view.id)
    assert [event.event async for event in node.client.reuse_events(view.id)][-1] == "end"
    whole = await node.client.predictions(view.id)
    assert whole.nbytes > 4000
    client, proxy = await broken(node, 2000, 1000, None)

    values = await client.predictions(view.id)

    assert np.array_equal(values, whole)
    assert len(proxy.requests) == 3
    assert [b"Range: bytes=" in request for request in proxy.requests] == [False, True, True]


async def test_a_session_is_forgotten_once_its_predictions_are_here_and_not_before(node, digits, broken):
    view = await planned(node, digits.of(0, 1))
    client, _ = await broken(node, 2000, 0)
    await node.client.start_reuse(view.id)
    assert [event.event async for event in node.client.reuse_events(view.id)][-1] == "end"

    with pytest.raises(NodeUnreachable) as gone:
        await fetched(client, view.id)
    assert f"{view.id}/predictions" in gone.value.hint
    assert len(await fetched(node.client, view.id)) == view.plan.rows

    with pytest.raises(RemoteError, match="not remembered"):
        await node.client.reuse_state(view.id)


async def test_a_session_that_failed_or_was_not_agreed_to_is_forgotten(node, digits):
    view = await planned(node, digits.of(0, 1))

    with pytest.raises(RemoteError, match="has not ended"):
        await fetched(node.client, view.id)

    with pytest.raises(RemoteError, match="not remembered"):
        await node.client.reuse_state(view.id)
