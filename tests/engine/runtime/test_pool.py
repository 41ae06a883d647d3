"""The pool: who shares what, what waits, what is replaced, and that nothing is left behind."""

import os
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from atoll.engine.errors import ModelError, ModelRefused, SandboxBusy, SandboxLimit
from atoll.engine.runtime import Limits, ModelPool, Signature, ladder, rung
from atoll.engine.runtime.layout import Folders
from atoll.engine.runtime.parent import WarmParent
from attacks import files

DIGITS = Signature("classification", 64, 10)
ROW = Signature("regression", 4, 4)
ONE = np.ones((1, 4), np.float32)
COUNTER = b"calls = 0\ndef predict(rows):\n    global calls\n    calls += 1\n    return rows * 0 + calls\n"
SLOW = b"import time\ndef predict(rows):\n    time.sleep(60)\n"
LEAVES = b"import os\ndef predict(rows):\n    os._exit(3)\n"


@pytest.fixture
def written(tmp_path):
    def write(data, name="model"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def opened():
    """Makes pools that are closed in the end."""
    pools = []

    def make(*arguments, **named):
        pools.append(ModelPool(*arguments, **named))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def calls(pool, path, key="counter", tenant=""):
    return int(pool.predict(key, path, ROW, ONE, trust="own", tenant=tenant)[0, 0])


def ended(pidfd):
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(10_000))


def test_tenants_never_share_a_worker(written, opened):
    path, pool = written(COUNTER), opened(4)
    found = [calls(pool, path, tenant=tenant) for tenant in ("alice", "bob", "alice", "bob", "alice")]
    assert found == [1, 1, 2, 2, 3]


def test_what_a_model_promises_may_be_put_right_at_once(written, opened):
    pool, path = opened(), written(b"def predict(rows):\n    return rows[:, :2]\n")
    with pytest.raises(ModelError, match=r"promised is float32 \(1, 4\)"):
        pool.predict("two", path, ROW, ONE, trust="own")
    assert pool.predict("two", path, Signature("regression", 4, 2), ONE, trust="own").shape == (1, 2)


def test_the_least_recently_used_worker_goes(written, opened):
    path, pool = written(COUNTER), opened(2)
    assert [calls(pool, path, key) for key in ("a", "b", "a", "c", "a", "b")] == [1, 1, 2, 1, 3, 1]


def test_never_more_workers_than_the_cores_allow(written, opened, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    path, pool = written(COUNTER), opened(8, Limits(workers_per_core=1))
    assert [calls(pool, path, key) for key in ("a", "b", "a")] == [1, 1, 1]


def test_a_killed_worker_is_replaced_and_others_go_on(written, opened):
    path, pool = written(COUNTER), opened(2)
    assert calls(pool, path, "a") == calls(pool, path, "b") == 1
    signal.pidfd_send_signal(pool._idle["a", "", "", "own", ROW]._ends.pidfd, signal.SIGKILL)
    assert ended(pool._idle["a", "", "", "own", ROW]._ends.pidfd)
    assert calls(pool, path, "a") == 1
    assert calls(pool, path, "b") == 2


def test_a_dead_warm_parent_is_started_again(written, opened):
    path, pool = written(COUNTER), opened(4)
    assert calls(pool, path, "a") == 1
    parent = pool._sandbox._parents["python", Folders()]
    os.killpg(parent._process.pid, signal.SIGKILL)
    parent._process.wait()
    assert calls(pool, path, "b") == 1
    assert pool._sandbox._parents["python", Folders()] is not parent


def test_a_parent_that_dies_between_two_orders_costs_no_call(written, opened, monkeypatch):
    path, pool = written(COUNTER), opened(4)
    assert calls(pool, path, "a") == 1
    parent = pool._sandbox._parents["python", Folders()]
    os.killpg(parent._process.pid, signal.SIGKILL)
    parent._process.wait()
    seen = iter([True])
    monkeypatch.setattr(type(parent), "alive", property(lambda self: next(seen, self._process.poll() is None)))
    assert calls(pool, path, "b") == 1


def test_three_crashes_quarantine_a_model_for_everybody(written, opened):
    path, pool = written(LEAVES), opened(2)
    for tenant in ("a", "b", "c"):
        with pytest.raises(ModelError, match="died"):
            pool.predict("digest", path, ROW, ONE, trust="own", tenant=tenant)
    with pytest.raises(ModelRefused, match="quarantined"):
        pool.predict("digest", path, ROW, ONE, trust="own")
    assert calls(pool, written(COUNTER, "other")) == 1


def test_a_model_that_keeps_hanging_is_quarantined(written, opened):
    path, pool = written(files.endless()), opened(2, Limits(call_seconds=0.2))
    for _ in range(3):
        with pytest.raises(SandboxLimit, match="in time"):
            pool.predict("digest", path, ROW, ONE)
    with pytest.raises(ModelRefused, match="quarantined"):
        pool.predict("digest", path, ROW, ONE)


def test_a_load_that_hangs_is_stopped(written, opened):
    path, pool = written(b"def predict(rows): pass\nwhile True: pass\n"), opened(2, Limits(load_seconds=0.3))
    with pytest.raises(SandboxLimit, match="in time"):
        pool.predict("digest", path, ROW, ONE, trust="own")


def test_a_full_queue_refuses_and_who_waited_is_served(written, opened, monkeypatch):
    path, pool = written(SLOW), opened(1, Limits(call_seconds=2.0, queue=1))
    taken, waits = threading.Event(), threading.Event()
    take, wait = pool._take, pool._wait
    monkeypatch.setattr(pool, "_take", lambda slot: (take(slot), taken.set())[0])
    monkeypatch.setattr(pool, "_wait", lambda deadline: (waits.set(), wait(deadline))[1])  # under the pool's lock
    other, served = written(COUNTER, "other"), []

    def call_slowly():
        with pytest.raises(SandboxLimit):
            calls(pool, path, "slow")

    slow = threading.Thread(target=call_slowly)
    patient = threading.Thread(target=lambda: served.append(calls(pool, other)))
    slow.start()
    assert taken.wait(20)
    patient.start()
    assert waits.wait(20)
    with pytest.raises(SandboxBusy) as refused:
        calls(pool, other, "third")
    for thread in (slow, patient):
        thread.join(30)
    assert refused.value.code == "sandbox.busy"
    assert served == [1]


def test_calls_at_once_from_many_threads_all_get_their_own_answers(written, opened):
    path, pool = written(files.identity()), opened(4)
    wrong = []

    def ask(k):
        rows = np.full((5, 4), k, np.float32)
        for _ in range(5):
            found = pool.predict(f"m{k % 3}", path, ROW, rows, tenant=f"t{k % 2}")
            if not np.array_equal(found, rows):
                wrong.append(k)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_rows_of_many_frames_come_back_in_order(written, opened):
    path, pool = written(files.identity()), opened(1)
    rows = np.arange(3_000_000, dtype=np.float32).reshape(-1, 4)
    assert np.array_equal(pool.predict("m", path, ROW, rows), rows)


def test_a_slow_model_gets_as_many_rows_at_a_time_as_it_is_quick_enough_for(written, opened):
    slow = b"import time\ndef predict(rows):\n    time.sleep(0.002 * len(rows))\n    return rows\n"
    pool = opened(limits=Limits(call_seconds=1.0))
    rows = np.arange(4 * 1000, dtype=np.float32).reshape(-1, 4)
    assert (pool.predict("slow", written(slow), ROW, rows, trust="own") == rows).all()  # at once it would take 2 s


def test_no_rows_give_no_rows(written, opened):
    assert opened(1).predict("m", written(files.identity()), ROW, np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_file_that_is_too_large_is_not_read(written, opened):
    with pytest.raises(ModelRefused, match="at most 10 are run"):
        opened(1, Limits(file_bytes=10)).predict("m", written(files.identity()), ROW, ONE)


def test_a_sandbox_that_was_starting_when_the_pool_closed_is_ended(written, monkeypatch):
    starting, closed, parents = threading.Event(), threading.Event(), []
    await_imports = WarmParent._await_imports

    def slow(parent, family):
        memory = await_imports(parent, family)
        parents.append(parent)
        starting.set()
        closed.wait(30)
        return memory

    pool = ModelPool(2, rung=rung())
    monkeypatch.setattr(WarmParent, "_await_imports", slow)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(calls, pool, written(COUNTER))
        assert starting.wait(30)
        pool.close()
        closed.set()
        with pytest.raises(ModelError, match="closing"):
            call.result(30)
    assert parents[0]._process.returncode is not None
    assert parents[0]._control.fileno() < 0


@pytest.mark.parametrize("level", ["strong", "limited"])
def test_nothing_is_left_behind(written, level, tmp_path, monkeypatch):
    found = rung() if level == "strong" else ladder.lower("for the test", "")
    if found.level != level:
        pytest.skip(found.missing)
    path = written(COUNTER)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(os.listdir("/proc/self/fd"))
    pool = ModelPool(4, rung=found)
    calls(pool, path, "a")
    calls(pool, path, "b")
    workers = [os.dup(worker._ends.pidfd) for worker in pool._idle.values()]
    parent = pool._sandbox._parents["python", Folders()]._process
    pool.close()
    assert all(ended(worker) for worker in workers)
    assert parent.returncode is not None
    for worker in workers:
        os.close(worker)
    assert [place.name for place in tmp_path.iterdir()] == ["model"]
    assert set(os.listdir("/proc/self/fd")) <= before
    with pytest.raises(ModelError, match="closing"):
        calls(pool, path, "a")


NODE = """
import sys
from pathlib import Path
import numpy as np
from atoll.engine.runtime import ModelPool, Signature, ladder, rung
pool = ModelPool(2, rung=rung() if sys.argv[2] == "strong" else ladder.lower("for the test", ""))
pool.predict("m", Path(sys.argv[1]), Signature("regression", 4, 4), np.ones((1, 4), np.float32), trust="own")
(worker,) = pool._idle.values()
print(Path(f"/proc/self/fdinfo/{worker._ends.pidfd}").read_text().split("Pid:")[1].split()[0], flush=True)
input()
"""


@pytest.mark.parametrize("level", ["strong", "limited"])
def test_a_node_that_is_killed_takes_its_workers_along(written, level):
    """The node's end of the control socket closes: the warm parent ends, and with it the workers."""
    found = rung() if level == "strong" else ladder.lower("for the test", "")
    if found.level != level:
        pytest.skip(found.missing)
    command = [sys.executable, "-c", NODE, str(written(COUNTER)), level]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
        worker = os.pidfd_open(int(node.stdout.readline()))
        node.kill()
    assert ended(worker)
    os.close(worker)
