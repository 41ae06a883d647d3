"""An owner that has more searches to answer than it can: it says so at once, and goes on with everything else."""

import asyncio
import threading

import pytest
from atoll.engine.specs import fit_rkme, sketch
from atoll.node.config import ServingSection
from atoll.node.matching import Desk
from atoll.protocol.ask import AskRequest
from atoll.protocol.listings import Offers
from atoll.protocol.match import AskedSketch, MatchRequest
from atoll.protocol.messages import PeerRefused

SHOWN = Offers(disclose="members")


class Slow:
    """A matcher that is not done until it is let go."""

    def __init__(self, matcher):
        self.go, self.begun, self._matcher = threading.Event(), threading.Semaphore(0), matcher

    def match(self, asker, request):
        self.begun.release()
        assert self.go.wait(60)
        return self._matcher.match(asker, request)


@pytest.fixture
async def scene(federated, publish, digits):
    """(owner, user, a request): the owner has two threads and a queue of three."""
    (owner, user), federation = await federated("owner", "user")
    learnware = await publish(owner, federation, SHOWN, 0, 1)
    owner.node.owner.desk.close()
    owner.node.owner.desk = Desk(ServingSection(match_queue=3, match_per_second=0.001, match_burst=10))
    island = digits.island()
    rkme = fit_rkme(island.transform(digits.of(0, 1)), 40, island.gamma)
    request = MatchRequest(
        bytes.fromhex(federation), island.digest, sketch=AskedSketch.of(sketch(rkme, island)), user="u"
    )
    return owner, user, request, bytes.fromhex(learnware)


@pytest.fixture
def slow(scene):
    owner = scene[0].node.owner
    owner._matcher = made = Slow(owner._matcher)
    yield made
    made.go.set()


def asked(scene):
    owner, user, request, _ = scene
    return user.node.network.match(owner.node.identity.peer, request, 30.0)


async def test_whoever_finds_no_room_is_refused_at_once_and_the_others_are_answered(scene, slow):
    tasks = [asyncio.create_task(asked(scene)) for _ in range(7)]
    done, waiting = set(), set(tasks)
    while len(done) < 2:
        new, waiting = await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        done |= new
    for task in done:
        with pytest.raises(PeerRefused, match="try again in a second") as refused:
            task.result()
        assert refused.value.code == "node.busy"
    slow.go.set()
    replies = await asyncio.gather(*waiting)
    assert [len(reply.answers) for reply in replies] == [1] * 5


async def test_while_all_threads_match_everything_else_is_served(scene, slow):
    owner, user, request, learnware = scene
    tasks = [asyncio.create_task(asked(scene)) for _ in range(4)]
    for _ in range(2):
        assert await asyncio.to_thread(slow.begun.acquire, timeout=20)
    assert (await owner.client.node()).peer_id == owner.node.identity.peer
    assert (await owner.client.search((), "digits", deadline_ms=10_000)).hits
    reply = await user.node.network.request(owner.node.identity.peer, AskRequest(request.federation, learnware, ()))
    assert {state.act for state in reply.states} == {"match", "disclose", "predict", "download"}
    assert not any(task.done() for task in tasks)
    slow.go.set()
    await asyncio.gather(*tasks)


async def test_who_asks_too_often_is_refused_and_the_own_users_are_not(scene, digits):
    owner, _, _, _ = scene
    for _ in range(10):
        assert (await asked(scene)).answers
    with pytest.raises(PeerRefused, match="of one peer: try again in 1000 s"):
        await asked(scene)
    found = await owner.client.search_rows(digits.of(0, 1), deadline_ms=10_000)
    assert [hit.estimated for hit in found.hits] == [False]


async def test_a_search_says_who_was_busy(scene, changed, until, digits):
    owner, user, _, _ = scene
    await changed(user, lambda: user.node.catalogue.owners() != [])
    await until(user, lambda: user.node.catalogue.islands() != [])
    for _ in range(10):
        await asked(scene)
    found = await user.client.search_rows(digits.of(0, 1), deadline_ms=10_000)
    assert found.peers_failed[owner.node.identity.peer].startswith("node.busy: ")
    assert [hit.estimated for hit in found.hits] == [True]
    user.node.peers.require_answering(owner.node.identity.peer, 0)
