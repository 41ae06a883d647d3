"""What the audit log keeps of a policy: all of it, in texts that fit a row."""

import msgspec
from atoll.node.policy.noted import change, words
from atoll.node.store.audit import MAX_TEXT
from atoll.protocol.ids import peer_id
from atoll.protocol.policy import MAX_NAMED, Policy, Rule

PEERS = tuple(peer_id(number.to_bytes(32, "big")) for number in range(1, MAX_NAMED + 1))


def test_every_part_of_a_rule_is_told():
    rule = Rule("ask", PEERS[:2], 100, 0)
    told = f"ask; also …{PEERS[0][-8:]}, …{PEERS[1][-8:]}; 100 a day for a peer; 0 a day for a user"
    assert words(rule) == told
    assert words(Rule()) == "nobody"
    for part in msgspec.structs.fields(Rule):
        assert words(msgspec.structs.replace(rule, **{part.name: part.default})) != told


def test_what_was_before_is_told_of_the_acts_that_change():
    before, after = Policy(), Policy(predict=Rule("members"), match=Rule("members"))
    acts = {"match": "members", "disclose": "nobody", "predict": "members", "download": "nobody"}
    assert change(after, before) == acts | {"predict_before": "nobody"}
    assert change(after, None) == change(after, after) == acts


def test_the_longest_rule_fits_a_row_and_two_of_them_are_told_apart():
    rule = Rule("members", PEERS, 10**12, 10**12)
    assert len(words(rule)) <= MAX_TEXT
    assert words(rule) != words(msgspec.structs.replace(rule, peers=(*PEERS[:-1], PEERS[0])))
    assert words(rule) == words(msgspec.structs.replace(rule, peers=(*PEERS[:6], *reversed(PEERS[6:]))))
