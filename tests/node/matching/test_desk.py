"""How much an owner does for others at a time, and what it says to the rest."""

import threading
from concurrent.futures import CancelledError
from contextlib import closing

import pytest
from atoll.node.config import ServingSection
from atoll.node.errors import NodeBusy
from atoll.node.matching import Desk

SECONDS = 20.0


class Hold:
    """Work that goes on until it is let go."""

    def __init__(self):
        self.begun, self.running, self._go = threading.Semaphore(0), set(), threading.Event()

    def __call__(self):
        self.running.add(threading.current_thread().name)
        self.begun.release()
        assert self._go.wait(SECONDS)
        return "done"

    def begins(self, times):
        assert all(self.begun.acquire(timeout=SECONDS) for _ in range(times))

    def end(self):
        self._go.set()


@pytest.fixture
def hold():
    held = Hold()
    yield held
    held.end()


def desk(clock=lambda: 0.0, **config):
    return closing(Desk(ServingSection(**config), clock))


def test_so_many_are_done_at_a_time_so_many_wait_and_the_next_is_refused_at_once(hold):
    with desk(match_workers=2, match_queue=3, match_burst=100) as taking:
        futures = [taking.take(hold, f"peer {number}") for number in range(5)]
        hold.begins(2)
        with pytest.raises(NodeBusy, match="as many searches") as refused:
            taking.take(hold, "peer 5")
        assert "try again" in refused.value.hint
        assert not hold.begun.acquire(blocking=False)
        hold.end()
        assert [each.result(SECONDS) for each in futures] == ["done"] * 5
        assert len(hold.running) == 2
        assert all(name.startswith("atoll-matching") for name in hold.running)


def test_one_peer_does_not_take_all_the_room(hold):
    with desk(match_workers=1, match_queue=64, match_burst=100) as taking:
        futures = [taking.take(hold, "greedy") for _ in range(16)]
        with pytest.raises(NodeBusy, match="searches of yours"):
            taking.take(hold, "greedy")
        futures.append(taking.take(hold, "modest"))
        hold.end()
        assert [each.result(SECONDS) for each in futures] == ["done"] * 17
        assert taking.take(hold, "greedy").result(SECONDS) == "done"


def test_there_is_room_again_when_something_is_done_fails_or_is_cancelled(hold):
    with desk(match_workers=1, match_queue=1) as taking:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                taking.take(lambda: 1 / 0, "peer").result(SECONDS)
        taking.take(hold, "peer")
        for _ in range(3):
            waiting = taking.take(hold, "peer")
            assert waiting.cancel()
        hold.end()
        assert taking.take(lambda: 1, "peer").result(SECONDS) == 1


def test_the_own_users_are_not_kept_out_by_others_nor_counted_by_rate(hold):
    with desk(match_workers=1, match_queue=1, match_burst=2) as taking:
        taking.take(hold, "peer")
        taking.take(hold, "peer")
        own = [taking.take(hold) for _ in range(2)]
        with pytest.raises(NodeBusy):
            taking.take(hold)
        hold.end()
        assert [each.result(SECONDS) for each in own] == ["done"] * 2


def test_a_peer_that_asks_too_often_is_told_so_and_others_are_served():
    now = [0.0]
    with desk(lambda: now[0], match_per_second=2.0, match_burst=3) as taking:
        assert [taking.take(lambda: 1, "often").result(SECONDS) for _ in range(3)] == [1, 1, 1]
        with pytest.raises(NodeBusy, match="2 searches a second") as refused:
            taking.take(lambda: 1, "often")
        assert refused.value.hint == "try again in 1 s"
        assert taking.take(lambda: 1, "other").result(SECONDS) == 1
        now[0] += 0.5
        assert taking.take(lambda: 1, "often").result(SECONDS) == 1


def test_what_waits_when_it_closes_is_cancelled(hold):
    taking = Desk(ServingSection(match_workers=1))
    done, waiting = taking.take(hold), taking.take(hold)
    hold.begins(1)
    closer = threading.Thread(target=taking.close)
    closer.start()
    with pytest.raises(CancelledError):
        waiting.result(SECONDS)
    hold.end()
    closer.join()
    assert done.result(SECONDS) == "done"
