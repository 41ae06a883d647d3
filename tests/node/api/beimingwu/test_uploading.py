"""What Beimingwu's client uploads is checked, taken in and listed; changed under its id; and taken away again."""

import aiohttp
import pytest
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers

CLASSES = (0, 1)


@pytest.fixture
async def one(federated, client, irises):
    """A node in one private federation, and its client."""
    (node,), federation = await federated("node")
    return node, client(node), federation


async def test_an_upload_is_listed_under_its_old_id(one, irises):
    node, ann, federation = one
    semantic = irises.semantic("Two irises", *CLASSES)
    learnware_id = await ann.upload(irises.zip(*CLASSES, id_="00000123"), semantic)
    (listing,) = node.node.catalogue.alive(now_ms())
    assert (listing.learnware_id.hex(), listing.alias) == (learnware_id, "00000123")
    assert listing.federation.hex() == federation
    assert listing.semantic.name == "Two irises"
    assert (listing.offers.match, listing.offers.download) == ("members", "nobody")
    for given in (learnware_id, "00000123"):
        found = (await ann.info(given))["data"]["learnware_info"]
        assert found["learnware_id"] == learnware_id
        assert found["username"] == "node"
        assert found["semantic_specification"] == semantic
    assert [each["learnware_id"] for each in await ann.list()] == [learnware_id]
    assert list((node.node.home / "blobs" / "partial").iterdir()) == []


async def test_offers_are_as_configured(open_offers, federated, client, irises):
    (node,), _ = await federated("node")
    await client(node).upload(irises.zip(*CLASSES), irises.semantic("Two irises", *CLASSES))
    (listing,) = node.node.catalogue.alive(now_ms())
    assert {listing.offers.disclose, listing.offers.predict, listing.offers.download} == {"members"}


@pytest.mark.parametrize("configured", [True, False])
async def test_with_several_federations_the_configured_one_is_it(start, client, irises, monkeypatch, configured):
    if configured:
        monkeypatch.setenv("ATOLL__BEIMINGWU__FEDERATION", "Gardens")
    (node,) = await start("node")
    wanted = (await node.client.create_federation("Gardens")).id
    await node.client.create_federation("Hospitals")
    ann = client(node)
    answer = await ann.add(await ann.send(irises.zip(*CLASSES)), irises.semantic("Two irises", *CLASSES))
    if configured:
        assert [each.federation.hex() for each in node.node.catalogue.alive(now_ms())] == [wanted]
    else:
        assert answer["code"] == "request.invalid"
        assert "beimingwu.federation" in answer["msg"]
        assert await node.client.learnwares() == []


async def test_where_there_is_no_federation_nothing_is_taken_in(start, client, irises):
    (node,) = await start("node")
    ann = client(node)
    answer = await ann.add(await ann.send(irises.zip(*CLASSES)), irises.semantic("Two irises", *CLASSES))
    assert answer["code"] == "request.invalid"
    assert "federation" in answer["msg"]
    assert await node.client.learnwares() == []


async def test_what_is_refused_says_why_and_leaves_nothing(one, irises):
    node, ann, _ = one
    broken = irises.zip(*CLASSES, code="raise RuntimeError('no such file')")
    cases = [
        (b"no zip at all", irises.semantic("x", *CLASSES), "zip"),
        (irises.zip(*CLASSES, yaml="model: {module_path: ../x.py}"), irises.semantic("x", *CLASSES), "learnware.yaml"),
        (broken, irises.semantic("x", *CLASSES), ""),
    ]
    for package, semantic, told in cases:
        answer = await ann.add(await ann.send(package), semantic)
        assert answer["code"] not in (0, "internal"), package[:20]
        assert told in answer["msg"]
    assert await node.client.learnwares() == []
    assert node.node.catalogue.alive(now_ms()) == []
    assert list((node.node.home / "blobs" / "partial").iterdir()) == []


async def test_words_that_are_refused_do_not_cost_the_upload(one, irises):
    _, ann, _ = one
    md5 = await ann.send(irises.zip(*CLASSES))
    assert (await ann.add(md5, irises.semantic("", *CLASSES)))["code"] == "spec.invalid"
    assert (await ann.add(md5, irises.semantic("Two irises", *CLASSES)))["code"] == 0


async def test_what_was_never_uploaded_is_not_added(one, irises):
    _, ann, _ = one
    answer = await ann.add("0" * 32, irises.semantic("x", *CLASSES))
    assert (answer["code"], "nothing was uploaded" in answer["msg"]) == ("integrity.mismatch", True)


async def test_other_words_are_another_revision_under_the_same_id(one, irises):
    node, ann, _ = one
    learnware_id = await ann.upload(irises.zip(*CLASSES, id_="00000123"), irises.semantic("Two irises", *CLASSES))
    (before,) = node.node.catalogue.alive(now_ms())
    answer = await ann.update("00000123", irises.semantic("Both irises", *CLASSES))
    assert (answer["code"], answer["data"]) == (0, {"learnware_id": learnware_id})
    (after,) = node.node.catalogue.alive(now_ms())
    assert after.semantic.name == "Both irises"
    assert after.revision != before.revision
    assert (after.learnware_id, after.alias, after.offers) == (before.learnware_id, before.alias, before.offers)
    again = await ann.update(learnware_id, irises.semantic("Both irises", *CLASSES))
    assert (again["code"], again["msg"]) == (0, "nothing has changed")


async def test_another_zip_is_another_revision_under_the_same_id(one, irises):
    node, ann, _ = one
    learnware_id = await ann.upload(irises.zip(*CLASSES, id_="00000123"), irises.semantic("Two irises", *CLASSES))
    answer = await ann.update(learnware_id, irises.semantic("Three irises", 0, 1, 2), irises.zip(0, 1, 2))
    assert (answer["code"], answer["data"]) == (0, {"learnware_id": learnware_id})
    (after,) = node.node.catalogue.alive(now_ms())
    assert (after.semantic.name, after.outputs, after.alias) == ("Three irises", 3, "00000123")
    assert len(await ann.list()) == 1


async def test_words_alone_cannot_change_what_the_model_takes(one, irises):
    _, ann, _ = one
    learnware_id = await ann.upload(irises.zip(*CLASSES), irises.semantic("Two irises", *CLASSES))
    for semantic in (
        irises.semantic("Two irises", 0, 1, 2),
        irises.semantic("Two irises", *CLASSES, columns=("a", "b", "c", "d")),
    ):
        answer = await ann.update(learnware_id, semantic)
        assert answer["code"] == "request.invalid"
        assert "zip" in answer["msg"]


async def test_what_is_deleted_is_in_no_list(one, irises):
    node, ann, _ = one
    learnware_id = await ann.upload(irises.zip(*CLASSES, id_="00000123"), irises.semantic("Two irises", *CLASSES))
    answer = await ann.post("/user/delete_learnware", json={"learnware_id": "00000123"})
    assert (answer["code"], answer["data"]) == (0, {"learnware_id": learnware_id})
    assert await ann.list() == []
    assert node.node.catalogue.alive(now_ms()) == []
    for answer in (
        await ann.post("/user/delete_learnware", json={"learnware_id": learnware_id}),
        await ann.update(learnware_id, irises.semantic("x", *CLASSES)),
        await ann.info(learnware_id),
    ):
        assert answer["code"] == "not_found"


async def test_an_alias_that_two_have_is_refused_and_both_are_named(one, irises):
    _, ann, _ = one
    first = await ann.upload(irises.zip(0, 1, id_="7"), irises.semantic("Two irises", 0, 1))
    second = await ann.upload(irises.zip(1, 2, id_="7"), irises.semantic("Two others", 1, 2))
    for answer in (await ann.info("7"), await ann.post("/user/delete_learnware", json={"learnware_id": "7"})):
        assert answer["code"] == "request.invalid"
        assert first in answer["msg"]
        assert second in answer["msg"]
    assert len(await ann.list()) == 2


async def test_own_learnwares_come_in_pages(one, irises):
    _, ann, _ = one
    ids = {await ann.upload(irises.zip(*each), irises.semantic("x", *each)) for each in ((0, 1), (1, 2), (0, 2))}
    pages = [(await ann.post("/user/list_learnware", json={"page": page, "limit": 2}))["data"] for page in range(3)]
    assert [len(page["learnware_list"]) for page in pages] == [2, 1, 0]
    assert {each["learnware_id"] for page in pages for each in page["learnware_list"]} == ids
    assert {page["total_pages"] for page in pages} == {2}
    assert (await ann.post("/user/list_learnware", json={"page": -1}))["code"] == "request.invalid"


async def test_what_was_done_is_in_the_audit_log(one, irises):
    node, ann, _ = one
    learnware_id = await ann.upload(irises.zip(*CLASSES), irises.semantic("Two irises", *CLASSES))
    await ann.update(learnware_id, irises.semantic("Both irises", *CLASSES))
    await ann.post("/user/delete_learnware", json={"learnware_id": learnware_id})
    rows = [(row.act, row.subject, row.outcome) for row in (await node.client.audit(0, 1000)).items]
    done = {act: subject for act, subject, outcome in rows if outcome == "done"}
    assert done["beimingwu.add"]["id"] == learnware_id
    assert done["beimingwu.update"]["id"] == learnware_id
    assert done["beimingwu.delete"]["learnware_id"] == learnware_id


async def test_a_file_larger_than_an_upload_may_be_is_refused(client, federated, irises, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__MAX_UPLOAD_BYTES", "20000")
    (node,), _ = await federated("node")
    ann = client(node)
    learnware_id = await ann.upload(irises.zip(*CLASSES), irises.semantic("Two irises", *CLASSES))
    answer = await ann.update(learnware_id, irises.semantic("x", *CLASSES), bytes(20_001))
    assert (answer["code"], "20000" in answer["msg"]) == ("request.invalid", True)
    form = aiohttp.FormData({"learnware_id": learnware_id})
    assert (await ann.post("/user/update_learnware", data=form))["code"] == "request.invalid"


async def test_a_zip_whose_specification_its_policy_keeps_back_is_no_update(federated, client, irises, ours):
    """Whoever may download a package of Beimingwu's has the specification in it."""
    (node,), federation = await federated("node")
    learnware_id = await ours(node, federation, Offers(download="members"))
    (before,) = node.node.catalogue.alive(now_ms())
    answer = await client(node).update(learnware_id, irises.semantic("Two irises", *CLASSES), irises.zip(*CLASSES))
    assert answer["code"] == "request.invalid"
    assert "disclose" in answer["msg"]
    assert node.node.catalogue.alive(now_ms()) == [before]
    assert node.node.dock.get(before.learnware_id).row.revision == before.revision
