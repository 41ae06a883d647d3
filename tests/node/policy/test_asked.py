"""What was asked of others: bounded, and read by nobody who waits for a disk."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from atoll.engine.semantic import SemanticSpec
from atoll.node.policy import asked
from atoll.node.policy.asked import Asked
from atoll.node.store.environment import Store
from atoll.protocol.ask import ActState
from atoll.protocol.listings import Listing

NOW = 1_800_000_000_000


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def listing(number):
    return Listing(bytes(32), bytes(32), number.to_bytes(32), bytes(32), 1, 1, "live", SemanticSpec(f"n {number}"))


def ask(kept, number, user, state="pending"):
    kept.note(listing(number), user, ("predict",), (ActState("predict", state),), NOW + number)


def test_what_has_ended_makes_room_first_and_then_what_the_same_user_asked_longest_ago(store, monkeypatch):
    monkeypatch.setattr(asked, "MOST", 3)
    kept = Asked(store)
    for number, (user, state) in enumerate((("ann", "pending"), ("bob", "pending"), ("ann", "denied"))):
        ask(kept, number, user, state)

    ask(kept, 3, "bob")
    assert [row.name for row in kept.all()] == ["n 3", "n 1", "n 0"]
    ask(kept, 4, "bob")
    assert [row.name for row in kept.all()] == ["n 4", "n 3", "n 0"]
    assert Asked(store).all() == kept.all()  # as after a restart


def test_who_reads_waits_for_nobody_who_writes(store, monkeypatch):
    kept, go, writing = Asked(store), threading.Event(), threading.Event()
    write = store.write

    def slowly(work):
        writing.set()
        assert go.wait(20)
        return write(work)

    monkeypatch.setattr(store, "write", slowly)
    with ThreadPoolExecutor(2) as threads:
        noting = threads.submit(ask, kept, 1, "ann")
        assert writing.wait(20)
        assert threads.submit(kept.of, listing(1)).result(timeout=10) == []
        go.set()
        noting.result(timeout=20)
    assert [row.user for row in kept.of(listing(1))] == ["ann"]
