"""A search under way: what has happened so far, for whoever listens, from wherever they left off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from atoll.engine.islands import Island
from atoll.engine.specs.sketch import Sketch
from atoll.node.search.plan import Candidate
from atoll.node.search.query import MixtureView, SearchQuery, SearchResult, SpecificationQuery
from atoll.node.telling import Event, Telling

__all__ = ["Event", "Ground", "Running", "Session"]


class Ground(msgspec.Struct, frozen=True):
    """What may be reused in one island: the user's data there, in full and as a sketch, and what the user may predict
    with or download of what a mixture can be made of, nearest first."""

    island: Island
    asked: SpecificationQuery
    sketch: Sketch
    candidates: tuple[Candidate, ...]


class Session(msgspec.Struct, frozen=True):
    """What a prediction needs of a search: its best mixture, and what of all that was found may be reused."""

    island: Island
    members: tuple[Candidate, ...]
    mixture: MixtureView
    grounds: tuple[Ground, ...] = ()


class Running(Telling):
    """Lives in the asyncio loop, and after its end for as long as it is remembered. ``leaves`` is what leaves the node,
    by language: who reads it may speak another than who has asked."""

    def __init__(self, id_: str, query: SearchQuery) -> None:
        super().__init__()
        self.id = id_
        self.query = query
        self.candidates: Sequence[Candidate] = ()
        self.session: Session | None = None
        self.result: SearchResult | None = None
        self.leaves: Mapping[str, str] = {}

    async def answer(self) -> SearchResult:
        """The newest whole answer, as soon as there is one."""
        await self.happens(lambda: self.result is not None)
        assert self.result is not None  # it ends with an answer or an error
        return self.result
