import contextlib
import random

import numpy as np
import pytest
from atoll.engine.encoding import Array, pack
from atoll.engine.errors import AtollError
from atoll.engine.specs.rkme import RkmeRecord
from atoll.protocol import ask, fetch, gossip, hello, join, match, peers, predict, sync
from atoll.protocol.errors import ProtocolError
from atoll.protocol.ids import parse_digest, peer_id, public_key
from atoll.protocol.membership import Certificate, Charter, Invite, certify, found, open_certificate, read_invite
from atoll.protocol.messages import Message, PeerRefused, Refusal, decode, encode, expect
from atoll.protocol.signing import Record, sign, verify
from hypothesis import given
from hypothesis import strategies as st

F, R, A = b"F" * 32, Record(b"body", b"s" * 64), Array.of(np.ones((1, 2), np.float32))
K = RkmeRecord(A, Array.of(np.ones(1, np.float32)), 0.5, 5)
E = sync.Entry(sync.Kind.LOG, b"o" * 32, 1, 2, b"t")
MESSAGES = [
    Refusal("policy.denied", "no"), gossip.Announcement(F, R, R, (R,)),
    fetch.FetchRequest(F, "island", F), fetch.FetchHeader(1, F),
    hello.Hello((1,), 1, b"n", (F,), "a", ("/ip4/1.2.3.4",)), hello.Welcome(1, "a", (), (F,)),
    hello.Proof({"t": R}), hello.Done({"t": R}),
    join.JoinRequest(F, b"t" * 16, "a", ()), join.JoinReply(R, R, (join.KnownPeer("p", "n", ()),)),
    join.RenewRequest(F, F), join.RenewReply(R), join.SucceedRequest(F, (R, R, R), F), join.SucceedReply(None),
    sync.PullNotice(F, sync.Kind.FORK, F), sync.Notice(F, sync.Kind.DECREE, (R,)),
    match.MatchRequest(F, F, K), match.MatchRequest(F, F, sketch=match.AskedSketch(bytes(512)), wanted=(F,)),
    match.MatchReply((match.MatchAnswer(F, F, 0.1, 0.2, K, b"s", K),)),
    peers.PeersRequest(F), peers.PeersReply((peers.Acquaintance("p", "n", ("/ip4/1.2.3.4",)),)),
    ask.AskRequest(F, F, ("predict",), "please", "u"), ask.AskReply((ask.ActState("predict", "granted", 1),)),
    predict.PredictRequest(F, F, F, A), predict.Prediction(A, ("a",)),
    sync.Compare(F, b"d" * 2048), sync.Different(b"\1", (E,)), sync.Pull(F, F, 0), sync.Page((R,), R, R, False),
    sync.Offer(F, (E,)), sync.Thanks(),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_damaged_frames_give_a_message_or_an_error_of_the_tree(message):
    good, dice = encode(message), random.Random(7)
    assert decode(good, type(message), limit=10_000) == message
    for _ in range(20_000 // len(MESSAGES)):
        bad = bytearray(good)
        for _ in range(dice.randrange(4)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        with contextlib.suppress(AtollError):
            assert isinstance(decode(bytes(bad[: dice.randrange(len(bad) + 1)]), type(message), limit=10_000), Message)


def test_a_refusal_is_data_and_its_words_are_made_printable():
    with pytest.raises(PeerRefused, match=r"no\?") as caught:
        expect(encode(Refusal("policy.denied", "no\x1b")), sync.Thanks, limit=1000)
    assert caught.value.code == "policy.denied"
    with pytest.raises(ProtocolError):
        expect(encode(sync.Thanks()), hello.Done, limit=1000)


def test_peer_ids_hold_the_key_and_digests_are_32_bytes(owner):
    assert public_key(peer_id(owner.public)) == owner.public
    assert parse_digest("ab" * 32) == b"\xab" * 32
    for bad in ("", "0OIl", "é", "Qm" + "1" * 44):
        with pytest.raises(ProtocolError):
            public_key(bad)
        with pytest.raises(ProtocolError):
            parse_digest(bad)


def test_a_signature_holds_for_one_kind_and_one_key(owner, stranger):
    record = sign(owner.key, "head", E)
    verify(record, "head", owner.public)
    for kind, key in (("listing", owner.public), ("head", stranger.public), ("head", b"short")):
        with pytest.raises(ProtocolError):
            verify(record, kind, key)


def test_invite_lines_survive_pasting_and_damage_is_told():
    invite = Invite(F, "name", b"t" * 16, ("/ip4/1.2.3.4",), 5)
    assert read_invite(f" {invite.line()}\n") == invite
    for bad in ("", "hello", invite.line()[:-9], invite.line() + "é", "atoll-invite-1." + "A" * 9000):
        with pytest.raises(ProtocolError) as caught:
            read_invite(bad)
        assert caught.value.code == "federation.invite"


def test_certificates_expire_and_come_from_an_admin(owner, stranger, now):
    charter = Charter("name", (owner.public,), now)
    assert found(owner.key, charter).body == pack(charter)
    good = Certificate(F, stranger.public, "s", now, now + 1000, 1)

    def opened(record, at=now, member=stranger.public):
        return open_certificate(record, federation=F, charter=charter, admins=charter.admins, member=member, now=at)

    assert opened(certify(owner.key, good)) == good
    for record, at, member in (
        (certify(owner.key, good), now + 1000, stranger.public),
        (certify(stranger.key, good), now, stranger.public),
        (certify(owner.key, good), now, owner.public),
    ):
        with pytest.raises(ProtocolError) as caught:
            opened(record, at, member)
        assert caught.value.code == "federation.not_member"


POSITIONS = st.dictionaries(
    st.tuples(st.sampled_from(sync.Kind), st.sampled_from([bytes([n]) * 32 for n in range(6)])),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([b"a", b"b"])),
)


@given(POSITIONS, POSITIONS)
def test_both_sides_of_a_sync_plan_the_same_transfer(mine, theirs):
    buckets = sync.differing(sync.digests(F, mine), sync.digests(F, theirs))
    pull, offer = sync.plan(F, mine, sync.entries_in(F, theirs, buckets), buckets)
    back, forth = sync.plan(F, theirs, sync.entries_in(F, mine, buckets), buckets)
    assert {entry.key for entry in offer} == {entry.key for entry in back}
    assert {entry.key for entry in pull} == {entry.key for entry in forth}
    nothing = (0, 0, b"")
    for key in {*mine, *theirs}:
        here, there = mine.get(key, nothing), theirs.get(key, nothing)
        assert (key in {entry.key for entry in pull}) == (here != there and there[:2] >= here[:2])


def test_blinded_tags_differ_by_everything_that_goes_in():
    conversations = ((F, b"n", "a", "b"), (F, b"m", "a", "b"), (F, b"n", "b", "a"), (b"G" * 32, b"n", "a", "b"))
    assert len({tag(*each) for tag in (hello.hello_tag, hello.welcome_tag) for each in conversations}) == 8
