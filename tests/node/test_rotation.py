"""A new key for an institution: it stays a member, its learnwares stay listed, who stole the old key has nothing."""

import json
import shutil
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from atoll.node.cli.main import cli
from atoll.node.clock import now_ms
from atoll.node.identity import FILE, NEXT, PREVIOUS
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Offers
from click.testing import CliRunner

SHOWN = Offers(disclose="members", download="members")


def command(*arguments, stdin=None):
    return CliRunner().invoke(cli, [*map(str, arguments)], input=stdin)


class Institution:
    """A home on which a node runs, or does not."""

    def __init__(self, home, run):
        self.home, self._run, self._stack = home, run, AsyncExitStack()
        made = command(
            "init", "--home", home, "--name", home.name, "--http-port", 0, "--listen", "/ip4/127.0.0.1/tcp/0", "--json"
        )
        told = json.loads(made.output)
        self.token, self.recovery = told["token"], told["recovery"]

    async def start(self):
        self.running = await self._stack.enter_async_context(self._run(self.home, self.token))
        self.node, self.client = self.running.node, self.running.client
        return self

    async def stop(self):
        await self._stack.aclose()

    def rotate(self, *, by_recovery=False):
        given = ("--recovery", "-") if by_recovery else ()
        line = self.recovery if by_recovery else None
        return command("identity", "rotate", "--home", self.home, "--json", *given, stdin=line)

    @property
    def public(self):
        return self.node.identity.public

    def shown(self):
        """{learnware id: owner} of what it shows."""
        return {each.learnware_id.hex(): each.owner for each in self.node.catalogue.alive(now_ms())}


@pytest.fixture
async def three(tmp_path, start_home):
    """An admin and two members of one federation, running; and its id."""

    @asynccontextmanager
    async def founded():
        all_ = [Institution(tmp_path / name, start_home) for name in ("admin", "one", "two")]
        try:
            for each in all_:
                await each.start()
            federation = (await all_[0].client.create_federation("test")).id
            for each in all_[1:]:
                await each.client.join((await all_[0].client.invite(federation)).invite)
            yield all_, federation
        finally:
            for each in all_:
                await each.stop()

    async with founded() as made:
        yield made


async def reconnect(rotated, *others):
    """Whoever has started again has another port: it is told where the others are, as its configuration would."""
    for each in others:
        await rotated.client.add_peer(each.node.network.addresses[0])


async def test_a_member_gets_a_new_key_and_its_learnwares_stay_listed(three, publish, changed):
    (admin, one, two), federation = three
    raw, old = bytes.fromhex(federation), one.public
    learnware = await publish(one, federation, SHOWN, 0, 1)
    await changed(two, lambda: two.shown() == {learnware: old})
    await one.stop()
    told = json.loads(one.rotate().output)
    assert told["old"] == peer_id(old)
    assert told["federations"] == ["test"]

    await one.start()
    await reconnect(one, admin, two)

    assert one.node.identity.peer == told["new"]
    for each in (admin, one, two):
        await changed(each, lambda each=each: each.shown() == {learnware: one.public})
        assert "handed over" in each.node.catalogue.hidden(raw, old, now_ms())
        assert not each.node.federations.standing(raw, old, now_ms())
    (view,) = await one.client.federations()
    assert view.standing
    assert [each.peer_id for each in await admin.client.members(federation) if each.name == "one"] == [told["new"]]
    assert {each.listed[federation].download for each in await one.client.learnwares()} == {"members"}
    found = await two.client.catalogue_root(federation)
    assert found.root == (await one.client.catalogue_root(federation)).root


async def test_who_followed_a_founder_governs_on(three, changed, until):
    (admin, one, two), federation = three
    raw = bytes.fromhex(federation)
    await admin.client.revoke(federation, two.node.identity.peer)
    await changed(one, lambda: not one.node.federations.standing(raw, two.public, now_ms()))
    await admin.stop()
    assert admin.rotate().exit_code == 0
    await admin.start()
    await reconnect(admin, one)

    await changed(one, lambda: one.node.federations.admins(raw) == {admin.public})
    await until(one, lambda: raw in one.node.peers.shared(admin.node.identity.peer))
    await changed(one, lambda: two.public in one.node.federations.authority(raw).revoked)
    assert not one.node.federations.standing(raw, two.public, now_ms())  # what was decreed is decreed again
    await two.client.join((await admin.client.invite(federation)).invite)
    assert two.node.federations.standing(raw, two.public, now_ms())


async def test_with_the_recovery_line_a_stolen_key_is_worth_nothing(three, tmp_path, start_home, publish, changed):
    """The thief has copied the whole home, and is faster: it has handed the membership over to itself."""
    (admin, one, two), federation = three
    raw, old = bytes.fromhex(federation), one.public
    learnware = await publish(one, federation, SHOWN, 0, 1)
    await changed(two, lambda: learnware in two.shown())
    await one.stop()
    thief = Institution(tmp_path / "unused", start_home)
    thief.home, thief.token = tmp_path / "thief", one.token
    shutil.copytree(one.home, thief.home)
    assert thief.rotate().exit_code == 0
    await thief.start()
    await reconnect(thief, admin, two)
    await changed(two, lambda: two.shown() == {learnware: thief.public})

    assert one.rotate(by_recovery=True).exit_code == 0
    await one.start()
    await reconnect(one, admin, two)

    for each in (admin, two):
        await changed(each, lambda each=each: each.shown() == {learnware: one.public})
        assert not each.node.federations.standing(raw, thief.public, now_ms())
        assert not each.node.federations.standing(raw, old, now_ms())
    await thief.stop()


async def test_a_lost_key_needs_the_recovery_line_and_the_right_one(three):
    (admin, one, _), _ = three
    await one.stop()
    (one.home / FILE).unlink()
    assert "recovery" in error_of(one.rotate())
    line, one.recovery = one.recovery, admin.recovery
    assert "such a recovery key" in error_of(one.rotate(by_recovery=True))
    assert not (one.home / NEXT).exists()
    one.recovery = line
    assert one.rotate(by_recovery=True).exit_code == 0
    assert (one.home / FILE).exists()


async def test_a_machine_that_burned_down_comes_back_from_a_backup_without_its_key(three, tmp_path, publish, changed):
    (admin, one, two), _ = three
    learnware = await publish(one, three[1], SHOWN, 0, 1)
    await changed(two, lambda: learnware in two.shown())
    await one.client.backup(tmp_path / "b.tar", with_key=False)
    await one.stop()
    shutil.rmtree(one.home)
    restoring = ("restore", tmp_path / "b.tar", "--home", one.home)
    assert "--recovery" in error_of(command(*restoring))
    assert command(*restoring, "--recovery", "-", stdin=one.recovery).exit_code == 0

    await one.start()
    await reconnect(one, admin, two)

    await changed(two, lambda: two.shown() == {learnware: one.public})


async def test_an_interrupted_change_of_keys_goes_on_where_it_was(three, monkeypatch):
    (_, one, _), _ = three
    assert one.rotate().exit_code != 0  # the node runs
    await one.stop()
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        assert one.rotate().exit_code != 0
    assert (one.home / NEXT).exists()
    with pytest.raises(Exception, match="interrupted"):
        await one.start()
    assert one.rotate().exit_code == 0
    assert not (one.home / NEXT).exists()
    assert (one.home / PREVIOUS).exists()
    await one.start()


def fail(*_):
    raise OSError("the disk is gone")


def error_of(result):
    assert result.exit_code != 0
    return f"{result.output} {getattr(result.exception, 'message', '')} {getattr(result.exception, 'hint', '')}"
