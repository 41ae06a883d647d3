"""Decrees and certificates in any order make the same roll; only founders appoint, nobody revokes them."""

import msgspec
import pytest
from atoll.protocol import limits
from atoll.protocol.decrees import Decree, Revocation, Takedown, authority, open_decree, sign_decree
from atoll.protocol.errors import NotMember, ProtocolError, RecordRejected
from atoll.protocol.membership import Certificate, Charter, certify, found
from atoll.protocol.roll import Roll
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="session")
def world(owner, stranger, now):
    """(founder, second, federation, charter)."""
    charter = Charter("f", (owner.public,), now)
    return owner, stranger, found(owner.key, charter).digest, charter


def decree(who, federation, seq, now, **changes):
    return sign_decree(who.key, Decree(federation, who.public, seq, now, **changes))


def certificate(signer, federation, member, now, **changes):
    made = Certificate(federation, member, "m", now, now + limits.CERTIFICATE_LIFETIME, now)
    return certify(signer.key, msgspec.structs.replace(made, **changes))


MEMBER = b"m" * 32


@given(st.permutations(range(5)))
def test_decrees_in_any_order_come_to_the_same(world, now, order):
    founder, second, federation, charter = world
    decrees = [
        decree(founder, federation, 1, now, appointed=(second.public,)),
        decree(founder, federation, 2, now, appointed=(second.public,), takedowns=(Takedown(MEMBER, b"l" * 32),)),
        decree(second, federation, 1, now, revoked=(Revocation(MEMBER, now),)),
        decree(second, federation, 2, now, revoked=(Revocation(MEMBER, now + 5),)),
        decree(founder, federation, 2, now + 1, appointed=(second.public,)),  # the founder's two keepers disagree
    ]
    roll = Roll(federation, charter)
    for _ in range(3):  # what was refused comes again with the next round
        for place in order:
            try:
                roll.take_decree(decrees[place].record, now)
            except NotMember:
                continue
    newest = max(decrees[1], decrees[4], key=lambda signed: signed.position)
    expected = authority(charter.admins, [newest.decree, decrees[3].decree])
    assert roll.authority == expected
    assert roll.authority.admins == {founder.public, second.public}


def test_an_appointed_admin_neither_appoints_nor_revokes_a_founder(world, now):
    founder, second, federation, charter = world
    roll = Roll(federation, charter)
    roll.take_decree(decree(founder, federation, 1, now, appointed=(second.public,)).record, now)
    grasping = decree(
        second, federation, 1, now, appointed=(MEMBER,), revoked=(Revocation(founder.public, now + 10**9),)
    )
    roll.take_decree(grasping.record, now)
    assert roll.authority.admins == {founder.public, second.public}
    assert not roll.authority.void(founder.public, now)


def test_who_was_dismissed_decides_nothing_more_and_its_decree_is_kept(world, now):
    founder, second, federation, charter = world
    roll = Roll(federation, charter)
    roll.take_decree(decree(founder, federation, 1, now, appointed=(second.public,)).record, now)
    gone = decree(founder, federation, 2, now, appointed=(second.public,), revoked=(Revocation(second.public, now),))
    roll.take_decree(gone.record, now)
    roll.take_decree(decree(second, federation, 1, now, revoked=(Revocation(MEMBER, now),)).record, now)
    assert roll.authority.admins == {founder.public}
    assert not roll.authority.void(MEMBER, now)
    assert set(roll.decrees) == {founder.public, second.public}


def test_a_revoked_member_is_one_again_by_a_later_certificate_only(world, now):
    founder, _, federation, charter = world
    roll = Roll(federation, charter)
    old = certificate(founder, federation, MEMBER, now)
    roll.admit(MEMBER, old, now)
    assert roll.standing(MEMBER, now)
    roll.take_decree(decree(founder, federation, 1, now, revoked=(Revocation(MEMBER, now),)).record, now)
    assert not roll.standing(MEMBER, now)
    with pytest.raises(NotMember, match="revoked"):
        roll.admit(MEMBER, old, now)
    roll.admit(MEMBER, certificate(founder, federation, MEMBER, now + 1, serial=now + 1), now + 1)
    assert roll.standing(MEMBER, now + 1)
    assert not roll.standing(MEMBER, now + limits.CERTIFICATE_LIFETIME + 1)


def test_anybody_certifies_itself_in_an_open_federation_as_a_plain_member_with_a_small_quota(owner, stranger, now):
    charter = Charter("open", (owner.public,), now, open=True)
    federation = found(owner.key, charter).digest
    roll = Roll(federation, charter)
    good = certificate(stranger, federation, stranger.public, now, max_listings=limits.OPEN_LISTINGS)
    assert roll.admit(stranger.public, good, now)[1]
    for change in ({"max_listings": limits.OPEN_LISTINGS + 1}, {"roles": ("admin",)}):
        greedy = certificate(stranger, federation, stranger.public, now, **({"max_listings": 10} | change))
        with pytest.raises(NotMember):
            roll.admit(stranger.public, greedy, now)
    private = Charter("private", (owner.public,), now)
    own = certificate(stranger, found(owner.key, private).digest, stranger.public, now, max_listings=10)
    with pytest.raises(NotMember):
        Roll(found(owner.key, private).digest, private).admit(stranger.public, own, now)


@pytest.mark.parametrize(
    "change",
    [{"seq": 0}, {"issued_at": 2**53}, {"appointed": (b"short",)},
     {"appointed": tuple(bytes([n]) * 32 for n in range(17))},
     {"revoked": (Revocation(MEMBER, -1),)}, {"takedowns": (Takedown(MEMBER, b"x"),)},
     {"revoked": tuple(Revocation(MEMBER, n) for n in range(901))}],
)  # fmt: skip
def test_decrees_out_of_bounds_are_rejected(world, now, change):
    founder, _, federation, _ = world
    with pytest.raises(RecordRejected):
        sign_decree(founder.key, msgspec.structs.replace(Decree(federation, founder.public, 1, now), **change))


def test_decrees_of_others_for_elsewhere_or_from_the_future_are_refused(world, now):
    founder, second, federation, charter = world
    roll = Roll(federation, charter)
    signed = decree(founder, federation, 1, now)
    with pytest.raises(RecordRejected):
        open_decree(signed.record, federation=b"G" * 32)
    with pytest.raises(NotMember):
        roll.take_decree(decree(second, federation, 1, now).record, now)
    with pytest.raises(ProtocolError):
        roll.take_decree(sign_decree(second.key, signed.decree).record, now)
    with pytest.raises(RecordRejected, match="future"):
        roll.take_decree(decree(founder, federation, 1, now + limits.CLOCK_SKEW + 1).record, now)
    assert roll.take_decree(signed.record, now) == signed
    assert roll.take_decree(signed.record, now) is None
