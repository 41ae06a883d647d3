"""What this node knows of its peers: where they listen, how they stand, which federations are proven in common."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec
from atoll.node.admission import Rules
from atoll.node.p2p.backoff import is_due, next_try
from atoll.node.p2p.errors import Unreachable
from atoll.node.p2p.table import HEARSAY, MAX_PEERS, Lag, PeerState, PeerTable, Rank
from atoll.node.store.environment import Store
from atoll.node.store.peers import PeerRows, PeerRules
from atoll.protocol import limits
from atoll.protocol.errors import NotMember
from atoll.protocol.ids import public_key
from atoll.protocol.join import KnownPeer
from atoll.protocol.messages import topic
from atoll.protocol.peers import leading_to, peer_of

Listener = Callable[[str], None]
A_CENTURY = 100 * 365 * 86_400_000  # ms


class Peers:
    """Thread-safe; asked by the gossip gate for every message, so all of it is in memory.

    Whom the ``rules`` do not admit shares nothing with this node from the moment they say so.
    """

    def __init__(self, store: Store, own: str, own_name: str, *, limit: int = MAX_PEERS) -> None:
        self.rules = PeerRules(store, own)
        self._own = own
        self._own_name = own_name
        self._table = PeerTable(PeerRows(store), limit)
        self._topics: dict[str, bytes] = {}
        self._listeners: list[Listener] = []
        self._turns = itertools.count(1)

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(peer)`` after each change but of traffic, from whatever thread made it, until the returned
        function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- what is learned -----------------------------------------------------------------------------------------

    def configure(self, addresses: Iterable[str]) -> None:
        """Addresses that are always dialled; ProtocolError names one that leads to no peer."""
        for address in addresses:
            peer = peer_of(address)
            with self._changing(peer, (True, True, 0, 0)) as state:
                if state is not None:
                    state.configured = (*state.configured, address)

    def learn(self, peer: str, name: str, addresses: tuple[str, ...]) -> None:
        """What a peer says of itself; malformed ids are refused, own id is ignored."""
        public_key(peer)
        with self._changing(peer, HEARSAY) as state:
            if state is not None:
                state.name = _plain(name) or state.name
                state.addresses = leading_to(peer, addresses) or state.addresses

    def timed(self, peer: str, ahead: int) -> None:
        """How many ms the clock of a peer was ahead of ours when it said hello, as it says."""
        with self._changing(peer, HEARSAY) as state:
            if state is not None:
                state.ahead = max(-A_CENTURY, min(ahead, A_CENTURY))

    def hear(self, peer: str, name: str, addresses: tuple[str, ...]) -> None:
        """What others say of a peer: tried after all else, never told on, and of no account while it is connected."""
        public_key(peer)
        if not self.permitted(peer):
            return
        with self._changing(peer, HEARSAY) as state:
            if state is not None and state.state not in ("connected", "member"):
                state.name = state.name or _plain(name)
                state.hearsay = leading_to(peer, (*addresses, *state.hearsay))

    def reached(self, peer: str, address: str) -> None:
        """A dial of ``address`` has proven that ``peer`` is there."""
        with self._changing(peer, HEARSAY) as state:
            if state is not None:
                state.worked, state.hearsay = address, ()

    def ruled(self, peer: str) -> None:
        """To be called when the rules about a peer have changed: it may be dialled, or is shown as denied."""
        for listener in tuple(self._listeners):
            listener(peer)

    def forget(self, peer: str) -> bool:
        """Whether there was such a peer; returns after commit."""
        return self._table.forget(peer)

    def flush(self) -> None:
        """Queue the write of what has changed; to be called now and then, and at the end."""
        self._table.flush()

    # -- what happens --------------------------------------------------------------------------------------------

    def connected(self, peer: str, now: int) -> None:
        """Failures are forgotten only after the hello, or a peer that refuses us would be dialled every second."""
        with self._changing(peer, (False, True, 0, now)) as state:
            if state is not None and not state.shared:
                state.state, state.why, state.last_seen = "connected", "", now

    def turn(self) -> int:
        """To be taken when a hello begins: two that cross end in any order, and the later one has seen more."""
        return next(self._turns)

    def admit(self, peer: str, shared: frozenset[bytes], now: int, turn: int | None = None) -> frozenset[bytes]:
        """The hello that began with ``turn`` (now, if None) has proven these federations in common; returns what is
        shared, which is something else if a later one has ended before it."""
        turn = self.turn() if turn is None else turn
        with self._changing(peer, (bool(shared), True, 0, now)) as state:
            if state is None:
                return frozenset()
            if turn < state.turn:
                return state.shared
            state.turn = turn
            state.state, state.why = ("member" if shared else "connected"), ""
            state.shared, state.last_seen, state.failures, state.next_dial = shared, now, 0, 0
            state.next_ask = 0  # a hello is a sign of life
            state.proven = state.proven or bool(shared)
            state.lags = {federation: lag for federation, lag in state.lags.items() if federation in shared}
            self._topics |= {topic(federation): federation for federation in shared}
            return shared

    def lost(self, peer: str, why: str, now: int) -> None:
        """The last connection has ended: not dialled at once, for it may be closing.

        A stranger who leaves nothing to remember is forgotten.
        """
        with self._changing(peer) as state:
            if state is None:
                return
            if not (state.proven or state.places or state.misbehaved):
                self._table.drop(peer)
            if state.state in ("connected", "member"):  # else it is said already why
                state.state, state.why, state.last_seen = "unreachable", why, now
                state.next_dial = next_try(1, now, random.random())
            state.shared, state.turn = frozenset(), self.turn()

    def failed(self, peer: str, why: str, now: int, *, refused: bool = False) -> None:
        """A dial or hello failed (``refused``: the peer, or we, said no): back off."""
        with self._changing(peer) as state:
            if state is not None:
                state.failures += 1
                state.next_dial = next_try(state.failures, now, random.random())
                state.state, state.why = ("refused" if refused else "unreachable"), why[:200]

    def answered(self, peer: str) -> None:
        """It has answered a search."""
        with self._table.lock:
            state = self._table.get(peer)
            if state is not None and state.unanswered:
                state.unanswered, state.next_ask = 0, 0
                self._table.keep(peer)

    def unanswered(self, peer: str, now: int) -> None:
        """It is there, and has left a search without an answer: asked again after a while."""
        with self._changing(peer) as state:
            if state is not None:
                state.unanswered += 1
                state.next_ask = next_try(state.unanswered, now, random.random())

    def require_answering(self, peer: str, now: int) -> None:
        """Unreachable while a peer that leaves searches unanswered is not to be asked again. When the time has come
        one search asks it, and the others wait for how that ends."""
        with self._table.lock:
            state = self._table.get(peer)
            if state is None or not state.unanswered:
                return
            if not is_due(state.next_ask, now):
                seconds = (state.next_ask - now) / 1000
                raise Unreachable(f"it left {state.unanswered} searches unanswered; asked again in {seconds:.0f} s")
            state.next_ask = next_try(state.unanswered + 1, now, random.random())

    def on_misbehaviour(self, peer: str, why: str) -> None:
        with self._changing(peer) as state:
            if state is not None:
                state.misbehaved += 1
                state.why = why[:200]

    def cut_off(self, peer: str, why: str, until: int) -> None:
        """It has misbehaved too often: not dialled before ``until``."""
        with self._changing(peer) as state:
            if state is not None:
                state.state, state.why, state.next_dial = "refused", why[:200], until
                state.shared, state.turn = frozenset(), self.turn()

    def note_lag(self, peer: str, federation: bytes, behind: int, ahead: int, now: int) -> None:
        """A comparison found ``behind`` logs lower or missing at the peer, and ``ahead`` that stand higher there."""
        with self._changing(peer) as state:
            if state is not None:
                state.lags = {**state.lags, federation: Lag(behind, ahead, now)}

    def note_traffic(self, peer: str, received: int, sent: int) -> None:
        with self._table.lock:
            state = self._table.get(peer)
            if state is not None:
                state.bytes_in += received
                state.bytes_out += sent

    # -- what is asked -------------------------------------------------------------------------------------------

    def permitted(self, peer: str) -> bool:
        """Whether the administrator's lists let this peer in."""
        return self.rules.current.admits(peer)

    def admitted(self, peer: str) -> bool:
        return bool(self.shared(peer))

    def shared(self, peer: str) -> frozenset[bytes]:
        with self._table.lock:
            state = self._table.get(peer)
            return state.shared if state is not None and self.permitted(peer) else frozenset()

    def require_shared(self, peer: str, federation: bytes) -> None:
        """NotMember unless ``peer`` has proven to be in ``federation`` too: all else does not exist for it."""
        if federation not in self.shared(peer):
            raise NotMember("not a member of this federation")

    def member(self, topic_: str, peer: str) -> bool:
        """Whether a topic belongs to a federation shared with ``peer``."""
        federation = self._topics.get(topic_)
        return federation is not None and federation in self.shared(peer)

    def live(self) -> list[str]:
        """Admitted peers."""
        with self._table.lock:
            return sorted(state.peer for state in self._table if state.shared and self.permitted(state.peer))

    def due(self, now: int, connected: set[str]) -> list[PeerState]:
        """Peers to dial now, those of the configuration and proven ones first."""
        with self._table.lock:
            absent = (state for state in self._table if state.peer not in connected and is_due(state.next_dial, now))
            due = [msgspec.structs.replace(s) for s in absent if s.places and self.permitted(s.peer)]
        return sorted(due, key=lambda state: (not state.configured, not state.proven, state.next_dial))

    def name(self, peer: str) -> str:
        if peer == self._own:
            return self._own_name
        with self._table.lock:
            state = self._table.get(peer)
            return state.name if state else ""

    def get(self, peer: str) -> PeerState | None:
        """A copy, as of ``all``."""
        with self._table.lock:
            state = self._table.get(peer)
            return None if state is None else _shown(state, self.rules.current)

    def all(self) -> list[PeerState]:
        """Copies, by peer id; whom the rules keep out is shown as denied."""
        with self._table.lock:
            states = [_shown(state, self.rules.current) for state in self._table]
        return sorted(states, key=lambda state: state.peer)

    def known(self) -> tuple[KnownPeer, ...]:
        """Peers with addresses of their own words."""
        found = (state for state in self.all() if state.state != "denied")
        known = (KnownPeer(state.peer, state.name, leading_to(state.peer, state.own_places)) for state in found)
        return tuple(each for each in known if each.addresses)

    @contextmanager
    def _changing(self, peer: str, rank: Rank | None = None) -> Iterator[PeerState | None]:
        """A peer's state to change, made if there is room for one of that ``rank``; never of this node itself."""
        with self._table.lock:
            state = self._table.get(peer) if rank is None else self._make(peer, rank)
            yield state
            if state is not None:
                self._table.keep(peer)
        for listener in tuple(self._listeners):
            listener(peer)

    def _make(self, peer: str, rank: Rank) -> PeerState | None:
        return None if peer == self._own else self._table.make(peer, rank)


def _plain(name: str) -> str:
    """A name as it can be shown: peers choose theirs."""
    return "".join(character for character in name[: limits.NAME] if character.isprintable())


def _shown(state: PeerState, rules: Rules) -> PeerState:
    copy = msgspec.structs.replace(state)
    if not rules.admits(copy.peer):
        copy.state, copy.why, copy.shared = "denied", rules.why_not(copy.peer), frozenset()
    return copy
