"""Beimingwu's client downloads what owners anywhere in the federation let it: what was uploaded byte for byte."""

import asyncio
import io
import json
import zipfile

import pytest
from atoll.engine.beimingwu.specifications import read_specification
from atoll.engine.specs import mmd2
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers

CLOSED = Offers()


@pytest.fixture
async def two(federated, client):
    """The client of one node, that of another, and both nodes."""
    nodes, federation = await federated("asked", "other")
    return client(nodes[0]), client(nodes[1]), nodes, federation


@pytest.fixture
def known(changed, monkeypatch):
    async def wait(node, learnware_id):
        """Until the node has its listing, and the definitions of its islands."""
        wanted, there = bytes.fromhex(learnware_id), node.node.catalogue
        await changed(node, lambda: bool(there.versions(wanted, now_ms())))
        ((listing, *_), arrived, loop) = there.versions(wanted, now_ms()), asyncio.Event(), asyncio.get_running_loop()
        add = there.add_island

        def noted(island):
            add(island)
            loop.call_soon_threadsafe(arrived.set)

        monkeypatch.setattr(there, "add_island", noted)
        async with asyncio.timeout(20):
            while not {each.island for each in listing.specifications} <= {each.digest for each in there.islands()}:
                await arrived.wait()
                arrived.clear()

    return wait


async def test_what_was_uploaded_comes_back_byte_for_byte_from_wherever_it_is(open_offers, two, irises, known):
    ann, bob, (asked, _), _ = two
    package = irises.zip(0, 1, id_="00000123")
    learnware_id = await bob.upload(package, irises.semantic("unnamed", 0, 1))
    await known(asked, learnware_id)
    for who, given in ((bob, learnware_id), (ann, learnware_id), (ann, "00000123")):
        status, headers, body = await who.download(given)
        assert (status, int(headers["Content-Length"])) == (200, len(package))
        assert body == package
    rows = [(row.act, row.outcome) for row in (await asked.client.audit(0, 1000)).items]
    assert rows.count(("download.fetch", "done")) == 2


@pytest.mark.parametrize("offered", [True, False])
async def test_users_who_do_not_publish_get_what_is_disclosed_to_them(
    federated, client, irises, ours, monkeypatch, offered
):
    """A package holds its specification: also one's own users get it only where it is disclosed."""
    monkeypatch.setenv("ATOLL__BEIMINGWU__DISCLOSE", "members" if offered else "nobody")
    (node,), federation = await federated("node")
    ids = [
        await client(node).upload(irises.zip(0, 1), irises.semantic("Two irises", 0, 1)),
        await ours(node, federation, Offers(disclose="members" if offered else "nobody")),
    ]
    user = client(node, (await node.client.create_token("user", ("read", "predict"), 1)).secret)
    for learnware_id in ids:
        status, _, body = await user.download(learnware_id)
        assert status == (200 if offered else 403)
        assert offered or json.loads(body)["code"] == "policy.denied"
        assert (await client(node).download(learnware_id))[0] == 200


async def test_words_that_were_changed_are_in_what_comes_back(open_offers, two, irises, known, changed):
    ann, bob, (asked, _), _ = two
    learnware_id = await bob.upload(irises.zip(0, 1), irises.semantic("Two irises", 0, 1))
    await bob.update(learnware_id, irises.semantic("Both irises", 0, 1))
    alive = asked.node.catalogue.alive
    await changed(asked, lambda: {each.semantic.name for each in alive(now_ms())} == {"Both irises"})
    _, _, body = await ann.download(learnware_id)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        words = json.loads(archive.read("semantic_specification.json"))
    assert words["Name"]["Values"] == "Both irises"


async def test_what_its_owner_does_not_offer_is_refused_with_the_reason(two, irises, known):
    ann, bob, (asked, _), _ = two
    learnware_id = await bob.upload(irises.zip(0, 1), irises.semantic("Two irises", 0, 1))
    await known(asked, learnware_id)
    status, headers, body = await ann.download(learnware_id)
    assert (status, headers["Content-Type"]) == (403, "application/problem+json")
    problem = json.loads(body)
    assert problem["code"] == "policy.denied"
    assert "download" in problem["title"]
    assert (await bob.download(learnware_id))[0] == 200  # its own users have it


@pytest.mark.parametrize("place", ["other", "asked"])
async def test_a_learnware_of_ours_comes_as_a_package_of_beimingwu_s(two, irises, ours, known, place):
    ann, _, (asked, other), federation = two
    learnware_id = await ours(asked if place == "asked" else other, federation)
    await known(asked, learnware_id)
    status, headers, body = await ann.download(learnware_id)
    assert status == 200, body
    assert int(headers["Content-Length"]) == len(body)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert {"learnware.yaml", "__init__.py", "stat.json", "semantic_specification.json"} <= {*archive.namelist()}
        given = read_specification(archive.read("stat.json"))
        words = json.loads(archive.read("semantic_specification.json"))
    assert mmd2(given.rkme, read_specification(irises.statistical(0, 1)).rkme) < 0.05
    assert words["Name"]["Values"] == "Our irises"


async def test_without_a_disclosed_specification_a_learnware_of_ours_is_no_package_of_beimingwu_s(two, ours, known):
    ann, _, (asked, other), federation = two
    learnware_id = await ours(other, federation, Offers(download="members"))
    await known(asked, learnware_id)
    status, _, body = await ann.download(learnware_id)
    assert (status, json.loads(body)["code"]) == (403, "policy.denied")
    assert "disclose" in json.loads(body)["title"]


async def test_of_two_federations_the_one_that_offers_it_is_asked(two, irises, client, known, changed):
    ann, bob, (asked, other), first = two
    package, closed, offered = irises.zip(0, 1), Offers(), Offers(disclose="members", download="members")
    learnware_id = await bob.upload(package, irises.semantic("Two irises", 0, 1))
    second = (await asked.client.create_federation("second")).id
    await other.client.join((await asked.client.invite(second)).invite)
    for offers in ({first: closed, second: offered}, {first: offered, second: closed}):
        for federation, offer in offers.items():
            await other.client.publish(learnware_id, federation, offer)

        def told(offers=offers):
            versions = asked.node.catalogue.versions(bytes.fromhex(learnware_id), now_ms())
            return {each.federation.hex(): each.offers for each in versions} == offers

        await changed(asked, told)
        status, _, body = await ann.download(learnware_id)
        assert (status, body) == (200, package)
        made = await asked.client.downloads()
        await asked.client.forget_download(made[0].revision)


async def test_what_is_not_there_is_not_found(two):
    ann, *_ = two
    for given in ("00" * 32, "00000123"):
        status, _, body = await ann.download(given)
        assert (status, json.loads(body)["code"]) == (404, "not_found")
    status, _, body = await ann.download("")
    assert (status, json.loads(body)["code"]) == (400, "request.invalid")


async def test_an_owner_that_is_gone_is_named(open_offers, federated, client, irises, known, make_home, start_home):
    (asked,), federation = await federated("asked")
    home, token = make_home("gone")
    async with start_home(home, token) as gone:
        await gone.client.join((await asked.client.invite(federation)).invite)
        learnware_id = await client(gone).upload(irises.zip(0, 1), irises.semantic("Two irises", 0, 1))
        await known(asked, learnware_id)
    status, _, body = await client(asked).download(learnware_id)
    assert status in (502, 504)
    assert json.loads(body)["code"].startswith("p2p.")


async def test_what_is_not_listed_only_publishers_download(two, irises, client):
    ann, _, (asked, _), federation = two
    learnware_id = await ann.upload(irises.zip(0, 1), irises.semantic("Two irises", 0, 1))
    node = asked.node
    news = node.publisher.withdraw(bytes.fromhex(learnware_id), bytes.fromhex(federation), now_ms())
    await node.network.announce(news)
    made = await asked.client.create_token("user", ("read", "predict"), 1)
    assert (await client(asked, made.secret).download(learnware_id))[0] == 404
    assert (await ann.download(learnware_id))[0] == 200
