"""The audit log: one chain whoever writes, and nothing about it can be changed unseen."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import IntegrityError
from atoll.node.store import audit
from atoll.node.store.audit import AuditLog, AuditRow, Head
from atoll.node.store.environment import Store


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def log(store):
    return AuditLog(store)


def fill(log, count):
    return [log.append("ann (12345678)", "peer.add", {"n": str(number)}, "done", number) for number in range(count)]


def rewrite(store, change):
    """Change the stored rows behind the log's back: ``change`` maps {key: raw row} to what shall be there."""
    handle = store.table("audit", AuditRow)._handle

    def operation(txn):
        rows = dict(txn.cursor(db=handle))
        after = change(dict(rows))
        for key in rows.keys() - after.keys():
            txn.delete(key, db=handle)
        for key, raw in after.items():
            txn.put(key, raw, db=handle)

    store.write(operation).result()


def key(seq):
    return seq.to_bytes(8, "big")


def edited(raw, **changes):
    return pack(msgspec.structs.replace(unpack(raw, AuditRow, limit=1 << 20), **changes))


def test_rows_are_numbered_from_one_and_read_in_pages(log):
    rows = fill(log, 5)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert log.entries(0, 10) == rows
    assert log.entries(1, 2) == rows[1:3]
    assert log.entries(5, 10) == []


def test_an_empty_log_is_unbroken_and_has_a_head_to_witness(log):
    empty = log.head()
    assert empty.seq == 0
    assert log.verify(empty) is None
    fill(log, 1)
    assert log.verify(empty) is None


def test_a_row_holds_the_hash_of_the_one_before_under_a_name_of_its_own(log):
    first, second = fill(log, 2)
    assert first.previous == hashlib.sha256(b"atoll/audit/1\0").digest()
    assert second.previous == hashlib.sha256(b"atoll/audit/1\0" + pack(first)).digest()
    assert log.head() == (2, hashlib.sha256(b"atoll/audit/1\0" + pack(second)).digest())


def test_eight_threads_write_one_chain(log):
    def write(thread):
        return [log.append(f"thread {thread}", "peer.add", {}, "done", number).seq for number in range(25)]

    with ThreadPoolExecutor(8) as pool:
        written = [seq for seqs in pool.map(write, range(8)) for seq in seqs]

    assert sorted(written) == list(range(1, 201))
    assert log.verify() is None
    assert log.head().seq == 200


def test_the_chain_goes_on_after_reopening(tmp_path):
    store = Store(tmp_path)
    fill(AuditLog(store), 3)
    witness = AuditLog(store).head()
    store.close()
    again = Store(tmp_path)
    log = AuditLog(again)
    assert log.append("node", "peer.add", {}, "done", 9).seq == 4
    assert log.verify(witness) is None
    again.close()


def test_two_logs_on_one_store_write_one_chain(store, log):
    other = AuditLog(store)
    assert [each.append("node", "peer.add", {}, "done", 0).seq for each in (log, other, log)] == [1, 2, 3]
    assert log.verify() is None


@pytest.mark.parametrize(
    ("change", "seq", "why"),
    [
        (lambda rows: rows | {key(4): edited(rows[key(4)], actor="bob")}, 5, "does not follow"),
        (lambda rows: rows | {key(4): edited(rows[key(4)], previous=bytes(32))}, 4, "does not follow"),
        (lambda rows: rows | {key(4): rows[key(4)] + b"\x00"}, 4, "cannot be read"),
        (lambda rows: rows | {key(4): b""}, 4, "cannot be read"),
        (lambda rows: rows | {key(4): rows[key(5)], key(5): rows[key(4)]}, 4, "says that it is row 5"),
        (lambda rows: rows | {key(4) + b"\x00": rows[key(4)]}, 5, "never appended"),
        (lambda rows: rows | {b"\x00": rows[key(4)]}, 1, "never appended"),
        (lambda rows: {at: raw for at, raw in rows.items() if at != key(4)}, 4, "missing"),
        (lambda rows: {at: raw for at, raw in rows.items() if at != key(1)}, 1, "missing"),
        (lambda rows: {at: raw for at, raw in rows.items() if not key(3) <= at <= key(6)}, 3, "missing"),
        (lambda rows: {key(n + 1): rows[key(n + (n >= 3) + 1)] for n in range(7)}, 4, "says that it is row 5"),
        (
            lambda rows: {key(n + 1): edited(rows[key(n + (n >= 3) + 1)], seq=n + 1) for n in range(7)},
            4,
            "does not follow",
        ),
    ],
    ids=[
        "changed", "unchained", "longer", "emptied", "swapped", "inserted between", "inserted before", "removed",
        "first removed", "middle cut out", "removed and moved up", "removed and numbered anew",
    ],
)  # fmt: skip
def test_tampering_is_found_at_its_first_row(store, log, change, seq, why):
    fill(log, 8)
    rewrite(store, change)
    broken = log.verify()
    assert broken is not None
    assert broken.seq == seq
    assert why in broken.why


def test_tampering_is_found_beyond_the_first_page(store, log, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 3)
    fill(log, 9)
    assert log.verify() is None
    rewrite(store, lambda rows: rows | {key(6): edited(rows[key(6)], outcome="asked")})
    assert log.verify().seq == 7


def test_a_field_smuggled_into_a_row_is_found(store, log):
    fill(log, 3)

    def smuggle(rows):
        tree = unpack(rows[key(2)], dict, limit=1 << 20)
        return rows | {key(2): pack({**tree, "note": "harmless"})}

    rewrite(store, smuggle)
    assert log.verify().seq == 3


@pytest.mark.parametrize(
    ("change", "seq"),
    [
        (lambda rows: {at: raw for at, raw in rows.items() if at <= key(5)}, 6),
        (lambda rows: {}, 1),
        (lambda rows: rows | {key(8): edited(rows[key(8)], actor="bob")}, 8),
    ],
    ids=["end cut off", "all removed", "newest changed"],
)
def test_what_befell_the_end_is_seen_with_a_witness_only(store, log, change, seq):
    fill(log, 8)
    witness = log.head()
    assert log.verify(witness) is None
    rewrite(store, change)
    assert log.verify() is None
    assert log.verify(witness).seq == seq


def test_a_chain_made_anew_is_not_the_one_of_the_witness(store, log):
    fill(log, 4)
    witness = log.head()
    rewrite(store, lambda rows: {})
    for number in range(6):
        log.append("bob (87654321)", "peer.add", {"n": str(number)}, "done", number)
    assert log.verify() is None
    assert log.verify(witness).seq == 4
    assert log.verify(Head(0, bytes(32))).seq == 0


def test_a_log_goes_on_behind_a_break_and_stays_broken(store, log):
    fill(log, 4)
    rewrite(store, lambda rows: rows | {key(4): b"garbage"})
    assert log.append("node", "peer.add", {}, "done", 0).seq == 5
    assert log.verify().seq == 4
    with pytest.raises(IntegrityError, match="cannot be read"):
        log.entries(0, 10)


def test_nothing_is_written_behind_a_row_that_was_never_appended(store, log):
    fill(log, 2)
    rewrite(store, lambda rows: rows | {b"\xff": rows[key(1)]})
    with pytest.raises(IntegrityError, match="never appended"):
        log.append("node", "peer.add", {}, "done", 0)
    assert log.verify().seq == 3


def test_texts_are_bounded_and_can_always_be_stored(log):
    row = log.append("x" * 1000, "peer.add", {"long": "y" * 1000, "odd": "a\ud800b"}, "z" * 1000, 0)
    assert {len(row.actor), len(row.subject["long"]), len(row.outcome)} == {200}
    assert row.subject["odd"] == "a?b"
    assert log.entries(0, 1) == [row]
    with pytest.raises(ValueError, match="17 fields"):
        log.append("node", "peer.add", {str(number): "" for number in range(17)}, "done", 0)


def test_a_secret_in_a_text_is_left_out(log):
    token, invite = "atoll_" + "aB3-_" * 8 + "xyz", "atoll-invite-1.gqRhYmNk"
    row = log.append(
        f"me {token}", "token.revoke", {"id": token, "line": f"join {invite}", "name": "atoll_x"}, "done", 0
    )
    assert (row.actor, row.subject) == ("me (secret)", {"id": "(secret)", "line": "join (secret)", "name": "atoll_x"})
