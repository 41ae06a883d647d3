"""Successions: only the key or its recovery key hands over, all come to the same heir, and a thief does not win."""

import msgspec
import pytest
from atoll.engine.errors import EncodingError
from atoll.protocol import limits
from atoll.protocol.decrees import Decree, Revocation, Takedown, sign_decree
from atoll.protocol.errors import NotMember, ProtocolError, RecordRejected, SignatureInvalid
from atoll.protocol.membership import Charter, found, grant
from atoll.protocol.replica import Replica
from atoll.protocol.roll import Roll
from atoll.protocol.signing import Record
from atoll.protocol.succession import (
    open_succession,
    read_recovery,
    recovery_hash,
    recovery_line,
    sign_succession,
)
from atoll.protocol.sync import Kind
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_700_000_000_000


def key(seed):
    return Ed25519PrivateKey.from_private_bytes(seed * 32)


def public(key_):
    return key_.public_key().public_bytes_raw()


FOUNDER, MEMBER, HEIR, THIEF, RECOVERY, FOUNDERS_RECOVERY = (key(bytes([n])) for n in range(1, 7))
CHARTER = Charter("f", (public(FOUNDER),), NOW, recovery=(recovery_hash(public(FOUNDERS_RECOVERY)),))
FEDERATION = found(FOUNDER, CHARTER).digest


def certificate(signer, who, **changes):
    terms = {"roles": ("member",), "max_listings": 10, "recovery": recovery_hash(public(RECOVERY))} | changes
    return grant(signer, FEDERATION, public(who), "m", NOW, **terms)


OLD = certificate(FOUNDER, MEMBER)


def handed(signer=MEMBER, to=HEIR, owner=MEMBER, certificate_=OLD, now=NOW):
    return sign_succession(
        signer, to, federation=FEDERATION, owner=public(owner), certificate=certificate_, now=now
    ).records


@pytest.fixture
def roll():
    return Roll(FEDERATION, CHARTER)


def test_an_heir_is_recognised_and_the_old_key_is_not_a_member_any_more(roll):
    roll.admit(public(MEMBER), OLD, NOW)
    assert roll.take_succession(handed(), NOW)
    assert roll.take_succession(handed(), NOW) is None
    assert roll.predecessor(public(HEIR)) == public(MEMBER)
    assert not roll.standing(public(MEMBER), NOW)
    with pytest.raises(NotMember):
        roll.admit(public(MEMBER), OLD, NOW)
    roll.admit(public(HEIR), certificate(FOUNDER, HEIR, succeeds=public(MEMBER)), NOW)
    assert roll.standing(public(HEIR), NOW)


def test_a_newcomer_that_never_met_the_old_key_recognises_the_heir(roll):
    assert roll.take_succession(handed(), NOW + 10 * limits.CERTIFICATE_LIFETIME)


@pytest.mark.parametrize(
    ("records", "error"),
    [
        (handed(THIEF), RecordRejected),  # neither the key nor the recovery key named in the certificate
        (handed(owner=THIEF, signer=THIEF, certificate_=certificate(THIEF, THIEF)), NotMember),
        (handed(owner=THIEF, signer=THIEF), NotMember),  # another member's certificate
        (handed(to=MEMBER), RecordRejected),
        (handed(now=NOW + 2 * limits.CLOCK_SKEW), RecordRejected),
        (handed()[:2], RecordRejected),
        ((handed()[0], handed(to=THIEF)[1], OLD), RecordRejected),
        ((handed()[0], Record(handed()[0].body, bytes(64)), OLD), SignatureInvalid),
        ((Record(handed()[0].body, bytes(64)), *handed()[1:]), SignatureInvalid),
        ((*handed()[:2], Record(b"\x80", bytes(64))), EncodingError),
    ],
)
def test_what_does_not_count_is_refused_and_changes_nothing(roll, records, error):
    with pytest.raises(error):
        roll.take_succession(records, NOW)
    assert roll.successions == {}


def test_a_succession_of_another_federation_is_refused():
    with pytest.raises(RecordRejected):
        open_succession(handed(), federation=b"G" * 32)


@given(st.permutations(range(3)))
def test_whatever_comes_first_the_recovery_key_wins_over_a_thief_of_the_old_one(order):
    """The thief hands over to itself, and gets a certificate; so does the owner, with the recovery key."""
    roll = Roll(FEDERATION, CHARTER)
    roll.admit(public(MEMBER), OLD, NOW)
    acts = [
        lambda: roll.take_succession(handed(to=THIEF), NOW),
        lambda: roll.take_succession(handed(signer=RECOVERY, to=HEIR), NOW),
        lambda: roll.admit(public(THIEF), certificate(FOUNDER, THIEF, succeeds=public(MEMBER)), NOW),
    ]
    for place in order:
        try:
            acts[place]()
        except NotMember:
            assert place == 2
    assert roll.predecessor(public(HEIR)) == public(MEMBER)
    assert roll.predecessor(public(THIEF)) is None
    assert not roll.standing(public(THIEF), NOW)


@given(st.permutations(range(3)))
def test_of_two_heirs_of_equal_right_all_take_the_same(order):
    roll = Roll(FEDERATION, CHARTER)
    for place in order:
        roll.take_succession([handed(), handed(to=THIEF), handed(now=NOW + 1)][place], NOW)
    best = max((open_succession(r, federation=FEDERATION) for r in (handed(), handed(to=THIEF), handed(now=NOW + 1))),
               key=lambda signed: signed.rank)  # fmt: skip
    assert roll.successions[public(MEMBER)].succession == best.succession


def test_a_thief_cannot_name_another_recovery_key(roll):
    roll.admit(public(MEMBER), OLD, NOW)
    with pytest.raises(RecordRejected):
        roll.admit(public(MEMBER), certificate(FOUNDER, MEMBER, recovery=recovery_hash(public(THIEF))), NOW)
    with pytest.raises(RecordRejected):
        roll.take_succession(handed(signer=THIEF), NOW)


@given(st.permutations(range(3)))
def test_who_follows_a_founder_is_one_and_the_old_decree_counts_until_the_new_one(order):
    """The thief of the founder's key takes the revocation back: before the heir has decreed, and after."""
    roll = Roll(FEDERATION, CHARTER)
    own = grant(FOUNDER, FEDERATION, public(FOUNDER), "", NOW, roles=("admin",), max_listings=1)
    decree = Decree(FEDERATION, public(FOUNDER), 1, NOW, revoked=(Revocation(public(MEMBER), NOW),))
    roll.take_decree(sign_decree(FOUNDER, decree).record, NOW)
    roll.take_succession(handed(FOUNDERS_RECOVERY, HEIR, FOUNDER, own), NOW)
    assert roll.authority.admins == roll.authority.founders == {public(HEIR)}
    assert roll.authority.heard == {public(FOUNDER), public(HEIR)}
    assert roll.authority.void(public(MEMBER), NOW)
    again = msgspec.structs.replace(decree, admin=public(HEIR))
    stolen = Decree(FEDERATION, public(FOUNDER), 2, NOW)
    acts = [sign_decree(HEIR, again), sign_decree(FOUNDER, stolen), sign_decree(FOUNDER, decree)]
    for place in order:
        roll.take_decree(acts[place].record, NOW)
    assert roll.authority.void(public(MEMBER), NOW)
    assert roll.authority.admins == {public(HEIR)}


def test_an_appointed_admin_that_hands_over_stays_one_and_a_dismissed_one_hands_over_nothing(roll):
    decree = Decree(FEDERATION, public(FOUNDER), 1, NOW, appointed=(public(MEMBER),))
    roll.take_decree(sign_decree(FOUNDER, decree).record, NOW)
    roll.take_succession(handed(), NOW)
    assert roll.authority.admins == {public(FOUNDER), public(HEIR)}
    gone = msgspec.structs.replace(decree, seq=2, revoked=(Revocation(public(MEMBER), NOW),))
    roll.take_decree(sign_decree(FOUNDER, gone).record, NOW)
    assert roll.authority.admins == {public(FOUNDER)}


def test_who_was_dismissed_under_an_earlier_key_does_not_come_back_by_another(roll):
    decree = Decree(FEDERATION, public(FOUNDER), 1, NOW, appointed=(public(MEMBER),))
    roll.take_decree(sign_decree(FOUNDER, decree).record, NOW)
    roll.admit(public(MEMBER), OLD, NOW)
    roll.take_succession(handed(), NOW)
    gone = msgspec.structs.replace(decree, seq=2, revoked=(Revocation(public(HEIR), NOW),))
    roll.take_decree(sign_decree(FOUNDER, gone).record, NOW)
    later = certificate(FOUNDER, HEIR, succeeds=public(MEMBER))
    roll.take_succession(handed(HEIR, THIEF, HEIR, later), NOW)
    assert roll.predecessors(public(THIEF)) == [public(HEIR), public(MEMBER)]
    assert roll.authority.admins == {public(FOUNDER)}


def test_what_was_taken_down_does_not_come_back_under_the_new_key(roll):
    decree = Decree(FEDERATION, public(FOUNDER), 1, NOW, takedowns=(Takedown(public(MEMBER), b"l" * 32),))
    roll.take_decree(sign_decree(FOUNDER, decree).record, NOW)
    roll.take_succession(handed(), NOW)
    roll.admit(public(HEIR), certificate(FOUNDER, HEIR, succeeds=public(MEMBER)), NOW)
    assert not roll.listed(public(HEIR), NOW)(b"l" * 32)
    assert roll.listed(public(HEIR), NOW)(b"m" * 32)


def test_who_goes_round_in_a_circle_is_nobody(roll):
    for one, other in ((MEMBER, HEIR), (HEIR, MEMBER)):
        roll.take_succession(handed(one, other, one, certificate(FOUNDER, one)), NOW)
        roll.take_decree(
            sign_decree(FOUNDER, Decree(FEDERATION, public(FOUNDER), 1, NOW, appointed=(public(MEMBER),))).record, NOW
        )
    assert roll.authority.admins == {public(FOUNDER)}


def test_the_log_of_a_succeeded_owner_is_hidden_and_not_wanted(roll):
    replica = Replica(roll)
    roll.admit(public(MEMBER), OLD, NOW)
    roll.take_succession(handed(), NOW)
    assert "handed over" in replica.hidden(public(MEMBER), NOW)
    assert not replica.wants(Kind.LOG, public(MEMBER))


def test_an_error_leaves_the_roll_as_it_was(roll):
    def keep():
        with roll.undone_on_error():
            roll.take_succession(handed(), NOW)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        keep()
    assert roll.successions == {}
    assert roll.predecessor(public(HEIR)) is None


def test_a_recovery_line_is_read_as_it_was_written():
    line = recovery_line(RECOVERY)
    assert public(read_recovery(f" {line}\n")) == public(RECOVERY)
    for damaged in (line[:-1], line[5:], "", "atoll-recovery-1.", line + "AA", line.replace("1.", "1.é")):
        with pytest.raises(ProtocolError):
            read_recovery(damaged)


def test_a_dismissed_admin_makes_up_no_members_and_hands_over_nobody(roll):
    decree = Decree(FEDERATION, public(FOUNDER), 1, NOW, appointed=(public(THIEF),))
    roll.take_decree(sign_decree(FOUNDER, decree).record, NOW)
    gone = msgspec.structs.replace(decree, seq=2, revoked=(Revocation(public(THIEF), NOW),))
    roll.take_decree(sign_decree(FOUNDER, gone).record, NOW)
    forged = certificate(THIEF, MEMBER, recovery=recovery_hash(public(THIEF)))
    with pytest.raises(NotMember):
        roll.take_succession(handed(THIEF, HEIR, MEMBER, forged), NOW)


def test_what_was_stored_is_put_back_also_of_who_decides_nothing_any_more(roll):
    """The founder has handed over and has not decreed anew: it is none any more, and its admin is one still."""
    decrees = [
        sign_decree(FOUNDER, Decree(FEDERATION, public(FOUNDER), 1, NOW, appointed=(public(MEMBER),))),
        sign_decree(MEMBER, Decree(FEDERATION, public(MEMBER), 1, NOW)),
    ]
    own = grant(FOUNDER, FEDERATION, public(FOUNDER), "", NOW, roles=("admin",), max_listings=1)
    succession = open_succession(handed(FOUNDER, HEIR, FOUNDER, own), federation=FEDERATION)
    roll.restore_succession(succession)
    for each in decrees:
        roll.restore_decree(each)
    assert set(roll.decrees) == {public(FOUNDER), public(MEMBER)}
    assert roll.authority.admins == {public(HEIR), public(MEMBER)}
    assert roll.founding_successions() == [succession]
