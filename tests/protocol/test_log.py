import pytest
from atoll.engine.specs.noised import DpParameters
from atoll.protocol import listings
from atoll.protocol.errors import ForkDetected, LogIncomplete, RecordRejected, SignatureInvalid
from atoll.protocol.heads import open_head
from atoll.protocol.limits import CLOCK_SKEW, HEAD_LIFETIME
from atoll.protocol.listings import SpecSummary, open_listing
from atoll.protocol.log import Line, OwnerLog, advance
from atoll.protocol.replica import OpenedLog
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def log(owner, now):
    both = [owner.listing("a", 1), owner.listing("b", 2)]
    return advance(OwnerLog(), owner.head(both, 2), map(Line.of, both), now)


def test_a_withdrawn_listing_is_kept_but_not_counted(owner, now, log):
    gone = owner.listing("a", 3, "withdrawn")
    after = advance(log, owner.head([gone, *log.since(1)], 3), [Line.of(gone)], now)
    assert [line.counted for line in after.since(0)] == [True, False]
    assert after.position == (1, 3)


def test_an_incomplete_advance_leaves_the_log_unchanged(owner, now, log):
    before = dict(log.lines)
    new = [owner.listing("c", 3), owner.listing("d", 4)]
    with pytest.raises(LogIncomplete):
        advance(log, owner.head([*log.since(0), *new], 4), [Line.of(new[1])], now)
    assert (log.lines, log.position) == (before, (1, 2))


def test_a_new_epoch_replaces_the_log(owner, now, log):
    only = [owner.listing("z", 1)]
    after = advance(log, owner.head(only, 1, epoch=2), map(Line.of, only), now)
    assert after.since(0) == [Line.of(only[0])]


def test_a_listing_newer_than_its_head_is_rejected(owner, now):
    new = [owner.listing("a", 5)]
    with pytest.raises(RecordRejected, match="newer"):
        advance(OwnerLog(), owner.head(new, 4), map(Line.of, new), now)


@given(st.data())
def test_order_and_duplication_of_listings_do_not_matter(owner, now, data):
    history = [owner.listing("ab"[seq % 2], seq) for seq in range(1, 5)]
    head = owner.head(history[2:], 4)
    told = data.draw(st.permutations(history + data.draw(st.lists(st.sampled_from(history), max_size=4))))
    assert advance(OwnerLog(), head, map(Line.of, told), now) == advance(OwnerLog(), head, map(Line.of, history), now)


def test_expired_future_and_long_lived_heads_are_rejected(owner, now):
    for change in (
        {"expires_at": now},
        {"issued_at": now + CLOCK_SKEW + 1},
        {"expires_at": now + HEAD_LIFETIME + 1},
    ):
        with pytest.raises(RecordRejected):
            advance(OwnerLog(), owner.head([], 1, **change), [], now)


def test_a_listing_dated_in_the_future_keeps_nothing_of_its_owner_away(owner, now):
    dated = owner.listing("a", 1, issued_at=now + 100 * HEAD_LIFETIME)
    gone = owner.listing("b", 2, "withdrawn")
    head = owner.head([dated, gone], 2)
    opened = OpenedLog.of(owner.federation, head.record, [dated.record, gone.record], lambda _: (0, 0))
    after = advance(OwnerLog(), opened.head, map(Line.of, opened.listings), now)
    assert [line.counted for line in after.since(0)] == [True, False]


def test_replays_are_rejected_and_forks_told_apart(owner, now, log):
    with pytest.raises(RecordRejected, match="newer head"):
        advance(log, log.head, [], now)
    with pytest.raises(ForkDetected):
        advance(log, owner.head([], 2), [], now)
    with pytest.raises(RecordRejected, match="newer head"):
        advance(log, owner.head([], 1), [], now)


def test_heads_and_listings_of_others_are_refused(owner, stranger):
    head, listing = owner.head([], 1), owner.listing()
    assert open_head(head.record, federation=owner.federation) == head
    assert open_listing(listing.record, owner=owner.public, federation=owner.federation) == listing
    with pytest.raises(RecordRejected):
        open_head(head.record, federation=b"G" * 32)
    with pytest.raises(SignatureInvalid):
        open_head(stranger.head([], 1, owner=owner.public).record, federation=owner.federation)
    with pytest.raises(SignatureInvalid):
        open_listing(listing.record, owner=stranger.public, federation=owner.federation)
    with pytest.raises(RecordRejected):
        open_listing(listing.record, owner=owner.public, federation=b"G" * 32)


@pytest.mark.parametrize(
    "change",
    [{"revision": b"R"}, {"version": 2}, {"seq": 0}, {"seq": 2**53}, {"inputs": -1}, {"class_names": ("n" * 41,)},
     {"class_names": tuple(map(str, range(33)))}, {"class_names": ("a", "a")}, {"class_names": ("a", "b\x1b[2J")}],
)  # fmt: skip
def test_listings_out_of_bounds_are_rejected(owner, change):
    with pytest.raises(RecordRejected):
        owner.listing(**change)


def test_names_of_classes_that_mislead_are_refused_of_others_and_printable_ones_are_not(owner, monkeypatch):
    def told(names):
        with monkeypatch.context() as lenient:
            lenient.setattr(listings, "require_told_apart", lambda _: None)
            made = owner.listing(class_names=names)
        return OpenedLog.of(owner.federation, owner.head([made], 1).record, [made.record], lambda _: (0, 0)).listings

    for names in (("a", "a"), ("a", "b\n"), ("\x9b31m", "b"), ("a", "b\u2028")):
        with pytest.raises(RecordRejected, match="classes"):
            told(names)
    assert told(("=1+1", "a\u200db", "no\u00a0break", "\u05d0", ""))


def test_the_noise_of_a_private_sketch_travels_and_an_impossible_one_is_refused(owner):
    def with_noise(sigma):
        dp = DpParameters(1.0, 1e-6, sigma)
        summary = SpecSummary(b"I" * 32, bytes(512), 0.3, 1024, b"C" * 32, scale=0.001, dp=dp)
        return owner.listing("private", specifications=(summary,))

    (summary,) = with_noise(0.01).listing.specifications
    assert summary.to_sketch().sigma == 0.01
    for impossible in (0.0, -1.0, 2.0):
        with pytest.raises(RecordRejected):
            with_noise(impossible)
