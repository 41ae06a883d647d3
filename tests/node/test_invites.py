"""Invites that are out: who has made and used them, how they are taken back, and what the audit log keeps of it."""

import asyncio

import pytest
from atoll.node.administration import Administration, InviteRow, invite_id
from atoll.node.api.federations import InviteBody
from atoll.node.cli.main import cli
from atoll.node.client import RemoteError
from atoll.node.clock import now_ms
from atoll.protocol import limits
from atoll.protocol.errors import NotFound, NotMember
from atoll.protocol.membership import read_invite
from click.testing import CliRunner


def peer_of(running):
    return running.node.identity.peer


async def admissions(running):
    """(who says so, of what, outcome) of all that invites of a node have let in."""
    rows = (await running.client.audit(0, 1000)).items
    return [(row.actor, row.subject, row.outcome) for row in rows if row.act == "federation.admit"]


def keys_of_invites(running):
    """Under what the store of a node keeps its invites."""
    with running.node.store.view() as txn:
        return [key for key, _ in running.node.store.table("invites", InviteRow).scan(txn)]


async def refused(running, invite):
    """The code of the error with which it does not join."""
    with pytest.raises(RemoteError) as caught:
        await running.client.join(invite)
    return caught.value.code


async def command(running, *arguments):
    environment = {"ATOLL_URL": running.url, "ATOLL_TOKEN": running.token, "COLUMNS": "300"}
    return await asyncio.to_thread(CliRunner().invoke, cli, ["federation", *arguments], env=environment)


async def test_who_comes_with_an_invite_is_in_the_log_of_the_node_that_lets_it_in_and_once(start):
    admin, reader = await start("Admin House", "Reading House")
    federation = (await admin.client.create_federation("Bay")).id
    made = await admin.client.invite(federation, InviteBody("reader", hours=2))

    for _ in range(2):
        await reader.client.join(made.invite)

    subject = {
        "federation": federation, "peer": peer_of(reader), "name": "Reading House", "role": "reader",
        "invite": made.id,
    }  # fmt: skip
    assert await admissions(admin) == [("node", subject, "done")]
    assert await admissions(reader) == []
    (noted,) = [row.subject for row in (await admin.client.audit()).items
                if (row.act, row.outcome) == ("federation.invite", "done")]  # fmt: skip
    assert (noted["invite"], noted["role"], noted["hours"]) == (made.id, "reader", "2")
    assert (await admin.client.verify_audit()).broken is None


async def test_who_is_turned_away_leaves_no_row(start):
    admin, first, second = await start("admin", "first", "second")
    federation = (await admin.client.create_federation("Bay")).id
    line = (await admin.client.invite(federation)).invite
    await first.client.join(line)
    assert await refused(second, line) == "federation.invite"
    assert [subject["peer"] for _, subject, _ in await admissions(admin)] == [peer_of(first)]
    turned_away = (await second.client.audit()).items[-1]  # of its own log, which says where it was
    assert (turned_away.act, turned_away.outcome) == ("federation.join", "federation.invite")
    assert (turned_away.subject["id"], turned_away.subject["peer"]) == (federation, peer_of(admin))


async def test_a_newcomer_that_gets_no_certificate_has_used_nothing_up(start):
    admin, newcomer = await start("admin", "newcomer")
    federation = (await admin.client.create_federation("Bay")).id
    made = await admin.client.invite(federation)
    token, member = read_invite(made.invite).token, newcomer.node.identity.public
    with pytest.raises(NotMember):
        admin.node.administration.redeem(bytes.fromhex(federation), token, member, "n" * 500, now_ms(), b"no key")
    assert await admissions(admin) == []

    await newcomer.client.join(made.invite)

    ((_, subject, _),) = await admissions(admin)
    assert subject["peer"] == peer_of(newcomer)


async def test_an_invite_is_listed_without_its_secret_until_it_is_taken_back(start):
    admin, first, second = await start("admin", "First House", "second")
    federation = (await admin.client.create_federation("Bay")).id
    used, lost = [await admin.client.invite(federation, InviteBody("member", 7, hours)) for hours in (2, 1)]
    await first.client.join(used.invite)

    early, late = await admin.client.invites(federation)
    assert (early.id, early.max_listings, early.used_by, early.expires_at) == (lost.id, 7, "", lost.expires_at)
    assert (late.id, late.used_by, late.used_by_name) == (used.id, peer_of(first), "First House")
    assert early.made_by == (await admin.client.audit()).items[-2].actor
    table = await command(admin, "invites", federation)
    assert lost.id in table.output
    for shown in (repr([early, late]), table.output):
        assert read_invite(lost.invite).token.hex() not in shown
        assert lost.invite[-20:] not in shown

    assert "Taken back" in (await command(admin, "uninvite", federation, lost.id)).output
    with pytest.raises(RemoteError, match="the node that made the invite does not accept it: it is unknown") as caught:
        await second.client.join(lost.invite)
    assert (caught.value.code, caught.value.hint) == ("federation.invite", "ask its admin for another one")
    assert [each.id for each in await admin.client.invites(federation)] == [used.id]
    taken = (await admin.client.audit()).items[-1]
    assert (taken.act, taken.outcome) == ("federation.uninvite", "done")
    assert (taken.subject["id"], taken.subject["invite"]) == (federation, lost.id)


async def test_what_is_used_unknown_or_expired_is_not_taken_back(start):
    admin, first = await start("admin", "first")
    federation, other = [(await admin.client.create_federation(name)).id for name in ("Bay", "Sound")]
    used, open_ = await admin.client.invite(federation), await admin.client.invite(federation)
    await first.client.join(used.invite)
    for where, which, code in (
        (federation, used.id, "federation.invite"), (federation, "0" * 12, "not_found"), (other, open_.id, "not_found"),
    ):  # fmt: skip
        with pytest.raises(RemoteError) as caught:
            await admin.client.uninvite(where, which)
        assert caught.value.code == code
    with pytest.raises(RemoteError, match="not an admin"):
        await first.client.invites(federation)
    later = open_.expires_at
    assert admin.node.administration.invites(bytes.fromhex(federation), later) == []
    assert len(admin.node.administration.invites(bytes.fromhex(federation), now_ms())) == 2


async def test_the_store_holds_no_token_of_an_invite(start):
    admin, first = await start("admin", "first")
    federation = (await admin.client.create_federation("Bay")).id
    used, open_ = [await admin.client.invite(federation) for _ in range(2)]
    await first.client.join(used.invite)
    assert {key.hex()[:12] for key in keys_of_invites(admin)} == {used.id, open_.id}
    written = await asyncio.to_thread((admin.node.home / "store" / "data.mdb").read_bytes)
    for made in (used, open_):
        assert made.id.encode() in written  # in the audit log
        assert read_invite(made.invite).token not in written


async def test_nobody_is_let_in_by_what_the_store_keeps_of_an_invite(start):
    admin, thief = await start("admin", "thief")
    federation = (await admin.client.create_federation("Bay")).id
    made = read_invite((await admin.client.invite(federation)).invite)
    (kept,) = keys_of_invites(admin)
    for shown in (kept, kept[:16], b""):
        with pytest.raises(NotFound):
            admin.node.administration.redeem(made.federation, shown, thief.node.identity.public, "thief", now_ms())
    assert await admissions(admin) == []


async def test_a_node_forgets_invites_that_have_expired_and_no_others(start, monkeypatch):
    loop, swept, sweep = asyncio.get_running_loop(), asyncio.Event(), Administration.sweep

    def told(*arguments):
        sweep(*arguments)
        loop.call_soon_threadsafe(swept.set)

    monkeypatch.setattr(Administration, "sweep", told)
    admin, first = await start("admin", "first")
    federation = bytes.fromhex((await admin.client.create_federation("Bay")).id)
    inviting, redeem = admin.node.administration.invite, admin.node.administration.redeem
    used, _ = [inviting(federation, (), now_ms() - limits.DAY, limits.MINUTE) for _ in range(2)]
    open_ = inviting(federation, (), now_ms(), limits.DAY)
    redeem(federation, used.token, first.node.identity.public, "first", now_ms() - limits.DAY)
    await admin.client.create_federation("Sound")  # wakes its upkeep
    async with asyncio.timeout(30):
        while len(keys_of_invites(admin)) > 1:
            await swept.wait()
            swept.clear()
    assert [key.hex()[:12] for key in keys_of_invites(admin)] == [invite_id(open_.token)]


async def test_a_revoked_member_does_not_come_back_by_the_invite_that_it_has_used(start):
    admin, member = await start("admin", "member")
    federation = (await admin.client.create_federation("Bay")).id
    line = (await admin.client.invite(federation)).invite
    await member.client.join(line)
    await admin.client.revoke(federation, peer_of(member))
    assert await refused(member, line) == "federation.invite"
    assert [each.peer_id for each in await admin.client.members(federation)] == [peer_of(admin)]
    await member.client.join((await admin.client.invite(federation)).invite)
    assert len(await admin.client.members(federation)) == 2
