"""A node that listens nowhere takes part through a relay: a member that passes bytes between members only."""

from __future__ import annotations

import numpy as np
import pytest
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.p2p.circuits import MARK
from atoll.node.p2p.errors import P2PError
from atoll.node.p2p.relay import HOP, STOP
from atoll.protocol.listings import Offers


def member(running, other):
    def condition():
        state = running.node.peers.get(other.node.identity.peer)
        return state is not None and state.state == "member"

    return condition


def address(running):
    return running.node.network.addresses[0]


@pytest.fixture
async def relayed(start, monkeypatch):
    """``await relayed("b", ...)``: a relay, which is the admin, and nodes behind it, members of one federation."""

    async def found(*names, relaying="true"):
        monkeypatch.setenv("ATOLL__P2P__RELAY_FOR_MEMBERS", relaying)
        (relay,) = await start("relay")
        monkeypatch.delenv("ATOLL__P2P__RELAY_FOR_MEMBERS")
        federation = (await relay.client.create_federation("test")).id
        monkeypatch.setenv("ATOLL__P2P__LISTEN", "")
        monkeypatch.setenv("ATOLL__P2P__RELAY", address(relay))
        behind = await start(*names)
        monkeypatch.delenv("ATOLL__P2P__LISTEN")
        monkeypatch.delenv("ATOLL__P2P__RELAY")
        for node in behind:
            await node.client.join((await relay.client.invite(federation)).invite)
        return relay, behind, federation

    return found


async def test_a_node_that_listens_nowhere_is_found_and_reused_through_a_relay(
    relayed, start, publish, changed, digits, until, monkeypatch
):
    relay, (behind,), federation = await relayed("behind")
    await until(relay, member(relay, behind))
    assert behind.node.network.addresses == (f"{address(relay)}{MARK}/p2p/{behind.node.identity.peer}",)
    monkeypatch.setenv("ATOLL__P2P__LISTEN", "")  # it cannot be dialled, or the other might do so first, and directly
    (user,) = await start("user")
    await user.client.join((await relay.client.invite(federation)).invite)
    await until(user, member(user, behind))
    await until(behind, member(behind, user))
    assert MARK in user.node.peers.get(behind.node.identity.peer).worked

    learnware = await publish(behind, federation, Offers(predict="members", download="members"), 0, 1, 2)
    await changed(user, lambda: learnware in {each.learnware_id.hex() for each in user.node.catalogue.alive(now_ms())})
    await user.client.add_island(digits.island())
    rows, labels = digits.of(0, 1, 2), digits.labels_of(0, 1, 2)
    found = await user.client.search_rows(rows, deadline_ms=20_000)
    assert found.complete
    for prefer in ("remote", "local"):
        answer = await user.client.predict(found.search_id, rows, prefer=prefer, send=True)
        assert answer.places == {learnware: prefer}
        assert np.mean(np.array(answer.labels).astype(int) == labels) > 0.9


async def test_two_nodes_behind_one_relay_meet_and_one_may_leave_without_the_other(relayed, start, until):
    relay, (one, other), federation = await relayed("one", "other")
    (user,) = await start("user")
    await user.client.join((await relay.client.invite(federation)).invite)
    for left, right in ((one, other), (user, one), (user, other)):
        await until(left, member(left, right))
        await until(right, member(right, left))
    await user.client.add_peer_rule("deny", one.node.identity.peer)
    await until(one, lambda: one.node.peers.get(user.node.identity.peer).state == "refused")
    assert member(user, other)()
    assert member(one, other)()


async def test_a_relay_serves_no_strangers_and_no_one_from_another_federation(relayed, start, until):
    relay, (behind,), _ = await relayed("behind")
    await until(relay, member(relay, behind))
    stranger, elsewhere = await start("stranger", "elsewhere")
    federation = (await relay.client.create_federation("another")).id
    await elsewhere.client.join((await relay.client.invite(federation)).invite)
    await until(relay, member(relay, elsewhere))
    for node in (stranger, elsewhere):
        with pytest.raises(AtollError):
            await node.node.network.dial(address(behind))
        assert node.node.network._streams.connected() <= {relay.node.identity.peer}
    assert behind.node.network._streams.connected() == {relay.node.identity.peer}


async def test_a_node_relays_only_if_it_is_told_to(relayed, start, until):
    relay, (behind,), federation = await relayed("behind", relaying="false")
    await until(relay, member(relay, behind))
    (user,) = await start("user")
    await user.client.join((await relay.client.invite(federation)).invite)
    with pytest.raises(P2PError):
        await user.node.network.dial(address(behind))


async def test_a_relay_behind_a_relay_is_not_dialled(start):
    node, other = await start("node", "other")
    peer = other.node.identity.peer
    with pytest.raises(P2PError, match="one relay"):
        await node.node.network.dial(f"{address(other)}{MARK}/p2p/{peer}{MARK}/p2p/{peer}")


async def test_garbage_on_the_streams_of_a_relay_is_blamed_and_the_relay_goes_on(relayed, start, until):
    relay, (one, other), _ = await relayed("one", "other")
    for left, right in ((one, other), (other, one)):
        await until(left, member(left, right))
    network = one.node.network

    async def send(target, protocol, frame):
        async with network._streams.open(target.node.identity.peer, protocol, deadline=5.0) as channel:
            await channel.send(frame)
            await channel.receive(1 << 20)

    for frame in (b"", b"\xff" * 20, b"x" * 10_000):
        with pytest.raises(P2PError):
            await network._thread.call(send, relay, HOP, frame)
    with pytest.raises(P2PError):  # only its relay brings circuits to a node
        await network._thread.call(send, other, STOP, b"")
    assert relay.node.peers.get(one.node.identity.peer).misbehaved == 3
    await other.client.remove_peer(one.node.identity.peer)
    assert await network.dial(address(other)) == other.node.identity.peer
