"""Who is around a node, one line a peer: what the table of peers says, and what certificates say of members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from atoll.node.language import gettext, later, ngettext
from atoll.node.p2p.table import Lag, PeerState
from atoll.protocol.ids import peer_id

if TYPE_CHECKING:
    from atoll.node.app import Node

State = Literal["member", "relayed", "connected", "away", "refused", "denied"]
STATES: tuple[State, ...] = get_args(State)
WORDS: dict[State, str] = {
    "member": later("connected"),
    "relayed": later("connected by relay"),
    "connected": later("nothing in common"),
    "away": later("away"),
    "refused": later("turned away"),
    "denied": later("denied by rule"),
}
HERE: tuple[State, ...] = ("member", "relayed", "connected")
SHORT = 8


class Common(NamedTuple):
    """A federation that a peer and this node are in, and how far apart their catalogues were when last compared."""

    id: str
    name: str
    lag: Lag | None


class Line(NamedTuple):
    """A peer; ``number`` is its place among all by name, the same on the map and in the table, and ``why`` the
    network's words for its state. ``known`` is what the table has, None of a member that was never met."""

    number: int
    peer: str
    name: str
    state: State
    why: str
    common: tuple[Common, ...]
    known: PeerState | None

    @property
    def short(self) -> str:
        return f"…{self.peer[-SHORT:]}"

    @property
    def lags(self) -> list[Lag]:
        return [each.lag for each in self.common if each.lag is not None]

    @property
    def distance(self) -> int:
        """Logs by which the two differ, over all federations."""
        return sum(lag.behind + lag.ahead for lag in self.lags)

    @property
    def last_seen(self) -> int:
        return self.known.last_seen if self.known else 0

    @property
    def traffic(self) -> int:
        return self.known.bytes_in + self.known.bytes_out if self.known else 0


def lines(node: Node, relayed: frozenset[str], now: int) -> list[Line]:
    """All peers that the table knows, and all members of this node's federations, by name."""
    names, memberships = _members(node, now)
    known = {state.peer: state for state in node.peers.all()}
    charters = {each.id: plain(each.charter.name) for each in node.federations.all()}
    found = []
    for peer in sorted(known.keys() | memberships.keys()):
        state = known.get(peer)
        name = plain(state.name if state and state.name else names.get(peer, ""))
        common = memberships.get(peer, frozenset()) | (state.shared if state else frozenset())
        why = state.why if state else ""
        found.append(Line(0, peer, name, standing(state, relayed), why, _common(charters, common, state), state))
    found.sort(key=lambda line: (not line.name, line.name.casefold(), line.peer))
    return [line._replace(number=number) for number, line in enumerate(found, start=1)]


def standing(state: PeerState | None, relayed: frozenset[str]) -> State:
    """In what one of a few ways a peer stands."""
    if state is None or state.state == "known" or state.state == "unreachable":
        return "away"
    if state.state == "member":
        return "relayed" if state.peer in relayed else "member"
    return state.state


def plain(name: str) -> str:
    """Others' name in letters that can be seen: nothing that turns the text around it."""
    return "".join(character for character in name if character.isprintable()).strip()


def lag_words(lag: Lag | None) -> str:
    """How a peer's catalogue stood to this node's."""
    if lag is None:
        return gettext("not compared yet")
    told = []
    if lag.behind:
        told.append(ngettext("%(num)d log behind", "%(num)d logs behind", lag.behind) % {"num": lag.behind})
    if lag.ahead:
        told.append(ngettext("%(num)d log ahead", "%(num)d logs ahead", lag.ahead) % {"num": lag.ahead})
    return gettext(", ").join(told) or gettext("level")


def _members(node: Node, now: int) -> tuple[dict[str, str], dict[str, frozenset[bytes]]]:
    """What members call themselves in certificates, and where they are members; this node left out."""
    names: dict[str, str] = {}
    memberships: dict[str, frozenset[bytes]] = {}
    for federation in node.federations.all():
        for each in node.federations.members(federation.id, now):
            if each.member != node.identity.public:
                peer = peer_id(each.member)
                names.setdefault(peer, each.name)
                memberships[peer] = memberships.get(peer, frozenset()) | {federation.id}
    return names, memberships


def _common(
    charters: Mapping[bytes, str], federations: frozenset[bytes], state: PeerState | None
) -> tuple[Common, ...]:
    lags = state.lags if state else {}
    here = [Common(id_.hex(), charters[id_], lags.get(id_)) for id_ in federations if id_ in charters]
    return tuple(sorted(here, key=lambda each: (each.name.casefold(), each.id)))
