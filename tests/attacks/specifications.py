"""A catalogue of honest learnwares, and strangers who poison it; shared by the tests and the benchmark.

Honest ones are fits of samples, in families of near neighbours; some are of the same distribution, at several owners.
Strangers know every listing, every disclosed RKME and what people ask, come later, and make as many keys as they like.
Searches are whole: plan, questions, answers, merge; only the wire and the store are not there.
"""

from __future__ import annotations

import types
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.matching import RkmeIndex
from atoll.engine.packages.manifest import commitment
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme, Sketch, fit_rkme, sketch
from atoll.engine.specs.noised import DpParameters
from atoll.engine.specs.rkme import RkmeRecord
from atoll.engine.specs.sketch import SCALE
from atoll.node.search.query import SearchQuery, SearchResult, SpecificationQuery
from atoll.node.search.service import Searcher
from atoll.protocol.ids import peer_id
from atoll.protocol.limits import DAY
from atoll.protocol.listings import Listing, Offers, SpecSummary
from atoll.protocol.match import MatchAnswer, MatchReply
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

SALT, FEDERATION = bytes(16), b"F" * 32
MAY = ("match", "disclose")
PLACES = 5


@dataclass(frozen=True)
class Offered:
    """A listing with what its owner has to show for it, and when the searching node saw it first."""

    listing: Listing
    rkme: Rkme | None
    seen: int

    @property
    def id(self) -> str:
        return self.listing.learnware_id.hex()

    @property
    def summary(self) -> SpecSummary:
        return self.listing.specifications[0]


@dataclass
class World:
    """Honest learnwares and the users who search."""

    island: Island
    honest: list[Offered]
    users: list[Rkme]
    truth: list[list[str]] = field(default_factory=list)

    @property
    def sketches(self) -> NDArray[np.float64]:
        """float64 (n, 512) of all honest listings."""
        return np.array([np.frombuffer(each.summary.sketch, np.int8) for each in self.honest]) * SCALE

    @property
    def popular(self) -> list[Offered]:
        """What users are shown most, first."""
        asked = Counter(id_ for near in self.truth for id_ in near)
        order = {id_: place for place, (id_, _) in enumerate(asked.most_common())}
        return sorted(self.honest, key=lambda each: order.get(each.id, len(order)))


def world(learnwares: int, users: int, *, dimension: int = 8, owners: int = 30, seed: int = 0) -> World:
    """Families of ten blends of four of many clusters; every fourth learnware repeats the distribution before it."""
    random = np.random.default_rng(seed)
    island = Island.mint(random.normal(size=(400, dimension)))
    centres = random.normal(size=(200, dimension))
    count = learnwares // 10
    families = [(random.integers(0, 200, 4), random.dirichlet(np.ones(4))) for _ in range(count)]

    def fitted(parts: NDArray[np.int64], shares: NDArray[np.float64], rows: int) -> Rkme:
        chosen = centres[parts[random.choice(4, rows, p=shares)]]
        sample = chosen + 0.4 * random.normal(size=(rows, dimension))
        return fit_rkme(sample.astype(np.float32), size=25, gamma=island.gamma)

    honest, keys = [], [random.bytes(32) for _ in range(owners)]
    shares = [usual for _, usual in families]
    for number in range(learnwares):
        parts, usual = families[number % count]
        again = number // count % 4 == 3  # of the distribution that the one before in the family has
        shares[number % count] = shares[number % count] if again else random.dirichlet(60 * usual + 0.05)
        made = fitted(parts, shares[number % count], int(random.choice([300, 600, 1200, 2400])))
        seen = int(random.integers(1, 300)) * DAY
        honest.append(offered(keys[number % owners], random.bytes(32), island, made, seen))
    asked = [fitted(*families[random.integers(count)], 600) for _ in range(users)]
    made = RkmeIndex({each.id: each.rkme for each in honest if each.rkme})
    return World(island, honest, asked, [made.nearest(each, PLACES)[0] for each in asked])


def offered(owner: bytes, id_: bytes, island: Island, made: Rkme, seen: int) -> Offered:
    """A learnware whose RKME is disclosed."""
    short = sketch(made, island)
    committed = commitment(SALT, made.to_bytes())
    summary = SpecSummary(island.digest, short.values.tobytes(), short.norm2, rounded(made.count), committed)
    return Offered(listed(owner, id_, summary, Offers(disclose="members")), made, seen)


def listed(owner: bytes, id_: bytes, summary: SpecSummary, offers: Offers) -> Listing:
    public = Ed25519PrivateKey.from_private_bytes(owner).public_key().public_bytes_raw()
    return Listing(public, FEDERATION, id_, id_, 1, 1, "live", SemanticSpec(id_.hex()[:8]), (summary,), offers)


def rounded(count: int) -> int:
    return 1 << (count.bit_length() - 1)


class Node:
    """A searching node that knows the world and what strangers have planted: catalogue, network and names in one.
    Strangers who have no RKME answer with the distance of their sketch, less what they dare to ``lie``. A ``fresh``
    node has seen everything at once; strangers who are ``vetted``, or have waited for a month, are no newcomers."""

    def __init__(self, world: World, planted: Sequence[Offered] = (), *, lie: float = 0.0, fresh: bool = False,
                 vetted: bool = False) -> None:  # fmt: skip
        self._world = world
        self._lie = lie
        self._offered = {each.listing.owner + each.listing.learnware_id: each for each in (*world.honest, *planted)}
        self._listings = [each.listing for each in self._offered.values()]
        self._listings.sort(key=lambda each: (each.federation, each.owner, each.learnware_id))
        self._fresh = fresh
        self._open = not (fresh or vetted)
        self._strangers = {each.listing.owner for each in planted}
        self._by_owner: defaultdict[str, list[Offered]] = defaultdict(list)
        for each in self._offered.values():
            self._by_owner[peer_id(each.listing.owner)].append(each)
        self._indexes = {
            owner: RkmeIndex({each.id: each.rkme for each in mine if each.rkme})
            for owner, mine in self._by_owner.items()
        }
        self._last: tuple[object, object] = (None, None)
        users = types.SimpleNamespace(of=lambda user, federation: "")
        self.searcher = Searcher(self, None, "", self, self, users)

    async def search(self, user: Rkme) -> SearchResult:
        query = SearchQuery(
            (SpecificationQuery(self._world.island.digest, user),), limit=10, deadline_ms=600_000, user="somebody"
        )
        return await self.searcher.search(query)

    # -- catalogue --

    def island(self, digest: bytes) -> Island:
        return self._world.island

    def islands(self) -> list[Island]:
        return [self._world.island]

    def owners(self) -> list[tuple[bytes, bytes]]:
        return sorted({(each.federation, each.owner) for each in self._listings})

    def of_owner(self, federation: bytes, owner: bytes) -> list[Listing]:
        return [each.listing for each in self._by_owner[peer_id(owner)]]

    def in_island(self, island: bytes, now: int) -> list[Listing]:
        return self._listings

    def alive(self, now: int, query: object, states: object) -> list[Listing]:
        return self._listings

    def first_seen(self, listing: Listing, island: bytes = b"") -> int:
        return 0 if self._fresh else self._offered[listing.owner + listing.learnware_id].seen

    def newcomer(self, federation: bytes, owner: bytes, now: int) -> bool:
        return self._open and owner in self._strangers

    def on_change(self, listener: object) -> None:
        """It never changes."""

    def record(self, listing: Listing) -> None:
        return None

    # -- peers and network --

    def require_answering(self, peer: str, now: int) -> None:
        """It is always asked."""

    def answered(self, peer: str) -> None:
        """Nothing is kept of it."""

    def name(self, peer: str) -> str:
        return ""

    def _asked(self, record: RkmeRecord) -> tuple[Rkme, Sketch]:
        """All owners are asked the same."""
        if record != self._last[0]:
            asked = Rkme.from_record(record)
            self._last = record, (asked, sketch(asked, self._world.island))
        return self._last[1]

    async def match(self, peer: str, message: object, deadline: float) -> MatchReply:
        asked, short = self._asked(message.rkme)
        index = self._indexes[peer]
        exact = dict(zip(*index.nearest(asked, 50), strict=True))
        answers = []
        for each in self._by_owner[peer]:
            if each.rkme is None:
                own = each.summary.to_sketch()
                told = float(np.square(own.floats() - short.floats()).sum()) - own.bias - self._lie
                answers.append(answer(each, max(told, 0.0)))
            elif each.id in exact:
                answers.append(answer(each, float(exact[each.id])))
        answers.sort(key=lambda each: (each.mmd2, each.learnware_id))
        return MatchReply(tuple(answers[:50]))


def answer(each: Offered, mmd2: float) -> MatchAnswer:
    record = None if each.rkme is None else each.rkme.record()
    norm2 = each.summary.norm2 if each.rkme is None else each.rkme.norm2
    return MatchAnswer(
        each.listing.learnware_id, each.listing.revision, mmd2, norm2, record, SALT if record else None, may=MAY
    )  # fmt: skip


# -- strangers -----------------------------------------------------------------------------------------------------

Attack = Callable[[World, int, np.random.Generator], list[Offered]]
LATER = 400 * DAY


def copied(world: World, values: NDArray[np.floating], random: np.random.Generator, norm2: float | None = None,
           dp: DpParameters | None = None, count: int = 512) -> Offered:  # fmt: skip
    """A sketch (512,) listed under a fresh key; there is no RKME behind it."""
    whole = np.clip(np.rint(values / SCALE), -127, 127).astype(np.int8)
    own = float(np.square(whole * SCALE).sum())
    summary = SpecSummary(
        world.island.digest, whole.tobytes(), own if norm2 is None else norm2, count, random.bytes(32), dp=dp
    )
    return Offered(listed(random.bytes(32), random.bytes(32), summary, Offers(disclose="members")), None, LATER)


def off(values: NDArray[np.floating], mmd2: float, random: np.random.Generator) -> NDArray[np.floating]:
    """A sketch as far from ``values`` (512,) as that, in a random direction."""
    step = random.normal(size=values.shape)
    return values + step * np.sqrt(mmd2 / np.square(step).sum())


def barycentres(world: World, count: int, random: np.random.Generator) -> list[Offered]:
    middle = world.sketches.mean(axis=0)
    return [copied(world, middle, random) for _ in range(count)]


def scattered_barycentres(world: World, count: int, random: np.random.Generator) -> list[Offered]:
    """None of them a copy of another, so that each takes the places that the others would have had."""
    middle = world.sketches.mean(axis=0)
    return [copied(world, off(middle, random.uniform(1e-3, 2e-2), random), random) for _ in range(count)]


def disclosed_barycentres(world: World, count: int, random: np.random.Generator) -> list[Offered]:
    """With an RKME to show: points of all that is disclosed."""
    points = np.concatenate([each.rkme.points for each in world.honest if each.rkme])
    made = []
    for _ in range(count):
        chosen = points[random.choice(len(points), 200, replace=False)]
        rkme = Rkme(chosen, np.full(200, 1 / 200, np.float32), world.island.gamma, 5000)
        made.append(offered(random.bytes(32), random.bytes(32), world.island, rkme, LATER))
    return made


def nulls(world: World, count: int, random: np.random.Generator) -> list[Offered]:
    """Nothing, nothing with a usual norm, and nothing under so much claimed noise that it is near everything."""
    median = float(np.median([each.summary.norm2 for each in world.honest]))
    drowned = DpParameters(1.0, 1e-6, 1.0)
    kinds = ((0.0, None), (median, None), (1.05, None), (0.0, drowned))
    return [copied(world, np.zeros(512), random, *kinds[number % 4]) for number in range(count)]


def clones(mmd2: float, popular: int | None = None) -> Attack:
    """Sketches of what is popular, each as far from it as that."""

    def attack(world: World, count: int, random: np.random.Generator) -> list[Offered]:
        models = world.popular[: popular or count]
        values = [np.frombuffer(each.summary.sketch, np.int8) * SCALE for each in models]
        return [copied(world, off(values[number % len(values)], mmd2, random), random) for number in range(count)]

    return attack


def disclosed_clones(world: World, count: int, random: np.random.Generator) -> list[Offered]:
    """With the RKME that the original has disclosed."""
    models = [each.rkme for each in world.popular if each.rkme]
    made = []
    for number in range(count):
        model = models[number % len(models)]
        points = model.points + 1e-3 * random.normal(size=model.points.shape)
        rkme = Rkme(points.astype(np.float32), model.weights, model.gamma, model.count)
        made.append(offered(random.bytes(32), random.bytes(32), world.island, rkme, LATER))
    return made


# -- figures -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """Shares of the first five places that strangers take, and of the true first five that are in them."""

    taken: float
    recall: float
    found_as_holders: float


async def measured(world: World, planted: Sequence[Offered], node: Node) -> Figures:
    strange = {each.id for each in planted}
    places = taken = found = held = 0
    for user, truth in zip(world.users, world.truth, strict=True):
        result = await node.search(user)
        shown = result.hits[:PLACES]
        places += len(shown)
        taken += sum(hit.learnware_id in strange for hit in shown)
        names = {hit.learnware_id for hit in shown}
        found += len(names & set(truth))
        held += len((names | {holder.learnware_id for hit in shown for holder in hit.holders}) & set(truth))
    everything = PLACES * len(world.users)
    return Figures(taken / max(places, 1), found / everything, held / everything)
