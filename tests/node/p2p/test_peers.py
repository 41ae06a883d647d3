"""What a node remembers of peers, who gives way when there are too many, when they are dialled."""

from __future__ import annotations

import msgspec
import pytest
from atoll.engine.encoding import pack
from atoll.node.admission import Rules
from atoll.node.p2p.backoff import FIRST_MS, LONGEST_MS
from atoll.node.p2p.peers import Peers
from atoll.node.store.environment import Store
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.ids import peer_id
from atoll.protocol.join import KnownPeer
from atoll.protocol.messages import decode, encode, topic
from atoll.protocol.peers import Acquaintance, PeersReply, leading_to, peer_of
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_800_000_000_000
FED, OTHER = b"F" * 32, b"O" * 32
OWN = peer_id(b"\0" * 32)


def peer(number: int) -> str:
    return peer_id(number.to_bytes(32, "big"))


def place(number: int, host: str = "10.0.0.1") -> str:
    return f"/ip4/{host}/tcp/8471/p2p/{peer(number)}"


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def peers(store):
    return Peers(store, OWN, "own")


def again(store: Store, peers: Peers) -> Peers:
    """The peers of the same node after a restart."""
    peers.flush()
    store.write(lambda txn: None).result()  # writes are done in order
    return Peers(store, OWN, "own")


# States


def test_a_member_is_known_then_connected_then_member_then_unreachable(peers):
    states = []
    peers.on_change(lambda peer: states.append(peers.get(peer).state))
    peers.hear(peer(1), "one", (place(1),))
    peers.connected(peer(1), NOW)
    peers.admit(peer(1), frozenset([FED]), NOW)
    peers.lost(peer(1), "disconnected", NOW + 5)
    assert states == ["known", "connected", "member", "unreachable"]
    assert (peers.get(peer(1)).why, peers.get(peer(1)).last_seen) == ("disconnected", NOW + 5)


def test_of_two_hellos_that_cross_the_one_that_began_later_says_what_is_shared(peers):
    earlier, later = peers.turn(), peers.turn()
    assert peers.admit(peer(1), frozenset([FED]), NOW, later) == {FED}
    assert peers.admit(peer(1), frozenset(), NOW, earlier) == {FED}
    assert peers.shared(peer(1)) == {FED}
    during = peers.turn()
    peers.lost(peer(1), "disconnected", NOW)
    assert peers.admit(peer(1), frozenset([FED]), NOW, during) == frozenset()
    assert peers.get(peer(1)).state == "unreachable"


def test_a_refusal_is_told_apart_from_silence_and_outlives_the_connection(peers):
    peers.connected(peer(1), NOW)
    peers.reached(peer(1), place(1))
    peers.failed(peer(1), "this node does not admit you", NOW, refused=True)
    peers.lost(peer(1), "disconnected", NOW)
    assert (peers.get(peer(1)).state, peers.get(peer(1)).why) == ("refused", "this node does not admit you")


def test_only_what_the_hello_proved_is_shared_and_only_while_connected(peers):
    peers.connected(peer(1), NOW)
    assert not peers.admitted(peer(1))
    peers.admit(peer(1), frozenset([FED]), NOW)
    assert peers.shared(peer(1)) == {FED}
    assert peers.member(topic(FED), peer(1))
    assert not peers.member(topic(OTHER), peer(1))
    peers.lost(peer(1), "disconnected", NOW)
    assert not peers.member(topic(FED), peer(1))
    assert peers.live() == []


def test_a_denied_peer_shares_nothing_from_the_moment_of_the_rule(peers):
    peers.reached(peer(1), place(1))
    peers.admit(peer(1), frozenset([FED]), NOW)
    peers.rules.add("deny", peer(1), NOW, lambda before, after: None)
    assert peers.shared(peer(1)) == frozenset()
    assert peers.live() == []
    assert peers.due(NOW, set()) == []
    assert (peers.get(peer(1)).state, peers.get(peer(1)).why) == ("denied", "denied by a rule of this node")
    peers.rules.remove("deny", peer(1), lambda before, after: None)
    assert peers.shared(peer(1)) == {FED}


def test_a_stranger_who_leaves_is_forgotten_but_not_one_who_misbehaved(peers):
    for number in (1, 2):
        peers.connected(peer(number), NOW)
    peers.on_misbehaviour(peer(2), "garbage")
    for number in (1, 2):
        peers.lost(peer(number), "disconnected", NOW)
    assert [(each.peer, each.misbehaved) for each in peers.all()] == [(peer(2), 1)]


def test_lags_are_kept_by_federation_as_long_as_it_is_shared(peers):
    peers.admit(peer(1), frozenset([FED, OTHER]), NOW)
    peers.note_lag(peer(1), FED, 3, 0, NOW)
    peers.note_lag(peer(1), OTHER, 0, 2, NOW)
    peers.note_lag(peer(1), FED, 1, 0, NOW + 9)
    lags = peers.get(peer(1)).lags
    assert {fed: msgspec.structs.astuple(lag) for fed, lag in lags.items()} == {
        FED: (1, 0, NOW + 9),
        OTHER: (0, 2, NOW),
    }
    peers.admit(peer(1), frozenset([OTHER]), NOW)
    assert list(peers.get(peer(1)).lags) == [OTHER]


def test_traffic_adds_up(peers):
    peers.connected(peer(1), NOW)
    peers.note_traffic(peer(1), 10, 0)
    peers.note_traffic(peer(1), 5, 7)
    peers.note_traffic(peer(2), 1, 1)
    assert [(each.bytes_in, each.bytes_out) for each in peers.all()] == [(15, 7)]


# Addresses


def test_hearsay_is_tried_last_never_told_on_and_dropped_once_the_peer_is_reached(peers):
    peers.hear(peer(1), "rumour", (place(1, "6.6.6.6"),))
    assert peers.known() == ()
    peers.learn(peer(1), "one", (place(1),))
    assert peers.get(peer(1)).places == (place(1), place(1, "6.6.6.6"))
    assert [each.addresses for each in peers.known()] == [(place(1),)]
    peers.reached(peer(1), place(1))
    peers.hear(peer(1), "other", (place(1, "6.6.6.6"),))
    assert peers.get(peer(1)).name == "one"
    peers.connected(peer(1), NOW)
    peers.hear(peer(1), "other", (place(1, "7.7.7.7"),))
    assert place(1, "7.7.7.7") not in peers.get(peer(1)).places


def test_a_name_is_short_and_leaves_the_terminal_alone(peers):
    peers.learn(peer(1), "\x1b[31mred\n" + "x" * 100, (place(1),))
    assert peers.name(peer(1)) == "[31mred" + "x" * 71


def test_what_is_told_of_a_peer_is_within_the_bounds_of_the_protocol(peers):
    peers.reached(peer(1), f"/dns4/{'x' * 200}/tcp/1/p2p/{peer(1)}")
    assert peers.known() == ()
    peers.learn(peer(1), "", tuple(place(1, f"10.0.0.{last}") for last in range(20)))
    (known,) = peers.known()
    assert len(known.addresses) == limits.ADDRESSES


def test_the_address_that_worked_outlives_what_the_peer_says_of_itself(peers):
    peers.reached(peer(1), place(1, "203.0.113.5"))
    peers.learn(peer(1), "one", (place(1, "192.168.0.2"),))
    assert peers.get(peer(1)).places[0] == place(1, "203.0.113.5")


def test_nothing_is_remembered_of_the_node_itself_or_of_ids_that_are_none(peers):
    peers.learn(OWN, "me", ("/ip4/10.0.0.1/tcp/1",))
    peers.configure([f"/ip4/10.0.0.1/tcp/1/p2p/{OWN}"])
    assert peers.all() == []
    for tell in (peers.learn, peers.hear):
        with pytest.raises(ProtocolError):
            tell("nobody", "", ())


@pytest.mark.parametrize("address", ["", "10.0.0.1:8471", "/ip4/10.0.0.1/tcp/8471", "/ip4/10.0.0.1/tcp/1/p2p/x"])
def test_a_configured_address_that_leads_to_no_peer_is_an_error(peers, address):
    with pytest.raises(ProtocolError):
        peers.configure([address])


@settings(deadline=None)
@given(st.lists(st.text(max_size=30) | st.just("/ip4/10.0.0.1/tcp/1") | st.builds(place, st.integers(1, 2))))
def test_addresses_are_few_distinct_and_lead_to_the_peer_they_are_said_of(addresses):
    kept = leading_to(peer(1), tuple(addresses))
    assert len(set(kept)) == len(kept) <= limits.ADDRESSES
    assert all(peer_of(address) == peer(1) for address in kept)


def test_an_address_behind_a_relay_leads_to_the_peer_behind_it():
    relayed = f"{place(9)}/p2p-circuit"
    assert leading_to(peer(1), (relayed,)) == (f"{relayed}/p2p/{peer(1)}",)
    assert leading_to(peer(9), (f"{relayed}/p2p/{peer(1)}",)) == ()


@pytest.mark.parametrize(
    "told",
    [
        PeersReply(tuple(Acquaintance(peer(1), "", ()) for _ in range(limits.PEERS_TOLD + 1))),
        PeersReply((Acquaintance(peer(1), "", (place(1),) * (limits.ADDRESSES + 1)),)),
        PeersReply((Acquaintance(peer(1), "", ("/" * (limits.ADDRESS + 1),)),)),
        PeersReply((Acquaintance(peer(1), "n" * (limits.NAME + 1), ()),)),
        PeersReply((Acquaintance("p" * 65, "", ()),)),
    ],
)
def test_an_introduction_beyond_its_bounds_is_not_read(told):
    with pytest.raises(ProtocolError):
        decode(encode(told), PeersReply, limit=limits.CONTROL_FRAME)


def test_the_largest_introduction_fits_its_frame():
    address = "/" + "a" * (limits.ADDRESS - 1)
    largest = Acquaintance(peer(1), "ä" * limits.NAME, (address,) * limits.ADDRESSES)
    reply = PeersReply((largest,) * limits.PEERS_TOLD)
    assert decode(encode(reply), PeersReply, limit=limits.CONTROL_FRAME) == reply


# Persistence


def test_backoff_addresses_and_conduct_survive_a_restart(store, peers):
    peers.learn(peer(1), "one", (place(1),))
    peers.reached(peer(1), place(1, "10.0.0.2"))
    peers.connected(peer(1), NOW)
    peers.on_misbehaviour(peer(1), "garbage")
    peers.lost(peer(1), "disconnected", NOW)
    for _ in range(4):
        peers.failed(peer(1), "no connection", NOW)
    before = peers.get(peer(1))
    state = again(store, peers).get(peer(1))
    kept = ("name", "places", "last_seen", "failures", "next_dial", "misbehaved", "state")
    assert [getattr(state, field) for field in kept] == [getattr(before, field) for field in kept]
    assert (state.failures, state.misbehaved) == (4, 1)


def test_a_dead_peer_is_not_probed_sooner_because_of_a_restart(store, peers):
    peers.learn(peer(1), "", (place(1),))
    for _ in range(20):
        peers.failed(peer(1), "no connection", NOW)
    restarted = again(store, peers)
    assert restarted.due(NOW + LONGEST_MS // 2, set()) == []
    assert [each.peer for each in restarted.due(NOW + 2 * LONGEST_MS, set())] == [peer(1)]


def test_the_failures_of_a_peer_that_answers_but_refuses_add_up(peers):
    peers.reached(peer(1), place(1))
    for _ in range(5):
        peers.connected(peer(1), NOW)
        peers.failed(peer(1), "no", NOW, refused=True)
        peers.lost(peer(1), "disconnected", NOW)
    assert peers.get(peer(1)).failures == 5
    peers.admit(peer(1), frozenset(), NOW)
    assert (peers.get(peer(1)).failures, peers.get(peer(1)).next_dial) == (0, 0)


def test_rows_of_the_first_release_are_read(store, tmp_path):
    old = KnownPeer(peer(1), "one", (place(1),))
    handle = store.table("peers", KnownPeer)
    store.write(lambda txn: handle.put(txn, old.peer.encode(), old)).result()
    (state,) = Peers(store, OWN, "own").all()
    assert (state.name, state.places, state.failures, state.state) == ("one", (place(1),), 0, "known")
    assert pack(old)  # which is what that release wrote


def test_the_lists_survive_a_restart_and_denials_outlive_their_peer(store, peers):
    peers.learn(peer(1), "one", (place(1),))
    for kind, number in (("deny", 1), ("allow", 2), ("deny", 3)):
        peers.rules.add(kind, peer(number), NOW, lambda before, after: None)
    peers.rules.remove("deny", peer(3), lambda before, after: None)
    assert peers.forget(peer(1))
    restarted = again(store, peers)
    assert restarted.all() == []
    assert [(row.kind, row.peer) for row in restarted.rules.all()] == [("allow", peer(2)), ("deny", peer(1))]
    assert restarted.rules.current == Rules(OWN, frozenset([peer(2)]), frozenset([peer(1)]))


def test_a_rule_that_is_not_approved_is_not_entered(store, peers):
    def refuse(before: Rules, after: Rules) -> None:
        raise ProtocolError("no")

    with pytest.raises(ProtocolError):
        peers.rules.add("deny", peer(1), NOW, refuse)
    assert peers.permitted(peer(1))
    assert again(store, peers).rules.all() == []


def test_a_forgotten_peer_stays_forgotten(store, peers):
    peers.learn(peer(1), "one", (place(1),))
    assert peers.forget(peer(1))
    assert not peers.forget(peer(1))
    assert again(store, peers).all() == []


# Room


def crowded(store: Store, *, limit: int = 3) -> Peers:
    return Peers(store, OWN, "own", limit=limit)


def test_the_peer_never_seen_that_failed_most_gives_way(store):
    peers = crowded(store)
    for number in (1, 2, 3):
        peers.hear(peer(number), "", (place(number),))
    peers.failed(peer(1), "", NOW)
    for _ in range(2):
        peers.failed(peer(2), "", NOW)
    peers.hear(peer(4), "", (place(4),))
    assert {each.peer for each in peers.all()} == {peer(1), peer(3), peer(4)}
    assert {each.peer for each in again(store, peers).all()} == {peer(1), peer(3), peer(4)}


def test_a_flood_of_hearsay_drives_out_nobody_who_was_seen_or_is_yet_to_be_tried(store):
    peers = crowded(store)
    peers.configure([place(1)])
    peers.reached(peer(2), place(2))
    peers.connected(peer(2), NOW)
    peers.lost(peer(2), "disconnected", NOW)
    peers.hear(peer(3), "", (place(3),))
    for number in range(10, 100):
        peers.hear(peer(number), "", (place(number),))
    assert {each.peer for each in peers.all()} == {peer(1), peer(2), peer(3)}


def test_a_flood_of_strangers_who_connect_drives_out_no_member_and_nobody_configured(store):
    peers = crowded(store, limit=4)
    peers.configure([place(1)])
    peers.reached(peer(2), place(2))
    peers.admit(peer(2), frozenset([FED]), NOW)
    peers.lost(peer(2), "disconnected", NOW)
    for number in range(10, 100):
        peers.connected(peer(number), NOW + number)
        peers.on_misbehaviour(peer(number), "garbage")
        peers.lost(peer(number), "disconnected", NOW + number)
    assert {peer(1), peer(2)} < {each.peer for each in peers.all()}
    assert len(peers.all()) == 4


def test_a_member_finds_room_where_a_stranger_sits(store):
    peers = crowded(store, limit=1)
    peers.hear(peer(1), "", (place(1),))
    peers.admit(peer(2), frozenset([FED]), NOW)
    assert peers.live() == [peer(2)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["hear", "connect", "admit", "lose", "fail", "configure"]), st.integers(1, 12)),
        max_size=60,
    )
)
def test_the_table_never_outgrows_its_bound_and_never_drops_configured_or_connected_peers(tmp_path_factory, events):
    store = Store(tmp_path_factory.mktemp("store"))
    try:
        peers, limit = Peers(store, OWN, "own", limit=5), 5
        staying: set[str] = set()
        for event, number in events:
            name = peer(number)
            match event:
                case "hear":
                    peers.hear(name, "", (place(number),))
                case "connect":
                    peers.connected(name, NOW)
                case "admit":
                    peers.admit(name, frozenset([FED]), NOW)
                case "lose":
                    peers.lost(name, "", NOW)
                case "fail":
                    peers.failed(name, "", NOW)
                case "configure":
                    peers.configure([place(number)])
            states = {each.peer: each for each in peers.all()}
            assert len(states) <= limit
            assert {gone for gone in staying - states.keys() if gone != name} == set()
            staying = {each.peer for each in states.values() if each.stays}
        assert {each.peer for each in again(store, peers).all()} == set(states) if events else True
    finally:
        store.close()


# Dialling


def test_configured_and_proven_peers_are_dialled_first(peers):
    peers.hear(peer(1), "", (place(1),))
    peers.reached(peer(2), place(2))
    peers.admit(peer(2), frozenset([FED]), NOW)
    peers.lost(peer(2), "disconnected", NOW)
    peers.configure([place(3)])
    assert [each.peer for each in peers.due(NOW, set())] == [peer(3), peer(1)]  # the one just lost may be closing
    assert [each.peer for each in peers.due(NOW + 2 * FIRST_MS, set())] == [peer(3), peer(2), peer(1)]
    assert [each.peer for each in peers.due(NOW, {peer(3), peer(2)})] == [peer(1)]
