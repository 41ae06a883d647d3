"""Mutated, cut, oversized and slow frames of a member, on every stream protocol and the gossip topic of a live node: it
goes on serving, keeps neither memory nor descriptors nor streams, and knows who sent them.

Where hundreds are sent, the attacked node is made patient: it would cut the attacker off after a few, and never judge
the rest.
"""

import asyncio
import logging
import os
import random
import resource
import secrets
from collections import Counter

import pytest
import trio
from atoll.engine.encoding import Array
from atoll.engine.errors import AtollError
from atoll.engine.specs import fit_rkme
from atoll.node.clock import now_ms
from atoll.node.p2p.buckets import Buckets
from atoll.node.p2p.gatekeeper import OFFENCES
from atoll.protocol import ask, fetch, hello, join, limits, match, peers, predict, sync
from atoll.protocol.ask import AskRequest
from atoll.protocol.fetch import FetchRequest
from atoll.protocol.gossip import Announcement
from atoll.protocol.hello import Hello, Proof, hello_tag, welcome_tag
from atoll.protocol.join import JoinRequest, RenewRequest
from atoll.protocol.listings import Offers
from atoll.protocol.match import MatchRequest
from atoll.protocol.membership import read_invite
from atoll.protocol.messages import Message, encode, topic
from atoll.protocol.peers import PeersRequest
from atoll.protocol.predict import PredictRequest
from atoll.protocol.sync import BUCKETS, DIGEST, Compare, Entry, Kind, Notice, Offer, Pull, PullNotice
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V12
from libp2p.pubsub.pb import rpc_pb2

BOTH = Offers(disclose="members", predict="members", download="members")
MODULES = (hello, join, peers, sync, match, fetch, predict, ask)
MEMORY = 64 * 1024 * 1024
AT_ONCE = 4  # streams; fewer than any protocol serves of one peer
ANSWER_WITHIN = 8.0
SLOW_WITHIN = 15.0  # a control frame has 10 s

BOMBS = (
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",  # huge lengths
    b"\x91" * 3000, b"\x81\xa1a" * 2000, b"\x80" * 5000, b"\xc0" * 5000,  # deep, and wide
    b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7f\xf0" + bytes(6), b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7),  # numbers
    b"\xc7\x08\x05" + bytes(8), b"\xa4\xff\xfe\xff\xfe", b"\xc1", b"",
)  # fmt: skip


# -- frames ------------------------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def framed(body: bytes) -> bytes:
    return varint(len(body)) + body


def mutated(dice: random.Random, frame: bytes, others: list[bytes]) -> bytes:
    """``frame`` with one to three of: bits flipped, bytes put in, cut out, repeated, spliced with another's."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        place = dice.randrange(len(frame) + 1)
        end = min(len(frame), place + dice.choice((1, 2, 8, 64, 1000)))
        match dice.randrange(6):
            case 0:
                data = bytearray(frame)
                for _ in range(dice.choice((1, 1, 2, 8)) if data else 0):
                    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
                frame = bytes(data)
            case 1:
                frame = frame[:place] + dice.randbytes(dice.choice((1, 4, 100))) + frame[place:]
            case 2:
                frame = frame[:place] + frame[end:]
            case 3:
                frame = frame[:place] + frame[place:end] * dice.choice((2, 3, 50)) + frame[end:]
            case 4:
                other = dice.choice(others)
                frame = frame[:place] + other[dice.randrange(len(other) + 1) :]
            case 5:
                frame = frame[:place] + dice.choice(BOMBS) + frame[end:]
    return frame


def wire(dice: random.Random, body: bytes) -> bytes:
    """``body`` behind its length, mostly; else behind a wrong, impossible or malformed one, or half of it."""
    match dice.randrange(10):
        case 0:
            return varint(max(0, len(body) + dice.choice((-1, 1, -7, 100)))) + body
        case 1:
            return varint(dice.choice((limits.PREDICT_FRAME + 1, 2**32 - 1, 2**34))) + body
        case 2:
            return dice.choice((b"\x80\x00", b"\xff" * 6, b"\x85\x80\x00")) + body
        case 3:
            return framed(body)[: len(body) // 2]
        case _:
            return framed(body)


# -- what is sent ------------------------------------------------------------------------------------------------------


class Scene:
    """Three members of a private federation: ``victim``, its admin, is attacked by ``attacker``; ``third`` looks on."""

    def __init__(self, nodes, federation, invite, digits, learnware):
        self.victim, self.attacker, self.third = nodes
        self.federation, self.raw = federation, bytes.fromhex(federation)
        self._digits, self._learnware, self._invite = digits, bytes.fromhex(learnware), read_invite(invite)
        self.target, self.own = self.victim.node.identity.peer, self.attacker.node.identity.peer
        self.network = self.attacker.node.network
        self.sent = Counter()

    async def run(self, afn, *args):
        return await self.network._thread.call(afn, *args)

    def make_patient(self):
        network = self.victim.node.network
        network._gatekeeper._offences = Buckets(1e9, 1e9)
        network._gossip._buckets = Buckets(1e9, 1e9)

    def noted(self):
        return self.victim.node.peers.get(self.own).misbehaved

    async def let_back_in(self):
        """The victim forgets who shares what when a mutated hello shares nothing, and hangs up on whom it likes."""
        if not self.victim.node.peers.admitted(self.own) or self.target not in self.network._streams.connected():
            await self.network.dial(self.victim.node.network.addresses[0])

    def news(self) -> Announcement:
        """True news of the attacker's own log."""
        public, catalogue = self.attacker.node.identity.public, self.attacker.node.catalogue
        certificate = self.attacker.node.federations.certificate_of(self.raw, public)
        head = catalogue.log(self.raw, public).head.record
        return Announcement(self.raw, head, certificate, tuple(catalogue.records(self.raw, public)))

    def messages(self) -> dict[str, list[list[bytes]]]:
        """By protocol: conversations as a member has them, the bodies of what it sends."""
        raw, owner = self.raw, self.victim.node.identity.public
        island = self._digits.island()
        rkme = fit_rkme(island.transform(self._digits.of(0, 1)), 30, island.gamma).record()
        (listing,) = self.victim.node.catalogue.of_owner(raw, owner)
        nonce, certificate = secrets.token_bytes(16), self.news().certificate
        tags = (hello_tag(raw, nonce, self.own, self.target),)
        proof = Proof({welcome_tag(raw, nonce, self.own, self.target).hex(): certificate})
        rows = Array.of(self._digits.values[:3].astype("float32"))
        entries = (Entry(Kind.LOG, owner, 1, 1, b"x" * 8), Entry(Kind.FORK, owner, 0, 1))
        singles: dict[str, tuple[Message, ...]] = {
            join.PROTOCOL: (JoinRequest(raw, self._invite.token, "new", ("/ip4/127.0.0.1/tcp/1",)), RenewRequest(raw)),
            peers.PROTOCOL: (PeersRequest(raw),),
            sync.PROTOCOL: (
                Compare(raw, bytes(BUCKETS * DIGEST)), Pull(raw, owner, 0), PullNotice(raw, Kind.DECREE, owner),
                Offer(raw, entries), self.news(),
                Notice(raw, Kind.DECREE, self.victim.node.federations.decrees(raw)[:1]),
            ),
            match.PROTOCOL: (MatchRequest(raw, island.digest, rkme, user="u"),),
            fetch.PROTOCOL: (
                FetchRequest(raw, "island", island.digest), FetchRequest(raw, "package", listing.revision, 100, "u"),
            ),
            predict.PROTOCOL: (PredictRequest(raw, self._learnware, island.digest, rows, "u"),),
            ask.PROTOCOL: (AskRequest(raw, self._learnware),),
        }  # fmt: skip
        greeting = Hello(hello.VERSIONS, now_ms(), nonce, tags, "attacker", self.network.addresses)
        found = {protocol: [[encode(each)] for each in ones] for protocol, ones in singles.items()}
        return {hello.PROTOCOL: [[encode(greeting), encode(proof)]], **found}

    async def converse(self, protocol: str, data: bytes) -> bytes:
        """In the trio loop: send bytes as they are, close, return what comes back until the end."""
        got = bytearray()
        try:
            with trio.fail_after(ANSWER_WITHIN):
                async with self.network._streams.open(self.target, protocol, deadline=ANSWER_WITHIN) as channel:
                    await channel.write(data)
                    await channel.finish()
                    self.sent[protocol] += 1
                    while chunk := await channel.read():
                        got += chunk
        except AtollError:  # reset, as it should be
            pass
        return bytes(got)

    async def attack(self, protocol: str, datas: list[bytes]) -> None:
        """A few at a time; whoever is thrown out comes back."""
        for start in range(0, len(datas), AT_ONCE):
            await self.let_back_in()
            await self.run(self._attack, protocol, datas[start : start + AT_ONCE])

    async def _attack(self, protocol, datas):
        async with trio.open_nursery() as nursery:
            for data in datas:
                nursery.start_soon(self.converse, protocol, data)

    def signed(self, data: bytes) -> rpc_pb2.Message:
        """A gossip message that the attacker has signed."""
        pubsub = self.network._gossip._pubsub
        message = rpc_pb2.Message(
            data=data, topicIDs=[topic(self.raw)], from_id=pubsub.my_id.to_bytes(), seqno=pubsub._next_seqno()
        )
        message.signature = pubsub.sign_key.sign(b"libp2p-pubsub:" + message.SerializeToString())
        message.key = pubsub.host.get_public_key().serialize()
        return message

    def rpcs(self) -> list[bytes]:
        """RPCs as a member sends them: news, and control of every kind."""
        name, news = topic(self.raw), self.signed(encode(self.news()))
        subscription = rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=name)])
        control = rpc_pb2.RPC()
        control.control.graft.add(topicID=name)
        control.control.prune.add(topicID=name, backoff=1)
        control.control.ihave.add(topicID=name, messageIDs=[b"m" * 32, b"n" * 32])
        control.control.iwant.add(messageIDs=[b"m" * 32])
        control.control.idontwant.add(messageIDs=[b"m" * 32])
        return [
            rpc_pb2.RPC(publish=[news]).SerializeToString(),
            *(r.SerializeToString() for r in (subscription, control)),
        ]

    def streams(self) -> int:
        """Open between the two, as the victim sees it."""
        swarm = self.victim.node.network._streams._network
        return sum(len(each.get_streams()) for each in swarm.get_connections(ID.from_base58(self.own)))


@pytest.fixture
async def scene(federated, publish, changed, until, digits):
    (victim, attacker, third), federation = await federated("victim", "attacker", "third")
    learnware = await publish(victim, federation, BOTH, 0, 1)
    await publish(attacker, federation, BOTH, 2, 3)
    await changed(victim, lambda: len(victim.node.catalogue.alive(now_ms())) == 2)
    invite = (await victim.client.invite(federation)).invite
    await victim.client.take_down(federation, victim.node.identity.peer, learnware)  # so there is a decree to speak of
    await victim.client.put_back(federation, victim.node.identity.peer, learnware)
    return Scene((victim, attacker, third), federation, invite, digits, learnware)


@pytest.fixture
def surprises():
    """What the network has logged as an error: an exception that nobody expected."""
    found = []

    class Keep(logging.Handler):
        def emit(self, record):
            if record.levelno >= logging.ERROR:
                found.append(record.getMessage())

    handler = Keep()
    logging.getLogger("atoll.p2p").addHandler(handler)
    yield found
    logging.getLogger("atoll.p2p").removeHandler(handler)


def listed(running) -> set[str]:
    return {each.learnware_id.hex() for each in running.node.catalogue.alive(now_ms())}


def memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def assert_unharmed(scene, before, publish, changed):
    """Streams and descriptors are as before, memory nearly; news goes to the third, and HTTP answers."""
    held, files, streams = before
    async with asyncio.timeout(20):  # a served stream waits 5 s for its other end
        while descriptors() > files or scene.streams() > streams:
            await asyncio.sleep(0.1)
    assert memory() - held < MEMORY
    learnware = await publish(scene.victim, scene.federation, Offers(), 4, 5)
    await changed(scene.third, lambda: learnware in listed(scene.third))
    assert (await scene.victim.client.node()).peer_id == scene.target


async def flood_streams(scene, number, seed, publish, changed):
    scene.make_patient()
    messages = scene.messages()
    every = [body for bodies in messages.values() for conversation in bodies for body in conversation]
    for protocol, conversations in messages.items():
        for bodies in conversations:  # as they are, they are answered: what is mutated would else mean nothing
            await scene.let_back_in()
            got = await scene.run(scene.converse, protocol, b"".join(map(framed, bodies)))
            assert got, (protocol, bodies)
            assert b"Refusal" not in got[:40], (protocol, got)
    before = memory(), descriptors(), scene.streams()
    for module in MODULES:
        dice, noted, datas = random.Random(f"{seed} {module.PROTOCOL}"), scene.noted(), []
        for _ in range(number):
            *first, last = dice.choice(messages[module.PROTOCOL])
            if first and dice.random() < 0.5:
                last = first.pop()
            datas.append(b"".join(map(framed, first)) + wire(dice, mutated(dice, last, every)))
        await scene.attack(module.PROTOCOL, datas)
        assert scene.sent[module.PROTOCOL] > number * 0.9, "the attack did not get through"
        assert scene.noted() > noted, module.PROTOCOL
    await scene.let_back_in()
    await assert_unharmed(scene, before, publish, changed)


async def flood_gossip(scene, number, seed, publish, changed):
    scene.make_patient()
    dice, rpcs, before = random.Random(seed), scene.rpcs(), (memory(), descriptors(), scene.streams())
    every, news, noted = [*rpcs, encode(scene.news())], encode(scene.news()), scene.noted()
    for _ in range(number):
        if dice.random() < 0.4:  # signed as it should be, and nonsense
            message = scene.signed(mutated(dice, news, every))
            data = framed(rpc_pb2.RPC(publish=[message]).SerializeToString())
        else:
            data = wire(dice, mutated(dice, dice.choice(rpcs), every))
        await scene.attack(PROTOCOL_ID_V12, [data])
    assert scene.sent[PROTOCOL_ID_V12] > number * 0.9, "the attack did not get through"
    assert scene.noted() > noted
    await assert_unharmed(scene, before, publish, changed)


async def test_mutated_frames_on_every_stream_protocol(scene, surprises, publish, changed):
    await flood_streams(scene, 200, 1, publish, changed)
    assert surprises == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [2, 3])
async def test_many_mutated_frames_on_every_stream_protocol(scene, surprises, publish, changed, seed):
    await flood_streams(scene, 2000, seed, publish, changed)
    assert surprises == []


async def test_mutated_messages_on_the_gossip_topic(scene, surprises, publish, changed):
    await flood_gossip(scene, 200, 1, publish, changed)
    assert surprises == []


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_mutated_messages_on_the_gossip_topic(scene, surprises, publish, changed):
    await flood_gossip(scene, 2000, 2, publish, changed)
    assert surprises == []


async def test_frames_that_never_end_are_given_up(scene, surprises, publish, changed):
    """A byte every half a second on every stream protocol at once: the deadline is of the frame, not of a byte."""
    before = memory(), descriptors(), scene.streams()
    lasted: dict[str, float] = {}

    async def drip(protocol: str, body: bytes) -> None:
        start = trio.current_time()
        try:
            async with scene.network._streams.open(scene.target, protocol, deadline=SLOW_WITHIN) as channel:
                for byte in framed(body):
                    await channel.write(bytes([byte]))
                    with trio.move_on_after(0.5):
                        await channel.read()
                        break
        except AtollError:  # reset
            pass
        lasted[protocol] = trio.current_time() - start

    async def drip_all() -> None:
        with trio.move_on_after(2 * SLOW_WITHIN):
            async with trio.open_nursery() as nursery:
                for protocol, conversations in scene.messages().items():
                    nursery.start_soon(drip, protocol, conversations[0][0])

    await scene.let_back_in()
    await scene.run(drip_all)

    assert set(lasted) == {module.PROTOCOL for module in MODULES}
    assert 5.0 < min(lasted.values()) <= max(lasted.values()) < SLOW_WITHIN, lasted
    await scene.let_back_in()
    await assert_unharmed(scene, before, publish, changed)
    assert surprises == []


async def test_who_fills_the_topic_with_nonsense_is_cut_off(scene, surprises, until, publish, changed):
    dice, peers_ = random.Random(4), scene.victim.node.peers
    for _ in range(3 * OFFENCES):
        await scene.run(scene.converse, PROTOCOL_ID_V12, framed(dice.randbytes(100)))

    await until(scene.victim, lambda: peers_.get(scene.own).state == "refused")
    assert not peers_.admitted(scene.own)
    assert scene.noted() <= 2 * OFFENCES
    learnware = await publish(scene.victim, scene.federation, Offers(), 4, 5)
    await changed(scene.third, lambda: learnware in listed(scene.third))
    assert surprises == []
