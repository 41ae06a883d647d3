"""Quotas by day, peer and user; counts that the owner sees; requests, grants and how they end."""

import pytest
from atoll.node.policy.requests import AGAIN, PENDING, RequestRow, Requests
from atoll.node.policy.usage import KEPT_DAYS, Usage
from atoll.node.store.environment import Store
from atoll.protocol.errors import NotFound, PolicyDenied, ProtocolError, QuotaExceeded
from atoll.protocol.ids import peer_id
from atoll.protocol.limits import DAY
from atoll.protocol.policy import Asker, Rule

NOON = 1_700_000_000_000 // DAY * DAY + DAY // 2
FED, ID, PEER, OTHER = b"F" * 32, b"L" * 32, peer_id(b"p" * 32), peer_id(b"o" * 32)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def take(usage, rule, amount, peer=PEER, user="u", now=NOON, act="predict"):
    usage.take(act, Asker(peer, user), [(FED, ID, rule, amount)], now)


def test_a_quota_of_peers_and_one_of_users(store):
    usage, rule = Usage(store, NOON), Rule("members", per_peer=100, per_user=60)
    take(usage, rule, 60)
    with pytest.raises(QuotaExceeded, match="you predict 60 a day") as refused:
        take(usage, rule, 1)
    assert "12.0 hours" in refused.value.hint
    take(usage, rule, 40, user="v")
    with pytest.raises(QuotaExceeded, match="your institution"):
        take(usage, rule, 1, user="w")
    take(usage, rule, 60, peer=OTHER)
    assert usage.left("predict", Asker(OTHER, "u"), FED, ID, rule, NOON) == 0
    assert usage.left("predict", Asker(OTHER, "w"), FED, ID, rule, NOON) == 40
    assert usage.left("predict", Asker(OTHER, "w"), FED, ID, Rule(), NOON) is None


def test_what_is_refused_is_not_counted_in_part_either(store):
    usage = Usage(store, NOON)
    with pytest.raises(QuotaExceeded):
        usage.take("match", Asker(PEER, "u"), [(FED, ID, Rule(), 5), (FED, b"M" * 32, Rule(per_peer=1), 2)], NOON)
    assert usage.of(ID) == []


def test_what_is_given_back_is_there_again_and_of_a_day_that_is_over_stays(store):
    usage, rule, asker = Usage(store, NOON), Rule(per_peer=10), Asker(PEER, "u")
    taken = usage.take("predict", asker, [(FED, ID, rule, 8)], NOON)
    with pytest.raises(QuotaExceeded):
        take(usage, rule, 8, user="v")
    usage.give_back(taken)
    late = usage.take("predict", asker, [(FED, ID, rule, 10)], NOON)
    take(usage, rule, 10, now=NOON + DAY)
    usage.give_back(late)
    store.write(lambda txn: None).result()  # what was written without waiting has been by then
    assert [use.amount for use in usage.of(ID)] == [10, 10]
    assert usage.left("predict", asker, FED, ID, rule, NOON + DAY) == 0


def test_a_new_day_begins_at_midnight_utc(store):
    usage, rule = Usage(store, NOON), Rule(per_peer=10)
    take(usage, rule, 10)
    take(usage, rule, 10, now=NOON + DAY // 2)
    store.write(lambda txn: None).result()  # what was written without waiting has been by then
    assert [(use.day, use.amount) for use in usage.of(ID)] == [(NOON - DAY // 2, 10), (NOON + DAY // 2, 10)]


def test_a_restart_forgets_no_count_and_in_the_end_old_ones(store):
    take(Usage(store, NOON), Rule(), 7)
    store.write(lambda txn: None).result()  # what was written without waiting has been by then
    again = Usage(store, NOON)
    with pytest.raises(QuotaExceeded):
        take(again, Rule(per_peer=10), 4)
    assert [(use.peer_id, use.act, use.amount) for use in again.of(ID)] == [(PEER, "predict", 7)]
    later = Usage(store, NOON + (KEPT_DAYS + 1) * DAY)
    store.write(lambda txn: None).result()
    assert later.of(ID) == []


def row(act="predict", learnware=ID, asked_at=NOON, **changes):
    fields = {
        "federation": FED, "learnware_id": learnware, "peer": b"p" * 32, "act": act, "words": "please", "user": "u",
        "asked_at": asked_at,
    }  # fmt: skip
    return RequestRow(**(fields | changes))


def granted(requests, now, act="predict"):
    return requests.granted(FED, ID, b"p" * 32, act, now)


def test_a_grant_holds_for_its_act_until_it_ends(store):
    requests = Requests(store)
    requests.make(row(), NOON)
    assert not granted(requests, NOON)
    requests.decide(row().id, "granted", NOON, until=NOON + DAY)
    assert granted(requests, NOON + DAY - 1)
    assert not granted(requests, NOON, act="download")
    assert not granted(requests, NOON + DAY)
    assert Requests(store).find(FED, ID, b"p" * 32, "predict").state_at(NOON + DAY).state == "expired"


def test_a_grant_that_is_taken_back_ends_at_once(store):
    requests = Requests(store)
    requests.make(row(), NOON)
    requests.decide(row().id, "granted", NOON, until=NOON + DAY)
    requests.decide(row().id, "revoked", NOON + 1)
    assert not granted(requests, NOON + 1)
    assert not granted(Requests(store), NOON + 1)


def test_who_was_denied_may_ask_again_the_day_after(store):
    requests = Requests(store)
    requests.make(row(), NOON)
    requests.decide(row().id, "denied", NOON)
    with pytest.raises(PolicyDenied, match="said no"):
        requests.make(row(), NOON + AGAIN - 1)
    requests.make(row(words="now with a reason"), NOON + AGAIN)
    assert [each.words for each in requests.all()] == ["now with a reason"]


def test_asking_again_while_it_waits_or_is_granted_changes_nothing(store):
    requests = Requests(store)
    for state in ("pending", "granted"):
        requests.make(row(), NOON)
        requests.decide(row().id, state, NOON, until=NOON + DAY)
        requests.make(row(words="again"), NOON)
        assert requests.all()[0].words == "please"


def test_requests_are_bounded(store):
    requests = Requests(store)
    for number in range(PENDING):
        requests.make(row(learnware=number.to_bytes(32, "big")), NOON)
    with pytest.raises(PolicyDenied, match="waiting"):
        requests.make(row(), NOON)
    with pytest.raises(ProtocolError, match="characters"):
        requests.make(row(words="x" * 501), NOON)
    with pytest.raises(NotFound):
        requests.decide("nothing", "granted", NOON)
