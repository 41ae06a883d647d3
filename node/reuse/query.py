"""What a reuse session is asked, and what it plans before anything is sent. Ids are text here: hex, and PeerIds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from atoll.engine.reuse import Form, Method
from atoll.node.search.query import WELL

__all__ = ["MAX_MEMBERS", "Form", "Method", "Place", "PlannedMember", "ReusePlan", "ReuseQuery"]

Place = Literal["local", "remote"]

MAX_MEMBERS = 30
NO_UNITS: Mapping[str, str] = {}


class ReuseQuery(msgspec.Struct, frozen=True):
    """Reuse what the search ``search_id`` of ``user`` has found. ``method`` "auto" is soft routing without labels, with
    labels whatever validates best. ``prefer`` says where a member runs that may run at both places; ``local_only``
    leaves out what would run at its owner. ``abstain``: no answer for rows that no member covers. ``force``: even where
    the search found nobody who covers the data. ``units`` are those of columns, by name, where they are not the
    island's."""

    search_id: str
    method: Method | Literal["auto"] = "auto"
    form: Form | Literal["auto"] = "auto"
    prefer: Place = "local"
    members: int = 10
    abstain: bool = False
    force: bool = False
    local_only: bool = False
    units: Mapping[str, str] = NO_UNITS
    user: str = ""


class PlannedMember(msgspec.Struct, frozen=True):
    """A learnware that will take part with ``weight`` in the mixture and a say in ``rows`` of the rows (at most so many
    where the method is yet to be chosen); ``sees`` says in words what its owner, or this node, sees of them."""

    learnware_id: str
    revision: str
    federation: str
    owner: str
    owner_name: str
    name: str
    license: str
    weight: float
    place: Place
    rows: int
    downloaded: bool
    sees: str


class ReusePlan(msgspec.Struct, frozen=True):
    """What will be done once it is started. ``skipped`` says by learnware why it cannot take part; ``uncovered`` is the
    share of rows that no member covers, ``abstained`` how many of them get no answer, and ``explained`` the share of
    the user's data, as a whole, that the mixture of the members explains; ``leaves`` tells in sentences what leaves
    this node, and to whom: rows only if ``sends_rows``, which is so where any member runs at its owner.
    ``form`` is None where nothing is routed."""

    reuse_id: str
    search_id: str
    method: Method | Literal["auto"]
    form: Form | None
    rows: int
    labelled: int
    members: tuple[PlannedMember, ...]
    skipped: dict[str, str]
    uncovered: float
    abstained: int
    leaves: tuple[str, ...]
    sends_rows: bool
    licenses: tuple[str, ...]
    advice: str
    explained: float = 1.0

    @property
    def well(self) -> bool:
        """Whether that is so much that nothing need be said of it."""
        return self.explained >= WELL
