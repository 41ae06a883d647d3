"""What this node knows of its peers: addresses (kept), connection, and the federations shared with each."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import msgspec
from atoll.node.store.environment import Store
from atoll.protocol.ids import public_key
from atoll.protocol.join import KnownPeer
from atoll.protocol.messages import topic

MAX_PEERS = 4096
MAX_ADDRESSES = 8
BACKOFF_MS, MAX_BACKOFF_MS = 1000, 300_000


class PeerState(msgspec.Struct):
    """``state`` is what people are shown: known, connected, member, unreachable, refused."""

    peer: str
    name: str = ""
    addresses: tuple[str, ...] = ()
    state: str = "known"
    why: str = ""
    shared: frozenset[bytes] = frozenset()
    last_seen: int = 0
    failures: int = 0
    next_dial: int = 0
    misbehaved: int = 0


class Peers:
    """Thread-safe; asked by the gossip gate for every message, so all of it is in memory."""

    def __init__(self, store: Store, own: str, own_name: str) -> None:
        self._store = store
        self._own = own
        self._own_name = own_name
        self._rows = store.table("peers", KnownPeer)
        self._lock = threading.RLock()
        with store.view() as txn:
            rows = [row for _, row in self._rows.scan(txn)]
        self._states = {row.peer: PeerState(row.peer, row.name, row.addresses) for row in rows}
        self._topics: dict[str, bytes] = {}
        self.on_misbehaviour: Callable[[str, str], None] = self._note_misbehaviour

    def learn(self, peer: str, name: str, addresses: tuple[str, ...]) -> None:
        """Remember where a peer listens; malformed ids are refused, own id is ignored."""
        public_key(peer)
        if peer == self._own:
            return
        with self._lock:
            state = self._states.get(peer)
            if state is None:
                if len(self._states) >= MAX_PEERS:
                    return
                state = self._states[peer] = PeerState(peer)
            if name:
                state.name = name[:80]
            if addresses:
                state.addresses = tuple(address[:200] for address in addresses[:MAX_ADDRESSES])
            row = KnownPeer(peer, state.name, state.addresses)
        self._store.write(lambda txn: self._rows.put(txn, peer.encode(), row))

    def forget(self, peer: str) -> bool:
        """Whether there was such a peer; returns after commit."""
        with self._lock:
            known = self._states.pop(peer, None) is not None
        self._store.write(lambda txn: self._rows.delete(txn, peer.encode())).result()
        return known

    def connected(self, peer: str, now: int) -> None:
        with self._lock:
            state = self._states.setdefault(peer, PeerState(peer))
            state.state, state.last_seen, state.failures, state.why = "connected", now, 0, ""

    def admit(self, peer: str, shared: frozenset[bytes], now: int) -> None:
        """The hello has proven these federations in common."""
        with self._lock:
            state = self._states.setdefault(peer, PeerState(peer))
            state.shared, state.last_seen = shared, now
            state.state = "member" if shared else "connected"
            for federation in shared:
                self._topics[topic(federation)] = federation

    def lost(self, peer: str, why: str) -> None:
        with self._lock:
            state = self._states.get(peer)
            if state is not None:
                state.state, state.why, state.shared = "unreachable", why, frozenset()

    def failed(self, peer: str, why: str, now: int) -> None:
        """A dial failed: back off, doubling up to five minutes, with jitter."""
        with self._lock:
            state = self._states.get(peer)
            if state is not None:
                state.failures += 1
                wait = min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** min(state.failures - 1, 10))
                state.next_dial = now + int(wait * random.uniform(0.75, 1.25))
                state.state, state.why = "unreachable", why[:200]

    def due(self, now: int, connected: set[str]) -> list[PeerState]:
        """Peers to dial now."""
        with self._lock:
            states = [state for state in self._states.values() if state.peer not in connected]
        return [state for state in states if state.addresses and state.next_dial <= now]

    def admitted(self, peer: str) -> bool:
        return bool(self.shared(peer))

    def shared(self, peer: str) -> frozenset[bytes]:
        with self._lock:
            state = self._states.get(peer)
            return state.shared if state else frozenset()

    def member(self, topic_: str, peer: str) -> bool:
        """Whether a topic belongs to a federation shared with ``peer``."""
        federation = self._topics.get(topic_)
        return federation is not None and federation in self.shared(peer)

    def live(self) -> list[str]:
        """Admitted peers."""
        with self._lock:
            return sorted(peer for peer, state in self._states.items() if state.shared)

    def name(self, peer: str) -> str:
        if peer == self._own:
            return self._own_name
        with self._lock:
            state = self._states.get(peer)
            return state.name if state else ""

    def all(self) -> list[PeerState]:
        with self._lock:
            return [msgspec.structs.replace(self._states[peer]) for peer in sorted(self._states)]

    def known(self) -> tuple[KnownPeer, ...]:
        """Peers with addresses, to tell a newcomer."""
        return tuple(KnownPeer(s.peer, s.name, s.addresses) for s in self.all() if s.addresses)

    def _note_misbehaviour(self, peer: str, why: str) -> None:
        with self._lock:
            state = self._states.setdefault(peer, PeerState(peer))
            state.misbehaved += 1
            state.why = why[:200]
