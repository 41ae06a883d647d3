"""Searches over HTTP: streams that go on where they broke, corrections, filters, and hits that prove themselves."""

import asyncio
import base64
import json

import aiohttp
import msgspec
import pytest
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs import fit_rkme
from atoll.engine.specs.dp import Budget, private_sketch
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.search.asking import KNOWN_FROM
from atoll.node.search.query import Filters
from atoll.protocol.ids import public_key
from atoll.protocol.listings import Offers, open_listing
from atoll.protocol.match import TOLD_BAND

SHOWN = Offers(disclose="members")


@pytest.fixture
async def two(federated, publish, changed):
    """A node and a peer that each list a learnware; the peer's matching can be held up."""
    (asked, other), federation = await federated("asked", "other")
    learnwares = [await publish(asked, federation, SHOWN, 0, 1), await publish(other, federation, SHOWN, 2, 3)]
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*_owned(asked, other, federation))) == 1)
    return asked, other, federation, learnwares


def _owned(asked, other, federation):
    return bytes.fromhex(federation), other.node.identity.public


def question(digits, **more):
    island = digits.island()
    rkme = fit_rkme(island.transform(digits.of(0, 2)), size=40)
    body = {"points": rkme.points.tolist(), "weights": rkme.weights.tolist(), "gamma": rkme.gamma, "count": rkme.count}
    return {"specifications": [{"island": island.id, "rkme": body}], "deadline_ms": 10_000, **more}


class Follower:
    """Reads server-sent events as a browser does."""

    def __init__(self, node):
        self.node, self.last = node, 0
        self.headers = {"Authorization": f"Bearer {node.token}", "Accept": "text/event-stream"}

    async def read(self, response, until):
        """[(event, data)] up to the first that is named so."""
        found = []
        while True:
            block = (await response.content.readuntil(b"\n\n")).decode()
            fields = dict(line.split(": ", 1) for line in block.strip().split("\n"))
            assert int(fields["id"]) == self.last + 1
            self.last = int(fields["id"])
            found.append((fields["event"], json.loads(fields["data"])))
            if fields["event"] == until:
                return found


async def test_a_stream_that_broke_goes_on_after_the_last_event(two, held, digits, monkeypatch):
    asked, other, _, learnwares = two
    let = held(other)
    for _ in range(KNOWN_FROM):
        asked.node.searcher._pace.note(other.node.identity.peer, 0.01)
    follower, url = Follower(asked), f"{asked.url}/api/v1/searches"
    async with aiohttp.ClientSession(headers=follower.headers) as session:
        async with session.post(url, json=question(digits)) as response:
            events = await follower.read(response, "answer")
            assert response.content_type == "text/event-stream"
        plan, answer = events[0][1], events[-1][1]
        assert not answer["complete"]
        assert not answer["final"]
        assert "late" in answer["peers_failed"][other.node.identity.peer]
        assert {hit["learnware_id"] for hit in answer["hits"] if hit["estimated"]} == {learnwares[1]}
        let.set()
        headers = {"Last-Event-ID": str(follower.last)}
        async with session.get(f"{url}/{plan['search_id']}/events", headers=headers) as response:
            rest = await follower.read(response, "end")
            assert await response.content.read() == b""
    assert [event for event, _ in rest] == ["peer_done", "correction", "end"]
    end = rest[-1][1]
    assert end["complete"]
    assert end["topk_exact"]
    assert {hit["learnware_id"] for hit in end["hits"] if not hit["estimated"]} == set(learnwares)
    assert other.node.config.node.name in plan["leaves"]


async def test_the_whole_answer_can_be_read_again_by_its_user_alone(two, digits):
    asked, *_ = two
    rows = digits.of(0, 2)
    found = await asked.client.search_rows(rows)
    path = f"{asked.url}/api/v1/searches/{found.search_id}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {asked.token}"}) as session:
        async with session.get(path) as response:
            assert (await response.json())["hits"][0]["learnware_id"] == found.hits[0].learnware_id
        async with session.get(f"{path}/events", headers={"Last-Event-ID": "soon"}) as response:
            assert response.status == 400
    made = await asked.client.create_token("somebody else", ("read", "predict"), 1)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {made.secret}"}) as session:
        for each in (path, f"{path}/events"):
            async with session.get(each) as response:
                assert response.status == 404
    async with AsyncClient(asked.url, made.secret) as client:
        with pytest.raises(RemoteError, match="not remembered"):
            await client.predict(found.search_id, rows)


async def test_every_hit_carries_what_its_owner_has_signed(two, digits):
    asked, *_ = two
    for found in (
        await asked.client.search_rows(digits.of(0, 2)),
        await asked.client.search([], SemanticQuery("digits")),
    ):
        assert len(found.hits) == 2
        for hit in found.hits:
            opened = open_listing(
                hit.record, owner=public_key(hit.owner), federation=bytes.fromhex(hit.federation)
            ).listing
            assert opened.learnware_id.hex() == hit.learnware_id
            assert opened.semantic.name == hit.name
        assert found.topk_exact


async def test_filters_leave_what_they_name(two, digits):
    asked, other, federation, (own, foreign) = two
    rows = digits.of(0, 2)
    for filters, expected in (
        (Filters(), {own, foreign}),
        (Filters(owner=(other.node.identity.peer,)), {foreign}),
        (Filters(federation=(federation,)), {own, foreign}),
        (Filters(federation=("00" * 32,)), set()),
        (Filters(learnware_id=(own,)), {own}),
        (Filters(dimensions=(64,)), {own, foreign}),
        (Filters(dimensions=(3, 65)), set()),
        (Filters(may=("match", "disclose")), {own, foreign}),
        (Filters(may=("download",)), {own}),  # what is its own, its users may do everything with
    ):
        by_rows = await asked.client.search_rows(rows, filters=filters)
        by_words = await asked.client.search([], SemanticQuery("digits"), filters=filters)
        for found in (by_rows, by_words):
            assert {hit.learnware_id for hit in found.hits} == expected, filters


async def test_what_is_withdrawn_or_listed_is_so_in_the_next_search(two, publish, changed, digits):
    asked, other, federation, (own, foreign) = two
    rows = digits.of(0, 2)
    assert len((await asked.client.search_rows(rows)).hits) == 2
    third = await publish(other, federation, SHOWN, 4, 5)
    owned = _owned(asked, other, federation)
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 2)
    assert third in {hit.learnware_id for hit in (await asked.client.search_rows(rows)).hits}
    await other.client.remove_learnware(foreign)
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
    assert {hit.learnware_id for hit in (await asked.client.search_rows(rows)).hits} == {own, third}


async def test_a_specification_is_searched_for_in_every_island_of_its_features(federated, publish, digits, monkeypatch):
    (asked, other), federation = await federated("asked", "other")
    own, here = await publish(asked, federation, SHOWN, 0, 2), digits.island()
    features = tuple(msgspec.structs.replace(each, scale=1.3 * each.scale) for each in here.features)
    there = msgspec.structs.replace(here, features=features)
    arrived, add, loop = asyncio.Event(), asked.node.catalogue.add_island, asyncio.get_running_loop()

    def noted(island):
        add(island)
        loop.call_soon_threadsafe(arrived.set)

    monkeypatch.setattr(asked.node.catalogue, "add_island", noted)
    await other.client.add_island(there)
    package = digits.package(other.node.identity.peer, there, 0, 2)
    foreign = (await other.client.add_learnware(package)).learnware_id
    await other.client.publish(foreign, federation, SHOWN)
    await asyncio.wait_for(arrived.wait(), 20)
    rkme = fit_rkme(here.transform(digits.of(0, 2)), size=40)
    found = await asked.client.search([(here, rkme)])
    assert found.islands == (here.id, there.id)
    assert {(hit.learnware_id, hit.island, hit.estimated) for hit in found.hits} == {
        (own, here.id, False), (foreign, there.id, False),
    }  # fmt: skip
    assert all(hit.mmd2 < 0.1 for hit in found.hits)


@pytest.fixture
def sent_by(monkeypatch):
    """``sent_by(node)`` collects the match requests that leave the node."""

    def collect(running):
        requests, match = [], running.node.network.match

        async def noted(peer, message, deadline):
            requests.append(message)
            return await match(peer, message, deadline)

        monkeypatch.setattr(running.node.network, "match", noted)
        return requests

    return collect


async def test_with_sketches_owners_learn_no_more_than_a_sketch_and_what_they_disclose_is_exact(
    two, publish, changed, digits, sent_by
):
    asked, other, federation, (own, foreign) = two
    hidden = await publish(other, federation, Offers(), 0, 2)
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*_owned(asked, other, federation))) == 2)
    requests = sent_by(asked)
    exact = {hit.learnware_id: hit for hit in (await asked.client.search_rows(digits.of(0, 2))).hits}
    found = await asked.client.search_rows(digits.of(0, 2), privacy="sketch")
    assert [request.rkme is None for request in requests] == [False, True]
    assert len(requests[1].sketch.sketch) == 512
    assert "stays here" in found.leaves
    assert found.complete
    hits = {hit.learnware_id: hit for hit in found.hits}
    for id_ in (own, foreign):
        assert (hits[id_].mmd2, hits[id_].band) == (pytest.approx(exact[id_].mmd2, abs=1e-9), 0.0)
    assert hits[hidden].mmd2 == pytest.approx(exact[hidden].mmd2, abs=1e-9)  # to its stand-in, computed here
    assert (hits[hidden].band, hits[hidden].may) == (TOLD_BAND, ("match",))


async def test_under_differential_privacy_a_search_tells_a_noised_sketch_and_is_paid_for_by_its_token(
    two, digits, sent_by
):
    asked, *_ = two
    requests, island, rows = sent_by(asked), digits.island(), digits.of(0, 2)
    units = island.transform(rows)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {asked.token}"}) as session:

        async def granted(epsilon):
            body = {"digest": "11" * 32, "island": island.id, "rows": len(units), "epsilon": epsilon, "delta": 1e-6}
            async with session.post(f"{asked.url}/api/v1/searches/budgets", json=body) as response:
                return response.status, await response.json()

        (status, grant), again = await granted(1.0), await granted(1.0)
        assert (status, grant) == again == (200, grant)
        limit = asked.node.config.privacy.epsilon_limit
        assert (await granted(min(limit, 10.0)))[1]["code"] == "spec.privacy"
        noised = private_sketch([units], island, Budget(1.0, 1e-6, bytes.fromhex(grant["secret"])))
        specification = {"island": island.id, "noised": base64.b64encode(noised.to_bytes()).decode()}
        body = {"specifications": [specification], "deadline_ms": 10_000}
        async with session.post(f"{asked.url}/api/v1/searches", json=body) as response:
            found = await response.json()
        body["specifications"] = [{"island": island.id, "noised": base64.b64encode(b"nonsense").decode()}]
        async with session.post(f"{asked.url}/api/v1/searches", json=body) as response:
            assert response.status == 422
    assert [(request.rkme, request.sketch.sigma) for request in requests] == [(None, noised.dp.sigma)]
    assert "epsilon 1 in all" in found["leaves"]
    assert len(found["hits"]) == 2
    assert found["complete"]
    assert not found["topk_exact"]
    assert found["mixture"]["representation"] == "sketch"
    assert 0 <= found["mixture"]["explained"] <= 1
