"""Nodes as processes, killed with SIGKILL at random moments, lost and restored: what was acknowledged is there, nothing
is torn, and no owner ever signs two histories."""

import asyncio
import itertools
import random
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import msgspec
import pytest
from atoll.node import identity as identities
from atoll.node.demo.processes import COMMAND, institution, make_home
from atoll.node.errors import NodeUnreachable
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federations
from atoll.node.store.verification import verify_home
from atoll.protocol.listings import Offers

SETTINGS = {"ATOLL__P2P__SYNC_SECONDS": "0.5"}
POLL, LEVEL_SECONDS = 0.05, 40.0
EVERY_OFFER = [Offers(*some) for some in itertools.product(("members", "nobody"), repeat=4)]
UNLISTED, GONE = "in the dock, not listed", "not in the dock"


class Machine:
    """A home, and the node that runs on it if one does."""

    def __init__(self, home, token):
        self.home, self.token = home, token
        self._stack = AsyncExitStack()

    async def start(self):
        context = institution(self.home.name, self.home, token=self.token, settings=SETTINGS)
        self.node = await self._stack.enter_async_context(context)
        self.client, self.peer = self.node.client, self.node.endpoint.peer_id

    async def kill(self):
        self.node.process.kill()
        await self.node.process.wait()
        await self.stop()

    async def stop(self):
        await self._stack.aclose()


@asynccontextmanager
async def machine(home, token=None):
    """A machine whose node, if one runs in the end, ends with the block."""
    made = Machine(home, token or await make_home(home.name, home))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def federated(folder, *names):
    """Machines in one federation that the first has founded, and its id."""
    async with AsyncExitStack() as stack:
        machines = [await stack.enter_async_context(machine(folder / name)) for name in names]
        federation = (await machines[0].client.create_federation("crashing")).id
        for each in machines[1:]:
            await each.client.join((await machines[0].client.invite(federation)).invite)
        yield machines, federation


class Owner:
    """Publishes, changes offers and withdraws at its node without a pause, one request at a time.

    ``states`` is what was acknowledged of each learnware; ``outcomes`` are the states in which a request that was not
    acknowledged may leave its learnware.
    """

    def __init__(self, machine, federation, packages, dice):
        self.machine, self.federation, self.packages, self.dice = machine, federation, packages, dice
        self.states = {}
        self.asked, self.outcomes = "", ()
        self.history = []

    async def fill(self):
        for package in self.packages:
            learnware = await self.machine.client.add_learnware(package)
            self.states[learnware.learnware_id] = UNLISTED
        self.packages = dict(zip(self.states, self.packages, strict=True))
        for learnware in self.states:
            await self.act(learnware)

    async def act(self, learnware=None):
        client, self.asked = self.machine.client, learnware or self.dice.choice(sorted(self.states))
        before = self.states[self.asked]
        if before == GONE:
            self.outcomes = (GONE, UNLISTED)
            await client.add_learnware(self.packages[self.asked])
        elif before != UNLISTED and self.dice.random() < 0.2:
            self.outcomes = (before, UNLISTED, GONE)
            await client.remove_learnware(self.asked)
            self.history.append(self.states | {self.asked: UNLISTED})  # on the way it was withdrawn, not yet removed
        else:
            offers = self.dice.choice([each for each in EVERY_OFFER if each != before])
            self.outcomes = (before, offers)
            await client.publish(self.asked, self.federation, offers)
        self._now(self.outcomes[-1])

    async def check(self):
        """What is there is what was acknowledged; the request that was in flight has happened or has not. A package
        that was being checked is checked again first."""
        for each in await self.machine.client.submissions():
            assert (await self.machine.client.submission(each.id, wait=30.0)).state in ("accepted", "refused")
        found = await self.shown()
        if self.outcomes:
            assert found[self.asked] in self.outcomes
            self._now(found[self.asked])
        assert found == self.states

    async def shown(self):
        """What its node says of each of its learnwares."""
        there = {each.learnware_id: each.listed for each in await self.machine.client.learnwares()}
        assert there.keys() <= self.states.keys()
        return {
            each: there[each].get(self.federation, UNLISTED) if each in there else GONE
            for each in self.states
        }  # fmt: skip

    @property
    def listed(self):
        return {each: state for each, state in self.states.items() if isinstance(state, Offers)}

    def _now(self, state):
        self.states[self.asked], self.outcomes = state, ()
        self.history.append(dict(self.states))


class Admin:
    """Takes learnwares down and puts them back, one after the other; knows which are down."""

    def __init__(self, machine, federation, owner, dice):
        self.machine, self.federation, self.owner, self.dice = machine, federation, owner, dice
        self.down = set()
        self.count = 0

    async def act(self):
        learnware = self.dice.choice(sorted(self.owner.states))
        client, peer = self.machine.client, self.owner.machine.peer
        decree = client.put_back if learnware in self.down else client.take_down
        await decree(self.federation, peer, learnware)
        self.down ^= {learnware}
        self.count += 1


class Reader:
    """Reads the catalogue of a node; what it has shown once, it must not forget."""

    def __init__(self, machine):
        self.machine = machine
        self.seen = {}

    async def act(self):
        for each in await self.machine.client.catalogue():
            assert each.issued_at >= self.seen.get(each.learnware_id, 0), "an older listing has come back"
            self.seen[each.learnware_id] = each.issued_at


async def work(actor, killed):
    """Act until a node is killed; only who asks the killed node may remain without an answer."""
    try:
        while not killed.is_set():
            await actor.act()
    except (NodeUnreachable, RuntimeError):  # the latter is aiohttp's, of a session that was closed in between
        if not killed.is_set():
            raise


async def kill_under(actors, victim, seconds):
    """Kill the node of ``victim`` while all act, in the middle of whatever it is asked just then."""
    killed = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for actor in actors:
            group.create_task(work(actor, killed))
        await asyncio.sleep(seconds)
        killed.set()
        await victim.kill()


async def level(machines, federation, expected):
    """Wait until every node shows exactly ``expected`` ({learnware: offers}) and all agree on the root; no owner may
    have forked."""
    try:
        async with asyncio.timeout(LEVEL_SECONDS):
            while True:
                shown = [{each.learnware_id: each.offers for each in await m.client.catalogue()} for m in machines]
                roots = {(await each.client.catalogue_root(federation)).root for each in machines}
                if len(roots) == 1 and all(each == expected for each in shown):
                    break
                await asyncio.sleep(POLL)  # the nodes are other processes: there is no event to wait for
    except TimeoutError:
        forked = [(await each.client.governance(federation)).quarantined for each in machines]
        raise AssertionError(f"not level: {shown} is shown instead of {expected}; in quarantine: {forked}") from None
    for each in machines:
        assert (await each.client.governance(federation)).quarantined == ()


def packages_of(digits, peer, count):
    island = digits.island()
    return [digits.package(peer, island, 2 * number, 2 * number + 1) for number in range(count)]


async def crashes(tmp_path, digits, victims, seed):
    """Kill ``victims`` one after the other under work and start them again; returns how much was acknowledged."""
    dice = random.Random(seed)
    async with federated(tmp_path, "admin", "publisher", "receiver") as (machines, federation):
        admin, publisher, receiver = machines
        await publisher.client.add_island(digits.island())
        owner = Owner(publisher, federation, packages_of(digits, publisher.peer, 3), dice)
        decrees, reader = Admin(admin, federation, owner, dice), Reader(receiver)
        await owner.fill()
        machine_of = dict(zip(("admin", "publisher", "receiver"), machines, strict=True))
        in_flight = 0
        for name in victims:
            victim = machine_of[name]
            audited = await victim.client.verify_audit()

            await kill_under((owner, decrees, reader), victim, dice.uniform(0.02, 1.0))

            in_flight += bool(owner.outcomes)
            verify_home(victim.home).require_whole()
            await victim.start()
            await owner.check()
            await reader.act()
            assert (await victim.client.verify_audit((audited.seq, audited.digest))).broken is None
            shown = {each: offers for each, offers in owner.listed.items() if each not in decrees.down}
            await level(machines, federation, shown)
    assert in_flight >= victims.count("publisher") // 2  # else they came between two requests, and prove little
    return len(owner.history), decrees.count


@pytest.mark.timeout(300)
async def test_kills_lose_nothing_and_fork_nothing(tmp_path, digits):
    acknowledged, decrees = await crashes(tmp_path, digits, ["publisher"] * 2 + ["receiver"] * 2, seed=1)
    assert acknowledged > 8
    assert decrees > 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_hundred_kills(tmp_path, digits):
    acknowledged, decrees = await crashes(tmp_path, digits, ["publisher"] * 50 + ["receiver"] * 50, seed=2)
    print(f"100 kills, {acknowledged} changes of the owner and {decrees} decrees acknowledged")


# -- lost, and restored from a backup ----------------------------------------------------------------------------------


@dataclass
class Lost:
    """A node that was destroyed: ``backed_up`` is what its listings may be in the backup, ``new`` a learnware that it
    published after that, ``position`` where its log stood in the end."""

    machine: Machine
    others: list[Machine]
    federation: str
    owner: Owner
    backed_up: list[dict]
    new: str
    position: tuple[int, int]

    @property
    def all(self):
        return [self.machine, *self.others]

    async def restore(self, backup, home):
        """Into a new home; nothing runs on it yet."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "restore", str(backup), "--home", str(home), "--json", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        assert msgspec.json.decode(output)["peer_id"] == self.machine.peer
        self.machine.home = home

    async def check_backed_up(self):
        """Its listings are those of one moment while the backup was made, and it has nothing newer."""
        there = {each.learnware_id for each in await self.machine.client.learnwares()}
        assert self.new not in there
        self.owner.states = await self.owner.shown()
        assert self.owner.states in self.backed_up


@pytest.fixture
async def lost(tmp_path, digits):
    """One of three nodes, destroyed after it has published without a pause while a backup was made, and more then."""
    async with federated(tmp_path, "other", "lost", "third") as (machines, federation):
        other, node, third = machines
        await node.client.add_island(digits.island())
        *packages, later = packages_of(digits, node.peer, 4)
        owner = Owner(node, federation, packages, random.Random(3))
        await owner.fill()
        backed_up = await back_up_under_writes(owner, tmp_path / "backup.tar")
        new = (await node.client.add_learnware(later)).learnware_id
        await node.client.publish(new, federation, EVERY_OFFER[0])
        while owner.states in backed_up:
            await owner.act()
        await level(machines, federation, owner.listed | {new: EVERY_OFFER[0]})
        await node.kill()
        where = position(node.home, federation, node.home)
        shutil.rmtree(node.home)
        yield Lost(node, [other, third], federation, owner, backed_up, new, where)


async def back_up_under_writes(owner, path):
    """Returns the states of the owner from the beginning of the backup to its end."""
    done, begun = asyncio.Event(), len(owner.history)
    async with asyncio.TaskGroup() as group:
        group.create_task(work(owner, done))
        while len(owner.history) < begun + 3:  # a backup beside which nothing was written proves little
            begun = len(owner.history) - 1
            await owner.machine.client.backup(path)
        done.set()
    return owner.history[begun:]


def position(home, federation, owner_home):
    """(epoch, seq) of a node's own log as a home has it, in which no node runs."""
    owner = identities.load(owner_home)
    store = Store(home / "store")
    try:
        return Catalogue(store, Federations(store, owner)).log(bytes.fromhex(federation), owner.public).position
    finally:
        store.close()


async def publish_more(owner, changes=8):
    """Change the owner's log exactly so many times; what is not in the dock is added on the way."""
    for learnware in itertools.cycle(sorted(owner.states)):
        changes -= owner.states[learnware] != GONE
        await owner.act(learnware)
        if not changes:
            return


@pytest.mark.timeout(300)
async def test_a_lost_node_comes_back_as_it_was_backed_up_and_goes_on(lost, tmp_path):
    await lost.restore(tmp_path / "backup.tar", tmp_path / "again")
    assert position(lost.machine.home, lost.federation, lost.machine.home) < lost.position

    await lost.machine.start()

    await lost.check_backed_up()
    await level(lost.all, lost.federation, lost.owner.listed)
    await publish_more(lost.owner)
    await level(lost.all, lost.federation, lost.owner.listed)
    assert (await lost.machine.client.verify_audit()).broken is None
    for each in lost.all:
        await each.stop()
    positions = {position(each.home, lost.federation, lost.machine.home) for each in lost.all}
    assert len(positions) == 1
    assert positions.pop()[0] > lost.position[0]


@pytest.mark.timeout(300)
async def test_a_restored_node_publishes_while_its_peers_are_away_and_makes_no_fork(lost, tmp_path):
    for each in lost.others:
        await each.kill()
    await lost.restore(tmp_path / "backup.tar", tmp_path / "again")
    epoch, seq = position(lost.machine.home, lost.federation, lost.machine.home)
    assert epoch == lost.position[0]
    await lost.machine.start()
    await lost.check_backed_up()
    await publish_more(lost.owner, (lost.position[1] - seq) // 2)  # in the old epoch it would stand where it was lost

    for each in lost.others:
        await each.start()
        await each.client.add_peer(lost.machine.node.endpoint.addresses[0])  # a new start, a new port

    await level(lost.all, lost.federation, lost.owner.listed)
    await publish_more(lost.owner)
    await level(lost.all, lost.federation, lost.owner.listed)
