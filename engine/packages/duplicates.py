"""Is it there already? The same model, or a specification of the same rows, among the learnwares that a dock knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from atoll.engine.specs.noised import Specification
from atoll.engine.specs.rkme import Rkme, mmd2

# Two fits to the same rows (other seed, other size, 5 % of the rows left out) are 1.4/n to 5.4/n apart, on digits and
# fashion images with n = 360 to 2400; fits to two disjoint sets of n rows of one distribution 3.8/n to 11/n.
ROWS_APART = 5.0
NEAREST, FARTHEST = 2e-4, 2e-2  # whatever count a specification claims


@dataclass(frozen=True)
class Known:
    """A learnware to compare with: ``name`` is what the report calls it, ``model`` the SHA-256 of its model in hex,
    ``specifications`` are by island id in hex."""

    name: str
    model: str
    specifications: dict[str, Specification] = field(default_factory=dict)


@dataclass(frozen=True)
class Duplicate:
    """``mmd2`` is None where it is the model, or a noised sketch, that is the same."""

    name: str
    words: str
    mmd2: float | None = None


def duplicates(model: str, specifications: dict[str, Specification], known: Sequence[Known]) -> list[Duplicate]:
    """The learnwares of ``known`` with the same model or a near-identical specification, in their order."""
    found = []
    for other in known:
        if other.model == model:
            found.append(Duplicate(other.name, f"{other.name} has the same model, byte for byte"))
            continue
        shared = [island for island in specifications if island in other.specifications]
        near = [_near(other.name, specifications[each], other.specifications[each]) for each in shared]
        found += [duplicate for duplicate in near if duplicate is not None][:1]
    return found


def _near(name: str, own: Specification, other: Specification) -> Duplicate | None:
    if not (isinstance(own, Rkme) and isinstance(other, Rkme)):
        same = type(own) is type(other) and own.to_bytes() == other.to_bytes()
        return Duplicate(name, f"{name} has the same noised sketch") if same else None
    if not own.comparable(other):
        return None
    distance = mmd2(own, other)
    if distance >= min(max(ROWS_APART / min(own.count, other.count), NEAREST), FARTHEST):
        return None
    return Duplicate(name, f"{name} has a specification at MMD^2 {distance:.1e}, as of the same rows", distance)
