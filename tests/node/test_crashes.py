"""kill -9 at random moments under publishing and syncing: what was acknowledged is there, nothing is torn, no fork."""

import asyncio
import contextlib
import itertools
import random
from contextlib import AsyncExitStack

import pytest
from atoll.node.client import RemoteError
from atoll.node.demo.processes import institution, make_home
from atoll.node.errors import NodeUnreachable
from atoll.node.store.verification import verify_home
from atoll.protocol.listings import Offers

CHANGES = [Offers(predict="members"), Offers(download="members"), Offers(disclose="members")]


class Publisher:
    """Changes what is offered with a learnware, without pause; knows what was acknowledged and what was in flight."""

    def __init__(self, learnware, federation):
        self.learnware, self.federation = learnware, federation
        self.acknowledged = self.asked = None
        self.count = 0

    async def run(self, client):
        for offers in itertools.cycle(CHANGES):
            self.asked = offers
            await client.publish(self.learnware, self.federation, offers)
            self.acknowledged = offers
            self.count += 1

    async def check(self, client):
        """What is there is what was acknowledged, or the one change that was in flight."""
        (found,) = [each for each in await client.learnwares() if each.learnware_id == self.learnware]
        listed = found.listed[self.federation]
        assert listed in (self.acknowledged, self.asked)
        self.acknowledged = self.asked = listed


async def level(nodes, federation):
    """Wait until all show the same catalogue."""
    async with asyncio.timeout(40):
        while len({(await node.client.catalogue_root(federation)).root for node in nodes}) > 1:
            await asyncio.sleep(0.1)


async def crashes(tmp_path, digits, times, seed):
    dice = random.Random(seed)
    settings = {"ATOLL__P2P__SYNC_SECONDS": "1"}
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(institution("admin", tmp_path / "admin", settings=settings))
        home = tmp_path / "victim"
        token = await make_home("victim", home)
        federation = (await admin.client.create_federation("crashing")).id
        await admin.client.add_island(digits.island())
        package = digits.package(admin.endpoint.peer_id, digits.island(), 2, 3)
        other = Publisher((await admin.client.add_learnware(package)).learnware_id, federation)
        own = None
        for _ in range(times):
            async with institution("victim", home, token=token, settings=settings) as victim:
                if own is None:
                    await victim.client.join((await admin.client.invite(federation)).invite)
                    await victim.client.add_island(digits.island())
                    packed = digits.package(victim.endpoint.peer_id, digits.island(), 0, 1)
                    own = Publisher((await victim.client.add_learnware(packed)).learnware_id, federation)
                elif own.acknowledged:
                    await own.check(victim.client)
                    await other.check(admin.client)
                work = [asyncio.ensure_future(own.run(victim.client)), asyncio.ensure_future(other.run(admin.client))]
                await asyncio.wait(work, timeout=dice.uniform(0.1, 1.2))
                victim.process.kill()
                await victim.process.wait()
                work[1].cancel()
                for each in work:
                    with contextlib.suppress(NodeUnreachable, RemoteError, asyncio.CancelledError):
                        await each
            verify_home(home).require_whole()
        async with institution("victim", home, token=token, settings=settings) as victim:
            await own.check(victim.client)
            await other.check(admin.client)
            await level([admin, victim], federation)
            for node in (admin, victim):
                assert (await node.client.governance(federation)).quarantined == ()
                assert (await node.client.verify_audit()).broken is None
            assert {each.learnware_id for each in await admin.client.catalogue()} == {own.learnware, other.learnware}
    assert own.count >= times
    return own.count + other.count


async def test_ten_kills_lose_nothing_and_fork_nothing(tmp_path, digits):
    await crashes(tmp_path, digits, 10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_a_hundred_kills(tmp_path, digits):
    print(await crashes(tmp_path, digits, 100, seed=2), "acknowledged changes")
