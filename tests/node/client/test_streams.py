"""Searches followed event by event, over connections that break."""

import json

import numpy as np
import pytest
from atoll.engine.errors import SpecificationError
from atoll.node.client import RemoteError, streams
from atoll.node.errors import NodeUnreachable
from atoll.node.search.query import Hit, PeerDone, SearchPlan, SearchResult
from atoll.protocol.listings import Offers

SHOWN = Offers(disclose="members")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(streams, "FIRST_PAUSE", 0.001)


@pytest.fixture
async def node(federated, publish):
    """A node with two learnwares of its own."""
    (running,), federation = await federated("node")
    for classes in ((0, 1), (2, 3)):
        await publish(running, federation, SHOWN, *classes)
    return running


@pytest.fixture
async def fitted(node, digits):
    return await node.client.fit(digits.of(0, 2))


async def followed(client, fitted):
    return [event async for event in client.search_events(fitted)]


async def test_events_are_typed_and_in_order(node, fitted):
    events = await followed(node.client, fitted)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [(event.event, type(event.data)) for event in events] == [
        ("plan", SearchPlan), ("hit", Hit), ("hit", Hit), ("peer_done", PeerDone), ("answer", SearchResult),
        ("end", SearchResult),
    ]  # fmt: skip
    end, whole = events[-1].data, await node.client.search(fitted)
    assert end.final
    assert end.complete
    assert [(hit.learnware_id, hit.mmd2) for hit in end.hits] == [(hit.learnware_id, hit.mmd2) for hit in whole.hits]


@pytest.mark.parametrize(
    "allowed", [(1200, None), (1200, 300, 7000, 100, None), (9000, 0, 0, 0, None), (1200, 7000, 7000, 7000, 30_000)]
)
async def test_a_broken_connection_is_taken_up_after_the_last_event(node, fitted, broken, allowed):
    client, proxy = await broken(node, *allowed)
    events = await followed(client, fitted)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[-1].event == "end"
    asked = [request.split(b" ", 1)[0] for request in proxy.requests]
    assert asked == [b"POST"] + [b"GET"] * (len(asked) - 1)
    assert len(asked) > 1


async def test_a_node_that_does_not_come_back_is_said_to_be_gone(node, fitted, broken):
    client, proxy = await broken(node, 1200, 0)
    with pytest.raises(NodeUnreachable, match="broke off"):
        await followed(client, fitted)
    assert 1 + streams.ATTEMPTS <= len(proxy.requests) <= 1 + 2 * streams.ATTEMPTS  # aiohttp tries a GET once more


async def test_a_search_that_has_not_begun_is_not_asked_twice(node, fitted, broken):
    client, proxy = await broken(node, 0)
    with pytest.raises(NodeUnreachable, match="no node answers"):
        await followed(client, fitted)
    assert len(proxy.requests) == 1


async def test_a_search_that_the_node_has_forgotten_is_not_waited_for(node, fitted, broken):
    client, proxy = await broken(node, 1200, None)
    proxy.on_cut = node.node.searcher._searches.clear
    with pytest.raises(RemoteError, match="not remembered"):
        await followed(client, fitted)
    assert len(proxy.requests) == 2


async def test_what_is_refused_or_fails_is_raised(node, fitted, monkeypatch):
    with pytest.raises(RemoteError, match="limit 1-100"):
        await anext(node.client.search_events(fitted, limit=0))

    def failing(*arguments):
        raise SpecificationError("no such thing")

    monkeypatch.setattr("atoll.node.search.service.plan", failing)
    with pytest.raises(RemoteError, match="no such thing") as failed:
        await followed(node.client, fitted)
    assert (failed.value.code, failed.value.status) == ("spec.invalid", 422)


async def test_what_is_sent_is_no_row(node, digits, broken):
    client, proxy = await broken(node, None)
    rows = digits.of(0, 2)
    await client.search_rows(rows)
    sent = b"".join(proxy.requests)
    body = json.loads(sent[sent.index(b'{"specifications"') :])
    (specification,) = body["specifications"]
    points = np.array(specification["rkme"]["points"])
    units = digits.island().transform(rows)
    assert len(points) < len(rows.values) / 5
    assert np.linalg.norm(points[:, None] - units[None], axis=2).min() > 1.0
