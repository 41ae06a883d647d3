"""The own specifications in memory: stand-ins ahead of queries, answers while things change, replies that fit."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from atoll.engine.matching.oracle import told
from atoll.engine.specs import Rkme, mmd2, sketch
from atoll.engine.specs.stand_in import stand_in
from atoll.node.clock import now_ms
from atoll.node.errors import NodeBusy
from atoll.node.matching import matcher, specifications
from atoll.protocol.ids import peer_id
from atoll.protocol.match import AskedSketch, MatchRequest
from atoll.protocol.policy import Asker, Policy, Rule

HIDDEN, SHOWN = Policy(), Policy(match=Rule("anyone"), disclose=Rule("members"))
USER, ANYBODY = Asker(peer_id(b"p" * 32), "u"), Asker(peer_id(b"p" * 32))
SECONDS = 20.0


class Maker:
    """Makes stand-ins, and knows who made which; stops when told to."""

    def __init__(self):
        self.made, self.threads, self.go = [], set(), threading.Event()
        self._made = threading.Semaphore(0)
        self.go.set()

    def __call__(self, rkme):
        assert self.go.wait(SECONDS)
        self.made.append(rkme.to_bytes())
        self.threads.add(threading.current_thread().name)
        self._made.release()
        return stand_in(rkme)

    def makes(self, times):
        assert all(self._made.acquire(timeout=SECONDS) for _ in range(times))


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def maker():
    made = Maker()
    yield made
    made.go.set()


def publish(owner, federation, policy, rkmes):
    """{learnware: RKME} of as many learnwares."""
    found = {}
    for rkme in rkmes:
        found[owner.add({owner.islands[0]: rkme})] = rkme
        owner.publish(list(found)[-1], federation, policy)
    return found


def ask(owner, federation, query, asker=USER, **more):
    return owner.matcher.match(asker, MatchRequest(federation, owner.islands[0].digest, query.record(), **more))


def test_stand_ins_are_made_once_and_by_no_query(institution, islands, draw, random, maker):
    with institution(maker) as owner:
        federation = owner.federations.create("f", now_ms()).id
        owner.specifications.start()
        hidden = publish(owner, federation, HIDDEN, [draw(random, islands[0]) for _ in range(5)])
        maker.makes(5)
        query = draw(random, islands[0], 40)
        for _ in range(3):
            answers = ask(owner, federation, query).answers
            assert {each.learnware_id: each.mmd2 for each in answers} == {
                id_: told(mmd2(query, stand_in(rkme))) for id_, rkme in hidden.items()
            }
        for id_ in hidden:
            owner.publish(id_, federation, SHOWN)
            owner.publish(id_, federation, HIDDEN)
        assert len(ask(owner, federation, query).answers) == 5
        assert sorted(maker.made) == sorted(rkme.to_bytes() for rkme in hidden.values())
        assert maker.threads == {"atoll-specifications"}


def test_what_members_may_have_gets_a_stand_in_when_somebody_may_not(institution, islands, draw, random, maker):
    with institution(maker) as owner:
        federation = owner.federations.create("f", now_ms()).id
        owner.specifications.start()
        publish(owner, federation, SHOWN, [draw(random, islands[0]) for _ in range(3)])
        query = draw(random, islands[0], 40)
        assert all(each.rkme for each in ask(owner, federation, query).answers)
        assert maker.made == []
        answers = ask(owner, federation, query, ANYBODY).answers
        assert [each.rkme for each in answers] == [None] * 3
        assert len(maker.made) == 3


def test_a_query_does_not_wait_long_for_stand_ins(institution, islands, draw, random, maker, monkeypatch):
    monkeypatch.setattr(specifications, "PATIENCE", 0.01)
    with institution(maker) as owner:
        federation = owner.federations.create("f", now_ms()).id
        owner.specifications.start()
        maker.go.clear()
        publish(owner, federation, HIDDEN, [draw(random, islands[0]) for _ in range(2)])
        query = draw(random, islands[0], 40)
        with pytest.raises(NodeBusy, match="2 specifications are being made ready"):
            ask(owner, federation, query)
        short = AskedSketch.of(sketch(query, islands[0]))
        by_sketch = MatchRequest(federation, islands[0].digest, sketch=short)
        assert len(owner.matcher.match(USER, by_sketch).answers) == 2
        maker.go.set()
        monkeypatch.setattr(specifications, "PATIENCE", SECONDS)
        assert len(ask(owner, federation, query).answers) == 2


def test_one_that_cannot_be_made_holds_up_no_other(institution, islands, draw, random, monkeypatch):
    monkeypatch.setattr(specifications, "PATIENCE", 0.01)
    rkmes = [draw(random, islands[0]) for _ in range(3)]

    def make(rkme):
        if rkme.to_bytes() == rkmes[0].to_bytes():
            raise ArithmeticError("no")
        return stand_in(rkme)

    with institution(make) as owner:
        federation = owner.federations.create("f", now_ms()).id
        owner.specifications.start()
        bad, *good = publish(owner, federation, HIDDEN, rkmes)
        assert owner.stand_ins.wait([owner.dock.get(id_).rkme(islands[0].digest) for id_ in good], SECONDS)
        with pytest.raises(NodeBusy, match=r"^1 specifications"):
            ask(owner, federation, draw(random, islands[0], 40))
        owner.publisher.withdraw(bad, federation, now_ms())
        answers = ask(owner, federation, draw(random, islands[0], 40)).answers
        assert {each.learnware_id for each in answers} == set(good)


def test_answers_by_sketch_say_of_what_is_hidden_what_its_listing_says(institution, islands, draw, random, maker):
    """Two owners' secrets with the same listing could not be told apart: the RKMEs behind it are not even looked at."""
    with institution(maker) as owner:
        federation = owner.federations.create("f", now_ms()).id
        hidden = publish(owner, federation, HIDDEN, [draw(random, islands[0]) for _ in range(4)])
        short = AskedSketch.of(sketch(draw(random, islands[0], 1), islands[0]))
        reply = owner.matcher.match(
            USER, MatchRequest(federation, islands[0].digest, sketch=short, limit=2, wanted=tuple(hidden))
        )
        assert (len(reply.answers), len(reply.wanted), maker.made) == (2, 2, [])
        for answer in (*reply.answers, *reply.wanted):
            (summary,) = owner.catalogue.listing(federation, owner.identity.public, answer.learnware_id).specifications
            asked, listed = short.to_sketch().floats(), summary.to_sketch().floats()
            assert answer.mmd2 == pytest.approx(float(np.square(asked.astype(float) - listed).sum()), rel=1e-4)
            assert (answer.norm2, answer.rkme, answer.salt) == (summary.norm2, None, None)


def test_a_reply_holds_as_many_rkmes_as_there_is_room_for(institution, islands, draw, random, monkeypatch):
    monkeypatch.setattr(matcher, "ROOM", 2 * 6 * 4 * 4 + 10)  # two of 6 points with 3 numbers and a weight
    with institution() as owner:
        federation = owner.federations.create("f", now_ms()).id
        shown = publish(owner, federation, SHOWN, [draw(random, islands[0]) for _ in range(5)])
        query = draw(random, islands[0], 40)
        reply = ask(owner, federation, query, limit=3, wanted=tuple(shown))
        answers = (*reply.answers, *reply.wanted)
        assert [each.rkme is not None for each in answers] == [True, True, False, False, False]
        assert [each.mmd2 for each in answers] == pytest.approx(
            sorted(mmd2(query, rkme) for rkme in shown.values()), rel=1e-9
        )
        usage, now = owner.gate.usage, now_ms()
        counted = [usage.used("disclose", USER, federation, each.learnware_id, now) for each in answers]
        assert counted == [1, 1, 0, 0, 0]


def test_matches_and_publishes_go_on_side_by_side(institution, islands, draw, random):
    """Every answer is one of a moment: a learnware with the RKME that it had then, and the nearest ones in order."""
    with institution() as owner, ThreadPoolExecutor(4) as threads:
        federation = owner.federations.create("f", now_ms()).id
        owner.specifications.start()
        rkmes = [draw(random, islands[0]) for _ in range(40)]
        known = {rkme.to_bytes() for rkme in rkmes}
        query, ended = draw(random, islands[0], 40), threading.Event()
        publish(owner, federation, SHOWN, rkmes[:10])

        def asking():
            sizes = []
            while not ended.is_set() or not sizes:
                answers = ask(owner, federation, query, limit=100).answers
                assert [each.mmd2 for each in answers] == sorted(each.mmd2 for each in answers)
                for each in answers:
                    rkme = Rkme.from_record(each.rkme)
                    assert rkme.to_bytes() in known
                    assert each.mmd2 == pytest.approx(mmd2(query, rkme), rel=1e-9)
                sizes.append(len(answers))
            return sizes

        def publishing():
            try:
                for number, (id_, _) in enumerate(publish(owner, federation, SHOWN, rkmes[10:]).items()):
                    if number % 3 == 0:
                        owner.publisher.withdraw(id_, federation, now_ms())
            finally:
                ended.set()

        asked = [threads.submit(asking) for _ in range(3)]
        threads.submit(publishing).result(60)
        sizes = [each.result(60) for each in asked]
        assert all(10 <= size <= 40 for each in sizes for size in each)
        assert len(ask(owner, federation, query, limit=100).answers) == 30
