"""Peers of real nodes: told of by others, denied and allowed, cut off, refused, and dialled again."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from atoll.engine.errors import AtollError
from atoll.node.cli.main import cli
from atoll.node.client import RemoteError
from atoll.node.clock import now_ms
from atoll.node.errors import ConfigError
from atoll.protocol.listings import Offers
from atoll.protocol.messages import PeerRefused
from click.testing import CliRunner


def name(running):
    return running.node.identity.peer


def address(running):
    return running.node.network.addresses[0]


def state(running, other):
    found = running.node.peers.get(name(other))
    return found.state if found else None


def standing(running, other, expected):
    return lambda: state(running, other) == expected


@pytest.fixture
async def strangers(start):
    """``await strangers("a", "b", ...)``: members of one federation, of which the first is the admin, who have not
    met: the certificates came by other ways than the network."""

    async def found(*names):
        nodes = await start(*names)
        admin, *others = nodes
        federation = bytes.fromhex((await admin.client.create_federation("test")).id)

        def certified(other):
            invite = admin.node.administration.invite(federation, (), now_ms(), 60_000)
            charter, certificate = admin.node.administration.redeem(
                federation, invite.token, other.node.identity.public, "", now_ms()
            )
            other.node.federations.accept(charter, certificate, now_ms())

        for other in others:
            await asyncio.to_thread(certified, other)
            await other.node.network.joined(federation)
        return nodes

    return found


async def test_members_who_know_the_same_member_find_each_other(strangers, until):
    b, a, c = await strangers("b", "a", "c")
    await a.client.add_peer(address(b))
    await c.client.add_peer(address(b))
    await until(a, standing(a, c, "member"))
    await until(c, standing(c, a, "member"))
    (seen,) = [each for each in await a.client.peers() if each.peer_id == name(c)]
    assert (seen.name, seen.federations, seen.failures) == ("c", 1, 0)


async def test_members_of_a_federation_are_told_to_no_one_else(strangers, start, until):
    b, a = await strangers("b", "a")
    (outsider,) = await start("outsider")
    await a.client.add_peer(address(b))
    await until(b, standing(b, a, "member"))
    own = (await outsider.client.create_federation("elsewhere")).id
    await outsider.client.add_peer(address(b))
    network = outsider.node.network
    for federation in (*b.node.federations.ids(), bytes.fromhex(own)):
        outsider.node.peers.admit(name(b), frozenset([federation]), now_ms())  # as one that pretends
        await network._thread.call(network._introductions.ask, network._streams, name(b), 5.0)
    assert outsider.node.peers.get(name(a)) is None
    assert b.node.peers.live() == [name(a)]


async def test_a_denied_peer_is_cut_off_at_once_told_so_and_let_in_again(federated, until):
    (north, south), _ = await federated("north", "south")
    await until(north, standing(north, south, "member"))
    await until(south, standing(south, north, "member"))

    connections = north.node.network._streams._network.get_connections()

    change = await north.client.add_peer_rule("deny", name(south))

    assert change.applied
    assert [(each.peer_id, each.name) for each in change.dropped] == [(name(south), "south")]
    assert state(north, south) == "denied"
    assert north.node.peers.live() == []
    assert connections
    assert all(each.event_closed.is_set() for each in connections)
    await until(south, standing(south, north, "refused"))
    (shown,) = await south.client.peers()
    assert (shown.why, shown.state) == ("this node does not admit you", "refused")
    with pytest.raises(RemoteError) as refused:
        await north.client.add_peer(address(south))
    assert refused.value.code == "peer.denied"
    with pytest.raises(RemoteError) as refused:
        await south.client.add_peer(address(north))
    assert refused.value.code == "peer.denied"
    assert state(north, south) == "denied"

    await north.client.remove_peer_rule("deny", name(south))
    await until(north, standing(north, south, "member"))
    await until(south, standing(south, north, "member"))


async def test_nothing_of_a_denied_peer_is_accepted(federated, publish, monkeypatch, until):
    (north, south), federation = await federated("north", "south")
    await until(north, standing(north, south, "member"))
    await until(south, standing(south, north, "member"))
    monkeypatch.setattr(type(north.node.network), "enforce_rules", lambda _: asyncio.sleep(0))
    await north.client.add_peer_rule("deny", name(south))  # the connection is left open
    network = south.node.network
    before = await north.client.catalogue()
    await publish(south, federation, Offers(), 0, 1)
    for ask in (network._introductions.ask, network._replication.replicator.sync):
        with suppress(AtollError):
            await network._thread.call(ask, network._streams, name(north), 5.0)
    with pytest.raises(PeerRefused, match="does not admit you"):
        await network._thread.call(network._greet, name(north))
    assert await north.client.catalogue() == before == []


async def test_an_allow_list_admits_only_those_on_it(strangers, until):
    b, a, c = await strangers("b", "a", "c")
    await b.client.add_peer_rule("allow", name(a))
    await a.client.add_peer(address(b))
    with pytest.raises(RemoteError) as refused:
        await c.client.add_peer(address(b))
    assert refused.value.code == "peer.denied"
    assert b.node.peers.live() == [name(a)]
    assert (await b.client.remove_peer_rule("allow", name(a))).admitted
    await c.client.add_peer(address(b))
    await until(b, standing(b, c, "member"))


async def test_a_dry_run_says_what_would_happen_and_nothing_does(federated, publish, changed, until):
    (north, south), federation = await federated("north", "south")
    await publish(south, federation, Offers(), 0, 1)
    await changed(north, lambda: any(True for _ in north.node.catalogue.alive(now_ms())))
    await until(south, standing(south, north, "member"))

    at_north = await north.client.add_peer_rule("deny", name(south), dry_run=True)
    at_south = await south.client.add_peer_rule("deny", name(north), dry_run=True)

    assert [(each.name, each.listings) for each in at_north.dropped] == [("south", 1)]
    assert (at_north.applied, at_north.admitted, at_north.stranded, at_north.objection) == (False, False, (), "")
    assert at_south.stranded == (federation,)
    assert "no admin" in at_south.objection
    assert await north.client.peer_rules() == await south.client.peer_rules() == []
    assert north.node.peers.live() == [name(south)]


async def test_a_rule_that_locks_out_every_admin_needs_force(federated, until):
    (north, south), _ = await federated("north", "south")
    await until(south, standing(south, north, "member"))
    for kind, peer in (("deny", name(north)), ("deny", name(south)), ("allow", name(south))):
        with pytest.raises(RemoteError) as refused:
            await south.client.add_peer_rule(kind, peer)
        assert (refused.value.code, refused.value.status) == ("peer.lockout", 409)
    assert await south.client.peer_rules() == []
    await south.client.add_peer_rule("allow", name(north))
    await south.client.add_peer_rule("allow", name(south), force=True)
    with pytest.raises(RemoteError) as refused:
        await south.client.remove_peer_rule("allow", name(north))
    assert refused.value.code == "peer.lockout"
    assert south.node.peers.live() == [name(north)]

    await south.client.add_peer_rule("deny", name(north), force=True)

    assert south.node.peers.live() == []
    assert {(each.kind, each.peer_id) for each in await south.client.peer_rules()} == {
        ("allow", name(north)), ("allow", name(south)), ("deny", name(north)),
    }  # fmt: skip


async def test_rules_hold_over_a_restart(make_home, start_home, start):
    (other,) = await start("other")
    home, token = make_home("node")
    async with start_home(home, token) as node:
        await node.client.add_peer_rule("deny", name(other))
    async with start_home(home, token) as node:
        assert [(each.kind, each.peer_id) for each in await node.client.peer_rules()] == [("deny", name(other))]
        with pytest.raises(RemoteError) as refused:
            await other.client.add_peer(address(node))
    assert refused.value.code == "peer.denied"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client, peer: client.add_peer("/ip4/127.0.0.1/tcp/8471"), "request.invalid"),
        (lambda client, peer: client.add_peer_rule("deny", "nobody"), "request.invalid"),
        (lambda client, peer: client.add_peer_rule("ban", peer), "request.invalid"),
        (lambda client, peer: client.remove_peer_rule("ban", peer), "request.invalid"),
        (lambda client, peer: client.remove_peer_rule("deny", peer), "not_found"),
    ],
)
async def test_what_makes_no_sense_is_one_clear_error(start, call, code):
    node, other = await start("node", "other")
    with pytest.raises(RemoteError) as refused:
        await call(node.client, name(other))
    assert refused.value.code == code
    assert await node.client.peer_rules() == []


async def test_traffic_and_failures_are_counted(federated, until):
    (north, south), _ = await federated("north", "south")
    await until(north, standing(north, south, "member"))
    (seen,) = await north.client.peers()
    assert seen.bytes_in > 100
    assert seen.bytes_out > 100
    assert (seen.failures, seen.misbehaved) == (0, 0)
    assert seen.last_seen > now_ms() - 60_000


async def test_a_dead_peer_is_tried_again_less_and_less_also_after_a_restart(
    make_home, start_home, start, monkeypatch, until
):
    (other,) = await start("other")
    home, token = make_home("node")
    nowhere = f"/ip4/127.0.0.1/tcp/1/p2p/{name(other)}"
    monkeypatch.setenv("ATOLL__P2P__BOOTSTRAP", nowhere)
    async with start_home(home, token) as node:
        await until(node, lambda: node.node.peers.get(name(other)).failures >= 2)
        before = node.node.peers.get(name(other))
        assert before.state == "unreachable"
    async with start_home(home, token) as node:
        after = node.node.peers.get(name(other))
        assert (after.failures, after.next_dial) >= (before.failures, before.next_dial)
        await other.client.add_peer(address(node))
        assert node.node.peers.get(name(other)).failures == 0


async def test_a_bootstrap_address_that_leads_nowhere_is_a_config_error(make_home, start_home, monkeypatch):
    home, token = make_home("node")
    monkeypatch.setenv("ATOLL__P2P__BOOTSTRAP", "/ip4/127.0.0.1/tcp/8471")
    with pytest.raises(ConfigError, match=r"p2p\.bootstrap"):
        async with start_home(home, token):
            pass


async def test_rules_from_the_command_line(federated, until):
    (north, south), _ = await federated("north", "south")
    await until(north, standing(north, south, "member"))
    await until(south, standing(south, north, "member"))

    async def run(running, *arguments, code=0):
        environment = {"ATOLL_URL": running.url, "ATOLL_TOKEN": running.token}
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["peer", *arguments], env=environment)
        if code:
            assert result.exception is not None
            return result.exception
        assert result.exit_code == 0, result.output
        return result.output

    assert "Nothing was changed" in await run(north, "deny", name(south), "--dry-run")
    assert "without --force this is refused" in await run(south, "deny", name(north), "--dry-run")
    assert (await run(south, "deny", name(north), code=12)).code == "peer.lockout"
    (shown,) = json.loads(await run(north, "list", "--json"))
    assert (shown["peer_id"], shown["state"]) == (name(south), "member")
    assert "south is cut off" in await run(north, "deny", name(south))
    assert "denied" in await run(north, "list")
    assert "deny" in await run(north, "rules")
    assert "is admitted" in await run(north, "undeny", name(south))
    assert "is admitted" in await run(north, "allow", name(south))
    assert "Only peers on the allow list" in await run(north, "rules")
    assert "is admitted" in await run(north, "unallow", name(south))
    assert json.loads(await run(north, "rules", "--json")) == []
