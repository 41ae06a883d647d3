"""``/atoll/match/1``: a query goes to an owner, who ranks its own full RKMEs, or their stand-ins if undisclosed."""

from __future__ import annotations

from math import isfinite
from typing import Annotated

import msgspec
import numpy as np
from atoll.engine.errors import DimensionMismatch, NotFinite, SpecificationError
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.rkme import RkmeRecord
from atoll.engine.specs.sketch import BLOCK, SCALE, Sketch
from atoll.protocol.messages import Message
from atoll.protocol.policy import Act

PROTOCOL = "/atoll/match/1"
MAX_LIMIT = 200
MAX_WANTED = 64
TOLD_BAND = 0.02  # mmd2 without an RKME is to a stand-in: RMS 0.0005 to 0.003, at most 0.016 was seen

Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class AskedSketch(msgspec.Struct, frozen=True):
    """A user's sketch as a listing carries one: int8, block 0, a ``scale`` of its own under noise of ``sigma`` only.
    The exact norm of the user's RKME does not go with it."""

    sketch: bytes
    scale: float = SCALE
    sigma: float = 0.0

    @classmethod
    def of(cls, sketch: Sketch) -> AskedSketch:
        return cls(sketch.values.tobytes(), float(sketch.scale), float(sketch.sigma))

    def to_sketch(self) -> Sketch:
        """Check what a stranger has sent, ``norm2`` is the sketch's own; SpecificationError (or a child) says what is
        wrong with it."""
        if len(self.sketch) != BLOCK:
            raise DimensionMismatch(f"a sketch of {len(self.sketch)} bytes: expected {BLOCK}")
        if not (isfinite(self.scale) and isfinite(self.sigma)):
            raise NotFinite(f"a sketch with scale {self.scale} and noise {self.sigma}")
        if not (0.0 < self.scale <= 1.0 and 0.0 <= self.sigma <= 1.0):
            raise SpecificationError(f"a sketch with scale {self.scale:g} and noise {self.sigma:g} is impossible")
        if self.sigma == 0.0 and self.scale != SCALE:
            raise SpecificationError("only a noised sketch has a scale of its own")
        values = np.frombuffer(self.sketch, np.int8)
        norm2 = self.scale**2 * float(np.square(values, dtype=np.float64).sum())
        return Sketch(values, norm2, self.scale, self.sigma)


class MatchRequest(Message, frozen=True):
    """``rkme`` in the units of ``island``, or a ``sketch`` in its place; ``user`` is a pseudonym per federation beside
    the asking node. The ``wanted`` learnwares are asked about wherever they rank."""

    federation: bytes
    island: bytes
    rkme: RkmeRecord | None = None
    semantic: SemanticQuery = SemanticQuery()
    limit: int = 50
    user: str = ""
    sketch: AskedSketch | None = None
    wanted: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=MAX_WANTED)] = ()

    def __post_init__(self) -> None:
        if (self.rkme is None) == (self.sketch is None):
            raise ValueError("a match request has either an RKME or a sketch")


class MatchAnswer(Message, frozen=True):
    """Exact distance of one learnware, its RKME and the salt of its commitment where that is disclosed; where it is
    not, a distance within TOLD_BAND, to three digits. ``norm2`` is never more than the listing says then. ``may`` is
    what the asker may do with it.

    ``stand_in`` is what distances are to where the RKME is not disclosed (engine.specs.stand_in), and what the listed
    sketch is of: none of its points is one of the RKME, and no number of answers would tell more. Where a sketch was
    asked about, the distance is that of the listed sketch, whatever is disclosed."""

    learnware_id: bytes
    revision: bytes
    mmd2: float
    norm2: float
    rkme: RkmeRecord | None = None
    salt: bytes | None = None
    stand_in: RkmeRecord | None = None
    may: tuple[Act, ...] = ()


class MatchReply(Message, frozen=True):
    """The nearest in ``answers``, as many as were asked for; in ``wanted`` those of the wanted that may be matched and
    are not among them."""

    answers: tuple[MatchAnswer, ...]
    wanted: tuple[MatchAnswer, ...] = ()
