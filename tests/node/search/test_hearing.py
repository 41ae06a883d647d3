"""What an owner answers is held against the listing that it has signed, and measured anew where that is possible."""

import msgspec
import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.matching.oracle import told
from atoll.engine.packages.manifest import commitment
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme, mmd2, sketch
from atoll.engine.specs.stand_in import stand_in
from atoll.node.search.hearing import hear
from atoll.node.search.plan import plan
from atoll.node.search.query import SearchQuery, SpecificationQuery
from atoll.node.search.sketches import CatalogueSketches
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, Offers, SpecSummary
from atoll.protocol.match import TOLD_BAND, AskedSketch, MatchAnswer, MatchReply
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from made_up import MadeUpCatalogue

OWNER = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
FEDERATION, LEARNWARE, REVISION, SALT = b"F" * 32, b"L" * 32, b"R" * 32, bytes(16)


def drawn(island, centre, seed):
    points = (centre + 0.7 * np.random.default_rng(seed).normal(size=(40, 3))).astype(np.float32)
    return Rkme(points, np.full(40, 1 / 40, np.float32), island.gamma, 400)


class One(MadeUpCatalogue):
    """A catalogue of one listing; ``heard(answer)`` is what a search makes of an answer about it."""

    def __init__(self, offers=Offers(), privacy="rkme"):  # noqa: B008
        self.island = Island.mint(np.random.default_rng(0).normal(size=(100, 3)))
        self.rkme, self.asked = drawn(self.island, 0.0, 1), drawn(self.island, 0.3, 2)
        self.shown = self.rkme if offers.discloses else stand_in(self.rkme)
        short = sketch(self.shown, self.island)
        committed = commitment(SALT, self.rkme.to_bytes())
        summary = SpecSummary(self.island.digest, AskedSketch.of(short).sketch, short.norm2, 256, committed)
        self.norm2 = short.norm2
        self.listing = Listing(
            OWNER, FEDERATION, LEARNWARE, REVISION, 1, 1, "live", SemanticSpec("it"), (summary,), offers
        )
        super().__init__([self.listing])
        self.query = SearchQuery(
            (SpecificationQuery(self.island.digest, self.asked),), privacy=privacy, user="somebody"
        )
        self.planned = plan(self.query, [self.island], list, CatalogueSketches(self), 0)

    def honest(self):
        distance = mmd2(self.asked, self.shown)
        if self.listing.offers.discloses:
            return MatchAnswer(LEARNWARE, REVISION, distance, self.rkme.norm2, self.rkme.record(), SALT, may=("match",))
        return MatchAnswer(
            LEARNWARE, REVISION, told(distance), self.norm2, stand_in=self.shown.record(), may=("match",)
        )

    def heard(self, **changes):
        answer = msgspec.structs.replace(self.honest(), **changes)
        question = (peer_id(OWNER), FEDERATION, self.island.digest)
        field, asked = self.planned.fields[0], self.asked
        (candidate,) = hear(self.query, field, asked, question, MatchReply((answer,))).candidates.values()
        return candidate


@pytest.mark.parametrize(("offers", "band"), [(Offers(disclose="members"), 0.0), (Offers(), TOLD_BAND)])
@pytest.mark.parametrize("privacy", ["rkme", "sketch"])
def test_what_is_given_is_measured_here(offers, band, privacy):
    one = One(offers, privacy)
    found = one.heard()
    assert (found.suspect, found.estimated, found.band) == (False, False, band)
    assert found.mmd2 == pytest.approx(mmd2(one.asked, one.shown), abs=1e-9)
    assert found.points.to_bytes() == one.shown.to_bytes()


@pytest.mark.parametrize("offers", [Offers(disclose="members"), Offers()])
@pytest.mark.parametrize("lie", ["points", "distance", "norm", "salt"])
def test_a_lie_is_seen_and_changes_no_distance(offers, lie):
    one = One(offers)
    forged = one.asked.record()
    changes = {
        "points": {"rkme": forged} if offers.discloses else {"stand_in": forged, "mmd2": 0.0},
        "distance": {"mmd2": 0.9 * one.honest().mmd2},
        "norm": {"norm2": one.norm2 + 0.01},
        "salt": {"salt": b"x" * 16} if offers.discloses else {"rkme": one.rkme.record()},
    }
    found = one.heard(**changes[lie])
    assert found.suspect
    assert found.mmd2 == pytest.approx(
        one.planned.candidates[0].mmd2 if found.estimated else mmd2(one.asked, one.shown)
    )


def test_without_points_a_distance_is_believed_only_if_it_is_as_the_sketch_says():
    one = One()
    honest = one.heard(stand_in=None)
    assert (honest.suspect, honest.estimated, honest.band) == (False, False, TOLD_BAND)
    for claimed in (0.0, 0.3 * honest.mmd2, honest.mmd2 + 0.5, float("nan")):
        assert one.heard(stand_in=None, mmd2=claimed).suspect
    untold = One(privacy="sketch")
    found = untold.heard(stand_in=None, mmd2=0.0)
    assert (found.suspect, found.estimated, found.mmd2) == (False, True, untold.planned.candidates[0].mmd2)


def test_what_is_said_of_another_revision_is_nothing():
    one = One()
    assert one.heard(revision=b"S" * 32) == one.planned.candidates[0]
