"""What admins decide holds everywhere: revocation, takedown, a second admin, roles, open federations, quarantine."""

import asyncio
import json

import msgspec
import pytest
from atoll.node.api.federations import InviteBody
from atoll.node.cli.main import cli
from atoll.node.client import RemoteError
from atoll.node.clock import now_ms
from atoll.node.store.restoring import RESTORED
from atoll.protocol.gossip import Announcement
from atoll.protocol.heads import sign_head
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Offers
from atoll.protocol.messages import encode
from click.testing import CliRunner

BOTH = Offers(disclose="members", predict="members", download="members")


def shown(running):
    return {each.learnware_id.hex() for each in running.node.catalogue.alive(now_ms())}


def peer_of(running):
    return running.node.identity.peer


async def test_a_revoked_member_leaves_search_and_learns_nothing_more(federated, publish, changed):
    (admin, member, third), federation = await federated("admin", "member", "third")
    learnware = await publish(member, federation, BOTH, 0, 1)
    for node in (admin, third):
        await changed(node, lambda node=node: learnware in shown(node))

    governance = await admin.client.revoke(federation, peer_of(member))

    assert [each.peer_id for each in governance.revoked] == [peer_of(member)]
    for node in (admin, third):
        await changed(node, lambda node=node: learnware not in shown(node))
        assert peer_of(member) not in [each.peer_id for each in await node.client.members(federation)]
    later = await publish(third, federation, BOTH, 4, 5)
    await changed(admin, lambda: later in shown(admin))
    for node in (admin, third):
        assert bytes.fromhex(federation) not in node.node.peers.shared(peer_of(member))
    assert later not in shown(member)
    await changed(member, lambda: shown(member) == set())
    assert [each.standing for each in await member.client.federations()] == [False]
    with pytest.raises(RemoteError):
        await publish(member, federation, BOTH, 2, 3)


async def test_a_revoked_member_may_be_invited_again(federated, publish, changed):
    (admin, member), federation = await federated("admin", "member")
    await admin.client.revoke(federation, peer_of(member))
    await changed(member, lambda: not member.node.federations.standing(
        bytes.fromhex(federation), member.node.identity.public, now_ms()))  # fmt: skip

    await member.client.join((await admin.client.invite(federation)).invite)

    learnware = await publish(member, federation, BOTH, 0, 1)
    await changed(admin, lambda: learnware in shown(admin))


async def test_one_learnware_is_taken_down_everywhere_and_put_back(federated, publish, changed):
    (admin, member), federation = await federated("admin", "member")
    good, bad = await publish(member, federation, BOTH, 0, 1), await publish(member, federation, BOTH, 2, 3)
    await changed(admin, lambda: {good, bad} <= shown(admin))

    await admin.client.take_down(federation, peer_of(member), bad)

    for node in (admin, member):
        await changed(node, lambda node=node: shown(node) == {good})
    await admin.client.put_back(federation, peer_of(member), bad)
    for node in (admin, member):
        await changed(node, lambda node=node: shown(node) == {good, bad})


async def test_a_second_admin_invites_and_revokes_but_neither_appoints_nor_touches_founders(federated, start, changed):
    (founder, second, member), federation = await federated("founder", "second", "member")
    with pytest.raises(RemoteError):
        await second.client.invite(federation)

    await founder.client.appoint(federation, peer_of(second))

    raw = bytes.fromhex(federation)
    for node in (second, member):
        await changed(node, lambda node=node: second.node.identity.public in node.node.federations.admins(raw))
    (newcomer,) = await start("newcomer")
    await newcomer.client.join((await second.client.invite(federation)).invite)
    assert federation in [each.id for each in await newcomer.client.federations()]
    await second.client.revoke(federation, peer_of(member))
    await changed(founder, lambda: not founder.node.federations.standing(raw, member.node.identity.public, now_ms()))
    with pytest.raises(RemoteError):
        await second.client.appoint(federation, peer_of(newcomer))
    with pytest.raises(RemoteError):
        await second.client.revoke(federation, peer_of(founder))


async def test_members_of_a_dismissed_admin_get_their_certificates_renewed(federated, start, changed):
    (founder, second), federation = await federated("founder", "second")
    raw = bytes.fromhex(federation)
    await founder.client.appoint(federation, peer_of(second))
    await changed(second, lambda: second.node.identity.public in second.node.federations.admins(raw))
    (newcomer,) = await start("newcomer")
    await newcomer.client.join((await second.client.invite(federation)).invite)
    await newcomer.client.add_peer(founder.node.network.addresses[0])
    await founder.client.dismiss(federation, peer_of(second))
    await changed(newcomer, lambda: second.node.identity.public not in newcomer.node.federations.admins(raw))
    assert newcomer.node.federations.renewal_due(raw, now_ms())

    await newcomer.client.renew_membership(federation)

    assert not newcomer.node.federations.renewal_due(raw, now_ms())


async def test_a_reader_searches_and_lists_nothing(federated, start, publish, changed):
    (admin,), federation = await federated("admin")
    learnware = await publish(admin, federation, BOTH, 0, 1)
    (reader,) = await start("reader")
    await reader.client.join((await admin.client.invite(federation, InviteBody(role="reader"))).invite)
    await changed(reader, lambda: learnware in shown(reader))
    with pytest.raises(RemoteError, match="more than its 0"):
        await publish(reader, federation, BOTH, 2, 3)


async def test_anybody_joins_an_open_federation_with_one_line(start, publish, changed):
    first, second, third = await start("first", "second", "third")
    federation = (await first.client.create_federation("open", open=True)).id
    await second.client.join((await first.client.invite(federation)).invite)
    await third.client.join((await second.client.invite(federation)).invite)
    learnware = await publish(third, federation, BOTH, 0, 1)
    for node in (first, second):
        await changed(node, lambda node=node: learnware in shown(node))
    assert {(each.name, each.max_listings) for each in await first.client.members(federation)} == {
        ("first", 100_000), ("second", 1000), ("third", 1000),
    }  # fmt: skip


async def test_few_rows_stay_out_of_open_federations_unless_the_owner_says_so(start, digits):
    (node,) = await start("node")
    federation = (await node.client.create_federation("open", open=True)).id
    await node.client.add_island(digits.island())
    few = type(digits)(digits.values[:1200], digits.labels[:1200])  # 239 rows of two digits
    package = few.package(peer_of(node), digits.island(), 0, 1)
    learnware = await node.client.add_learnware(package)
    with pytest.raises(RemoteError, match="few") as refused:
        await node.client.publish(learnware.learnware_id, federation, BOTH)
    assert refused.value.code == "spec.privacy"
    await node.client.publish(learnware.learnware_id, federation, BOTH, few_rows=True)
    assert shown(node) == {learnware.learnware_id}


async def test_leaving_withdraws_and_forgets(federated, publish, changed):
    (admin, member), federation = await federated("admin", "member")
    learnware = await publish(member, federation, BOTH, 0, 1)
    await changed(admin, lambda: learnware in shown(admin))

    await member.client.leave(federation)

    await changed(admin, lambda: shown(admin) == set())
    assert await member.client.federations() == []
    assert await member.client.catalogue() == []


async def test_an_owner_that_signs_two_histories_is_quarantined_everywhere_until_pardoned(federated, publish, changed):
    nodes, federation = await federated("admin", "liar", "third")
    admin, liar, third = nodes
    learnware = await publish(liar, federation, BOTH, 0, 1)
    for node in (admin, third):
        await changed(node, lambda node=node: learnware in shown(node))
    raw, key = bytes.fromhex(federation), liar.node.identity
    head = liar.node.catalogue.log(raw, key.public).head.head
    other = sign_head(key.key, msgspec.structs.replace(head, issued_at=head.issued_at + 1))
    certificate = liar.node.federations.certificate_of(raw, key.public)
    message = encode(Announcement(raw, other.record, certificate, ()))

    await admin.node.network._thread.call(admin.node.network._replication.accept, raw, peer_id(key.public), message)

    for node in (admin, third):
        await changed(node, lambda node=node: key.public in node.node.catalogue.quarantined(raw))
        assert shown(node) == set()
    assert (await admin.client.governance(federation)).quarantined == (peer_of(liar),)
    await admin.client.pardon(federation, peer_of(liar))
    assert shown(admin) == {learnware}
    assert shown(third) == set()


async def test_a_restored_node_begins_a_new_epoch_and_makes_no_fork(make_home, start_home, start, publish, changed):
    import shutil

    (other,) = await start("other")
    home, token = make_home("node")
    async with start_home(home, token) as node:
        federation = (await node.client.create_federation("kept")).id
        await other.client.join((await node.client.invite(federation)).invite)
        before = await publish(node, federation, BOTH, 0, 1)
        await changed(other, lambda: before in shown(other))
    copy = home.with_name("copy")
    shutil.copytree(home, copy)
    async with start_home(home, token) as node:
        after = await publish(node, federation, BOTH, 2, 3)
        await changed(other, lambda: after in shown(other))
    shutil.rmtree(home)
    copy.rename(home)  # files put back by hand: no mark, so peers have to tell
    raw = bytes.fromhex(federation)
    async with start_home(home, token) as node:
        owner = node.node.identity.public
        await changed(other, lambda: shown(other) == {before})
        later = await publish(node, federation, BOTH, 4, 5)
        await changed(other, lambda: shown(other) == {before, later})
        assert not other.node.catalogue.quarantined(raw)
        epoch = node.node.catalogue.log(raw, owner).position[0]
        node.node.store.mark(RESTORED, now_ms())
    async with start_home(home, token) as node:  # as after `atoll restore`
        assert node.node.catalogue.log(raw, owner).position[0] > epoch
        assert node.node.store.marked(RESTORED) is None
        assert shown(node) == {before, later}


async def test_every_act_of_an_admin_has_a_command(federated, publish, changed):
    (admin, member), federation = await federated("admin", "member")
    learnware = await publish(member, federation, BOTH, 0, 1)
    await changed(admin, lambda: learnware in shown(admin))

    async def run(*arguments, node=admin):
        environment = {"ATOLL_URL": node.url, "ATOLL_TOKEN": node.token}
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["federation", *arguments], env=environment)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.output

    peer = peer_of(member)
    assert learnware in await run("takedown", federation, peer, learnware, "--json")
    assert json.loads(await run("takedown", federation, peer, learnware, "--back", "--json"))["takedowns"] == []
    assert "appointed" in await run("appoint", federation, peer)
    assert "founder" in await run("governance", federation)
    assert "private" in await run("list")
    assert peer[:8] in await run("members", federation)
    assert "Member until" in await run("renew", federation, node=member)
    assert "Revoked" in await run("dismiss", federation, peer)
    assert "Left" in await run("leave", federation, node=member)
