"""Answers verified offline: what is shown is what the owners have signed, and lies of a node are named."""

import msgspec
import pytest
from atoll.node.client.proof import proofs, unproven
from atoll.node.search.fitting import elsewhere, fit_rows
from atoll.node.search.query import Member, MixtureView
from atoll.protocol.listings import Offers, sign_listing

SHOWN = Offers(disclose="members")
replace = msgspec.structs.replace


@pytest.fixture
async def found(federated, publish, digits):
    """A node, an answer of it by two islands of the same features, and what was asked."""
    (node,), federation = await federated("node")
    for classes in ((0, 1), (2, 3)):
        await publish(node, federation, SHOWN, *classes)
    fitted = await node.client.fit(digits.of(0, 2))
    return node, await node.client.search(fitted), fitted


def faults(answer, fitted=(), **changes):
    """What is wrong with the first hit once it is changed so."""
    hit = replace(answer.hits[0], **changes)
    first, second = proofs(replace(answer, hits=(hit, answer.hits[1])), fitted)
    assert second.faults == ()
    return "; ".join(first.faults)


async def test_an_honest_answer_holds_however_it_was_asked(found, digits):
    node, answer, fitted = found
    local = await node.client.search(fitted, privacy="local")
    sketch = await node.client.search(fitted, privacy="sketch")
    words = await node.client.search(semantic="digits")
    noised = await node.client.fit_private(digits.of(0, 2), epsilon=1.0)
    private = await node.client.search(noised)
    for each, asked in ((answer, fitted), (local, fitted), (sketch, fitted), (words, ()), (private, noised)):
        assert len(each.hits) == 2
        assert [proof.faults for proof in proofs(each, asked)] == [(), ()]
        assert unproven(each) == []
    read = msgspec.json.decode(msgspec.json.encode(answer), type=type(answer))
    assert proofs(read, fitted) == proofs(answer, fitted)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Better digits"}, "not as signed: name"),
        ({"description": "free", "license": "MIT"}, "not as signed: description, license"),
        ({"task": "Regression"}, "task"),
        ({"data": "Image"}, "data"),
        ({"library": "PyTorch"}, "library"),
        ({"scenario": ("Health",)}, "scenario"),
        ({"class_names": ("2", "3")}, "class_names"),
        ({"dimension": 63}, "dimension"),
        ({"offers": Offers(predict="anyone")}, "offers"),
        ({"learnware_id": "00" * 32}, "learnware_id"),
        ({"revision": "00" * 32}, "revision"),
        ({"island": "00" * 32}, "no specification in the island"),
        ({"record": None}, "without its signed listing"),
        ({"federation": "00" * 32}, "another owner or federation"),
        ({"federation": "nonsense"}, "64 hex digits"),
        ({"owner": "nobody"}, "not the PeerId"),
        ({"mmd2": 0.9}, "MMD² of 0.9000 is not that to the signed sketch"),
        ({"mmd2": float("nan")}, "MMD² of nan"),
        ({"similarity": 0.999}, "similarity of 0.9990 does not follow"),
        ({"similarity": None}, "no distance"),
    ],
)
async def test_what_is_not_as_signed_is_named(found, changes, words):
    _, answer, fitted = found
    assert words in faults(answer, fitted, **changes)


async def test_a_distance_that_is_said_to_be_of_sketches_must_be_that(found):
    node, _, fitted = found
    answer = await node.client.search(fitted, privacy="local")
    nearer = answer.hits[0].mmd2 - 0.01
    assert "is not that to the signed sketch" in faults(answer, fitted, mmd2=nearer)


async def test_signatures_do_not_fit_other_records(found):
    node, answer, _ = found
    first, second = answer.hits
    assert "not as signed" in faults(answer, record=second.record)
    forged = msgspec.structs.replace(first.record, body=first.record.body.replace(b"Digits 0 1", b"Digits 9 9"))
    assert "signature" in faults(answer, record=forged)
    signature = bytes(64)
    assert "signature" in faults(answer, record=msgspec.structs.replace(first.record, signature=signature))
    owned = node.node.catalogue.of_owner(bytes.fromhex(first.federation), node.node.identity.public)
    listing = next(each for each in owned if each.learnware_id.hex() == first.learnware_id)
    withdrawn = sign_listing(node.node.identity.key, replace(listing, status="withdrawn"))
    assert "it is withdrawn" in faults(answer, record=withdrawn.record)


async def test_members_of_the_mixture_without_a_hit_are_not_taken_as_proven(found):
    _, answer, _ = found
    hit = answer.hits[0]
    members = (
        Member(hit.learnware_id, hit.owner, hit.name, 0.5),
        Member("00" * 32, hit.owner, "Unseen", 0.3),
        Member(hit.learnware_id, hit.owner, "Renamed", 0.2),
    )
    mixture = MixtureView(members, 0.1, 0.0, 0.9, True, "rkme")
    assert unproven(replace(answer, mixture=mixture)) == ["Unseen", "Renamed"]
    assert unproven(replace(answer, mixture=None)) == []


async def test_distances_in_islands_that_only_the_node_has_moved_to_are_compared_too(federated, publish, digits):
    (node,), federation = await federated("node")
    await publish(node, federation, SHOWN, 0, 1)
    here = digits.island()
    there = replace(here, features=tuple(replace(each, scale=1.3 * each.scale) for each in here.features))
    await node.client.add_island(there)
    learnware = await node.client.add_learnware(digits.package(node.node.identity.peer, there, 0, 2))
    await node.client.publish(learnware.learnware_id, federation, SHOWN)
    fitted = fit_rows(digits.of(0, 2), [here])
    answer = await node.client.search(fitted, limit=2)
    assert answer.hits[0].island == there.id
    everywhere = [*fitted, *elsewhere(fitted, [here, there])]
    for privacy in ("rkme", "local"):
        shown = await node.client.search(fitted, privacy=privacy)
        assert [each.faults for each in proofs(shown, everywhere)] == [(), ()]
    assert faults(answer, fitted, mmd2=0.9) == ""
    assert "MMD² of 0.9000" in faults(answer, everywhere, mmd2=0.9)
