"""Whom rules admit, and what a change of them would bring about."""

from __future__ import annotations

from typing import Any

from atoll.node.admission import KINDS, Rules, Surroundings, weigh
from atoll.protocol.ids import peer_id
from hypothesis import given, settings
from hypothesis import strategies as st

FED, OTHER = b"F" * 32, b"O" * 32
OWN = peer_id(b"\0" * 32)


def peer(number: int) -> str:
    return peer_id(number.to_bytes(32, "big"))


PEERS = [OWN, *map(peer, range(1, 6))]
SOME = st.frozensets(st.sampled_from(PEERS))
RULES = st.builds(Rules, st.just(OWN), SOME, SOME)
AROUND = st.builds(
    Surroundings,
    st.dictionaries(st.sampled_from([FED, OTHER]), st.frozensets(st.sampled_from(PEERS), min_size=1)),
    st.frozensets(st.sampled_from(PEERS[1:])),
)
CHANGE = st.tuples(st.sampled_from(KINDS), st.sampled_from(PEERS), st.booleans())


def changed(rules: Rules, change: tuple[Any, str, bool]) -> Rules:
    kind, name, on = change
    return rules.with_rule(kind, name) if on else rules.without_rule(kind, name)


@settings(deadline=None)
@given(RULES, st.sampled_from(PEERS[1:]))
def test_deny_wins_and_an_empty_allow_list_admits_the_rest(rules, name):
    assert rules.admits(OWN)
    if name in rules.deny:
        assert not rules.admits(name)
    else:
        assert rules.admits(name) == (name in rules.allow or not rules.allow)


@settings(deadline=None)
@given(RULES, CHANGE, AROUND)
def test_consequences_are_the_difference_between_before_and_after(before, change, around):
    after = changed(before, change)
    found = weigh(before, after, around)
    assert found.dropped == {each for each in around.connected if before.admits(each) and not after.admits(each)}
    assert found.locked_out == {
        fed
        for fed, admins in around.admins.items()
        if any(map(before.admits, admins)) and not any(map(after.admits, admins))
    }
    assert all(OWN not in around.admins[fed] for fed in found.locked_out | found.stranded)
    assert {fed for fed in found.locked_out if around.admins[fed] & around.connected & _in(before)} <= found.stranded


def _in(rules: Rules) -> frozenset[str]:
    return frozenset(filter(rules.admits, PEERS))


@settings(deadline=None)
@given(RULES, CHANGE, AROUND)
def test_a_change_without_objection_leaves_every_federation_an_admitted_admin(before, change, around):
    after = changed(before, change)
    fine = {fed for fed, admins in around.admins.items() if any(map(before.admits, admins))}
    if not weigh(before, after, around).objection:
        assert all(any(map(after.admits, around.admins[fed])) for fed in fine)


@settings(deadline=None)
@given(RULES, CHANGE, AROUND)
def test_a_change_that_changes_nothing_has_no_consequences(before, change, around):
    kind, name, on = change
    if before.has_rule(kind, name) == on:
        found = weigh(before, changed(before, change), around)
        assert (found.dropped, found.stranded, found.objection) == (frozenset(), frozenset(), "")


def test_a_rule_about_the_node_itself_is_objected_to_and_its_removal_is_not():
    around = Surroundings({}, frozenset())
    for kind in KINDS:
        ruled = Rules(OWN).with_rule(kind, OWN)
        assert "itself" in weigh(Rules(OWN), ruled, around).objection
        assert weigh(ruled, Rules(OWN), around).objection == ""


def test_the_first_entry_of_the_allow_list_can_lock_out_an_admin_who_is_not_named():
    around = Surroundings({FED: frozenset([peer(1)]), OTHER: frozenset([OWN])}, frozenset([peer(1), peer(2)]))
    found = weigh(Rules(OWN), Rules(OWN).with_rule("allow", peer(2)), around)
    assert (found.dropped, found.locked_out, found.stranded) == ({peer(1)}, {FED}, {FED})
    assert found.objection
