"""Who is admitted: the rule of every audience, and that a wider policy never takes anything away."""

import itertools

import msgspec
import pytest
from atoll.protocol.errors import ProtocolError
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Offers
from atoll.protocol.policy import ACTS, Asker, Policy, Rule, admits, offered, promised
from hypothesis import given
from hypothesis import strategies as st

PEER, OTHER = peer_id(b"p" * 32), peer_id(b"o" * 32)
WIDER = ("nobody", "ask", "members", "anyone")
RULES = st.builds(Rule, st.sampled_from(WIDER), st.sampled_from([(), (PEER,), (OTHER,)]))
ASKERS = st.builds(Asker, st.sampled_from([PEER, OTHER]), st.sampled_from(["", "u"]))


@pytest.mark.parametrize(
    ("rule", "admitted"),
    [  # signed in, signed in and granted, anonymous, anonymous of a peer that was granted
        (Rule("nobody"), (False, False, False, False)),
        (Rule("ask"), (False, True, False, False)),
        (Rule("members"), (True, True, False, False)),
        (Rule("anyone"), (True, True, True, True)),
        (Rule("nobody", (PEER,)), (True, True, False, False)),
        (Rule("nobody", (OTHER,)), (False, False, False, False)),
        (Rule("ask", (PEER,)), (True, True, False, False)),
    ],
)
def test_each_audience(rule, admitted):
    askers = itertools.product((Asker(PEER, "u"), Asker(PEER)), (False, True))
    assert tuple(admits(rule, asker, granted=granted) for asker, granted in askers) == admitted


@given(RULES, RULES, ASKERS, st.booleans())
def test_a_wider_rule_takes_nothing_away(one, other, asker, granted):
    if WIDER.index(one.audience) <= WIDER.index(other.audience) and set(one.peers) <= set(other.peers):
        assert admits(one, asker, granted=granted) <= admits(other, asker, granted=granted)


@given(st.builds(Policy, *[RULES] * 4), ASKERS)
def test_a_listing_never_promises_what_its_owner_refuses(policy, asker):
    allowed = {act for act in ACTS if admits(policy.rule(act), asker, granted=False)}
    assert set(promised(policy.offers, asker.user)) <= allowed


def test_a_grant_adds_what_is_given_on_request_to_whom_it_was_given_and_nothing_else(owner):
    listing = msgspec.structs.replace(owner.plain(), offers=Offers("members", "nobody", "ask", "ask"))
    grants = {listing.federation + listing.owner + listing.learnware_id: frozenset({"disclose", "predict"})}
    assert offered(listing, "u", b"") == ("match",)
    assert offered(listing, "u", b"", grants) == ("match", "predict")  # what it offers to nobody any more is gone
    assert offered(listing, "", b"", grants) == ()
    other = msgspec.structs.replace(listing, learnware_id=b"o" * 32)
    assert offered(other, "u", b"", grants) == ("match",)


def test_by_default_a_learnware_is_matched_by_members_and_nothing_else():
    assert Policy().offers == Offers() == Offers("members", "nobody", "nobody", "nobody")
    assert promised(Offers(), "u") == ("match",)
    assert promised(Offers(), "") == ()


def test_a_policy_names_peers_only():
    with pytest.raises(ProtocolError):
        Policy(predict=Rule("nobody", ("somebody",))).check()
