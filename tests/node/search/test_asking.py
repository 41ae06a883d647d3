"""Asking owners: who is silent is waited for as long as usual, corrects the answer, and is then left alone."""

import asyncio

import pytest
from atoll.node.identity import create
from atoll.node.p2p.backoff import LONGEST_MS
from atoll.node.p2p.errors import PeerTimeout, Unreachable
from atoll.node.p2p.peers import Peers
from atoll.node.search.asking import KNOWN_FROM, LEAST_PATIENCE, Complete, FanOut, Pace
from atoll.node.search.query import PeerDone, PeerFailed
from atoll.node.store.environment import Store
from atoll.protocol.match import MatchReply

NOW = 1_700_000_000_000
QUICK, SLOW, GONE = (
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
    "12D3KooWGjfPc5wmHm33wCgL8afNLDHCuh24ojhW2mSQQou9Wsai",
    "12D3KooWDB39ABqkZQvyq72DjK7W41GQKqQKyFbaCyFPDDewU62P",
)


@pytest.fixture
def peers(tmp_path):
    with_store = Store(tmp_path / "store")
    made = Peers(with_store, create(tmp_path).peer, "own")
    for peer in (QUICK, SLOW, GONE):
        made.connected(peer, NOW)
        made.admit(peer, frozenset({b"f" * 32}), NOW)
    yield made
    with_store.close()


def known(*peers_and_seconds):
    pace = Pace()
    for peer, seconds in peers_and_seconds:
        for _ in range(KNOWN_FROM):
            pace.note(peer, seconds)
    return pace


def question(peer):
    return (peer, b"f" * 32, b"i" * 32)


class Owners:
    """SLOW answers when it is let; GONE has ended; the others answer at once."""

    def __init__(self):
        self.slow, self.asked = asyncio.Event(), []

    async def __call__(self, asked):
        self.asked.append(asked[0])
        if asked[0] == SLOW:
            await self.slow.wait()
        if asked[0] == GONE:
            raise Unreachable("it is not connected")
        return MatchReply(())


async def test_an_answer_is_complete_when_all_have_answered_or_failed(peers):
    owners = Owners()
    owners.slow.set()
    fan_out = FanOut([question(QUICK), question(SLOW), question(GONE)], owners, peers, Pace(), 5.0)
    told = [each async for each in fan_out.progress()]
    assert isinstance(told[-1], Complete)
    assert {each.peer for each in told[:-1] if isinstance(each, PeerDone)} == {QUICK, SLOW}
    assert [each.peer for each in told[:-1] if isinstance(each, PeerFailed)] == [GONE]
    assert "p2p.unreachable" in fan_out.failed[GONE]
    assert fan_out.late() == {}


async def test_who_is_slower_than_usual_is_late_and_corrects_the_answer(peers):
    owners, pace = Owners(), known((QUICK, 0.01), (SLOW, 0.01))
    fan_out, told = FanOut([question(QUICK), question(SLOW)], owners, peers, pace, 30.0), []
    started = asyncio.get_running_loop().time()
    async for each in fan_out.progress():
        told.append(each)
        if isinstance(each, Complete):
            assert asyncio.get_running_loop().time() - started < 10 * LEAST_PATIENCE
            assert set(fan_out.late()) == {SLOW}
            owners.slow.set()
    assert [type(each) for each in told] == [PeerDone, Complete, PeerDone]
    assert told[-1].peer == SLOW
    assert len(fan_out.replies) == 2


async def test_whose_pace_nobody_knows_has_until_the_deadline(peers):
    pace = known((QUICK, 0.01))
    assert pace.patience(QUICK, 2.0) == LEAST_PATIENCE
    assert pace.patience(SLOW, 2.0) == 2.0
    assert known((SLOW, 0.4)).patience(SLOW, 2.0) == pytest.approx(0.8)
    assert known((SLOW, 4.0)).patience(SLOW, 2.0) == 2.0


async def test_at_the_deadline_silence_has_a_name(peers):
    fan_out = FanOut([question(QUICK), question(SLOW)], Owners(), peers, Pace(), 0.3)
    told = [each async for each in fan_out.progress()]
    assert [type(each) for each in told] == [PeerDone, PeerFailed, Complete]
    assert "p2p.timeout" in fan_out.failed[SLOW]
    peers.require_answering(SLOW, NOW)  # so short a deadline is not held against it


async def test_a_silent_peer_is_asked_once_an_interval_by_all_searches_together(peers):
    owners = Owners()

    async def searched(ask):
        fan_out = FanOut([question(QUICK), question(SLOW)], ask, peers, Pace(), 1.5)
        return fan_out, [each async for each in fan_out.progress()]

    async def silent(asked):
        owners.asked.append(asked[0])
        if asked[0] == SLOW:
            raise PeerTimeout("nothing came")
        return MatchReply(())

    await asyncio.gather(*(searched(silent) for _ in range(3)))
    owners.asked.clear()
    fan_out, _ = await searched(owners)
    assert owners.asked == [QUICK]
    assert "unanswered" in fan_out.failed[SLOW]


def test_when_the_time_has_come_one_search_asks_and_an_answer_ends_it(peers, tmp_path):
    peers.unanswered(SLOW, NOW)
    with pytest.raises(Unreachable, match="unanswered"):
        peers.require_answering(SLOW, NOW)
    later = NOW + LONGEST_MS
    peers.require_answering(SLOW, later)  # this one asks
    with pytest.raises(Unreachable):
        peers.require_answering(SLOW, later)
    peers.answered(SLOW)
    peers.require_answering(SLOW, later)


def test_what_was_left_unanswered_is_known_after_a_restart(tmp_path):
    own = create(tmp_path).peer
    store = Store(tmp_path / "store")
    before = Peers(store, own, "own")
    before.connected(SLOW, NOW)
    before.admit(SLOW, frozenset({b"f" * 32}), NOW)
    for _ in range(3):
        before.unanswered(SLOW, NOW)
    before.flush()
    store.close()
    store = Store(tmp_path / "store")
    try:
        with pytest.raises(Unreachable, match="3 searches"):
            Peers(store, own, "own").require_answering(SLOW, NOW)
    finally:
        store.close()
