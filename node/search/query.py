"""What a search asks and what it answers. Ids are text here: hex, and PeerIds for owners."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Literal

import msgspec
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.noised import NoisedSketch, Specification
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch, sketch
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, Offers, State
from atoll.protocol.policy import NO_GRANTS, Act, Grants, offered
from atoll.protocol.signing import Record

MAX_ISLANDS = 8  # of one search
PER_OWNER = 5  # places of one owner in a list
Privacy = Literal["local", "sketch", "rkme"]
Representation = Literal["rkme", "stand-in", "sketch"]


class SpecificationQuery(msgspec.Struct, frozen=True):
    """The user's data in one island: its RKME, or a sketch under differential privacy and nothing else."""

    island: bytes
    given: Specification

    @property
    def rkme(self) -> Rkme | None:
        return self.given if isinstance(self.given, Rkme) else None

    @property
    def norm2(self) -> float:
        return self.given.sketch.norm2 if isinstance(self.given, NoisedSketch) else self.given.norm2

    def sketch(self, island: Island) -> Sketch:
        """What is compared with what the catalogue holds, and what owners get whom the RKME is not for."""
        return self.given.sketch if isinstance(self.given, NoisedSketch) else sketch(self.given, island)


MAX_ALTERNATIVES = 256
Names = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=100)], ...], msgspec.Meta(max_length=MAX_ALTERNATIVES)]


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What listings must be, beside tags and words; an empty field asks for nothing, values in one are alternatives.

    ``dimensions`` are numbers of input features; of what is in ``may`` the listing promises the user every act. What is
    paused is found where ``state`` says so, by words, tags and filters only: its owner matches it with nothing.
    """

    federation: Names = ()
    owner: Names = ()
    learnware_id: Names = ()
    dimensions: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_ALTERNATIVES)] = ()
    may: Annotated[tuple[Act, ...], msgspec.Meta(max_length=MAX_ALTERNATIVES)] = ()
    state: Annotated[tuple[State, ...], msgspec.Meta(min_length=1, max_length=2)] = ("live",)

    def admits(self, listing: Listing, may: Callable[[Listing], Collection[Act]]) -> bool:
        """``may`` tells what the user may do with it."""
        return (
            (not self.federation or listing.federation.hex() in self.federation)
            and (not self.owner or peer_id(listing.owner) in self.owner)
            and (not self.learnware_id or listing.learnware_id.hex() in self.learnware_id)
            and (not self.dimensions or listing.inputs in self.dimensions)
            and listing.status in self.state
            and (not self.may or set(self.may) <= set(may(listing)))
        )


class SearchQuery(msgspec.Struct, frozen=True):
    """``privacy`` "local" sends nothing to peers; "sketch" what they gossip of their own learnwares, 512 numbers;
    "rkme" the reduced set (the default). ``user`` is who asks at this node, empty for somebody unknown; owners are told
    a pseudonym. Of the ``limit`` places of the list no owner has more than ``per_owner``. ``own``, the key of the node
    that searches, and ``granted``, what owners have granted it as they said last, it sets itself."""

    specifications: tuple[SpecificationQuery, ...] = ()
    semantic: SemanticQuery = SemanticQuery()
    filters: Filters = Filters()
    limit: int = 10
    deadline_ms: int = 2000
    privacy: Privacy = "rkme"
    user: str = ""
    per_owner: int = PER_OWNER
    own: bytes = b""
    granted: Grants = NO_GRANTS

    def admits(self, listing: Listing) -> bool:
        """Whether its filters do."""
        return self.filters.admits(listing, self.may)

    def may(self, listing: Listing) -> tuple[Act, ...]:
        """What its user may do, as far as the listing and the grants say."""
        return offered(listing, self.user, self.own, self.granted)


class Holder(msgspec.Struct, frozen=True):
    """Another owner, or federation, in which the same model or one with a near-identical specification is listed."""

    learnware_id: str
    owner: str
    owner_name: str
    federation: str


class Hit(msgspec.Struct, frozen=True):
    """One learnware found. ``estimated``: the distance comes from sketches, the owner has not answered. ``may`` is what
    the user may do with it, as the owner says, or as its listing does where the owner has not answered.

    ``mmd2`` is known to within ``band``: 0 where its RKME was disclosed, else the order of two that differ by less is
    not certain. ``similarity``, ``mmd2`` and ``band`` are None where the search was by words only. ``suspect``: what
    its owner says of it contradicts the listing that it has signed, which is ``record``: whoever has the hit can
    verify it (protocol.listings). ``holders`` list the same.
    """

    learnware_id: str
    revision: str
    federation: str
    owner: str
    owner_name: str
    name: str
    description: str
    task: str
    class_names: tuple[str, ...]
    island: str | None
    similarity: float | None
    mmd2: float | None
    estimated: bool
    band: float | None
    offers: Offers
    may: tuple[Act, ...] = ()
    suspect: bool = False
    data: str = ""
    library: str = ""
    scenario: tuple[str, ...] = ()
    license: str = ""
    dimension: int = 0
    hub: bool = False
    holders: tuple[Holder, ...] = ()
    record: Record | None = None
    state: State = "live"


class Member(msgspec.Struct, frozen=True):
    """One learnware of the mixture and its weight."""

    learnware_id: str
    owner: str
    name: str
    weight: float


WELL = 0.75  # of the user's squared norm explained: below, what knows none of the user's classes was seen to explain


class MixtureView(msgspec.Struct, frozen=True):
    """The mixture over owners. ``uncovered`` is the mass that no learnware covers, ``explained`` the share of
    the squared norm of the user's data that it is near to, 1 - MMD^2 / <u, u>; ``served`` whether reusing it
    makes sense; all members are compared in one ``representation``: "stand-in" if
    any of those considered is not disclosed and its owner has given a stand-in of its RKME."""

    members: tuple[Member, ...]
    mmd2: float
    uncovered: float
    explained: float
    served: bool
    representation: Representation

    @property
    def well(self) -> bool:
        """Whether it explains so much that nothing need be said of that."""
        return self.explained >= WELL


class SearchPlan(msgspec.Struct, frozen=True):
    """What will be done, told before it is: whom the search asks, and what leaves this node."""

    search_id: str
    islands: tuple[str, ...]
    privacy: Privacy
    leaves: str
    peers_asked: tuple[str, ...]


class PeerDone(msgspec.Struct, frozen=True):
    """A peer has answered."""

    peer: str


class PeerFailed(msgspec.Struct, frozen=True):
    """A peer that has not answered, and why."""

    peer: str
    why: str


class SearchResult(msgspec.Struct, frozen=True):
    """The whole answer: what was found, who was asked, who answered, who did not and why.

    ``topk_exact``: the hits and their order are certain, no learnware that was not measured exactly can change them.
    ``peers_doubted`` have said what contradicts the listings that they have signed. ``final``: no correction follows.
    """

    search_id: str
    hits: tuple[Hit, ...]
    mixture: MixtureView | None
    islands: tuple[str, ...]
    peers_asked: tuple[str, ...]
    peers_answered: tuple[str, ...]
    peers_failed: dict[str, str]
    complete: bool
    advice: str
    elapsed_ms: int
    topk_exact: bool = False
    peers_doubted: tuple[str, ...] = ()
    leaves: str = ""
    final: bool = True
