"""What a search asks and what it answers. Ids are text here: hex, and PeerIds for owners."""

from __future__ import annotations

from typing import Literal

import msgspec
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.rkme import Rkme
from atoll.protocol.listings import Offers
from atoll.protocol.policy import Act


class SpecificationQuery(msgspec.Struct, frozen=True):
    """The user's RKME in one island."""

    island: bytes
    rkme: Rkme


class SearchQuery(msgspec.Struct, frozen=True):
    """``privacy`` "local" sends nothing to peers; "rkme" sends the reduced set to owners (the default). ``user`` is who
    asks at this node, empty for somebody unknown; owners are told a pseudonym."""

    specifications: tuple[SpecificationQuery, ...] = ()
    semantic: SemanticQuery = SemanticQuery()
    limit: int = 10
    deadline_ms: int = 2000
    privacy: Literal["local", "rkme"] = "rkme"
    user: str = ""


class Hit(msgspec.Struct, frozen=True):
    """One learnware found. ``estimated``: the distance comes from sketches, the owner has not answered. ``may`` is what
    the user may do with it, as the owner says, or as its listing does where the owner has not answered.

    ``mmd2`` is known to within ``band``: 0 where its RKME was disclosed, else the order of two that differ by less is
    not certain. ``similarity``, ``mmd2`` and ``band`` are None where the search was by words only.
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


class Member(msgspec.Struct, frozen=True):
    """One learnware of the mixture and its weight."""

    learnware_id: str
    owner: str
    name: str
    weight: float


class MixtureView(msgspec.Struct, frozen=True):
    """The mixture over owners. ``uncovered`` is the mass that no learnware covers; ``served`` whether reusing it
    makes sense; all members are compared in one ``representation``."""

    members: tuple[Member, ...]
    mmd2: float
    uncovered: float
    explained: float
    served: bool
    representation: Literal["rkme", "sketch"]


class SearchResult(msgspec.Struct, frozen=True):
    """The whole answer: what was found, who was asked, who answered, who did not and why. ``topk_exact``: the hits and
    their order are certain, no learnware that was not measured exactly can change them."""

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
