"""The HTTP API: tokens, problems, and bad input that loses nothing."""

import json
import re

import aiohttp
import pytest
from atoll.engine.errors import AtollError
from atoll.engine.specs import fit_rkme
from atoll.node.api.server import ROUTES
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.search.query import Filters
from atoll.protocol.listings import Offers
from atoll.protocol.policy import ACTS


async def call(running, method, path, *, token="own", **arguments):
    headers = {} if token is None else {"Authorization": f"Bearer {running.token if token == 'own' else token}"}
    headers |= arguments.pop("headers", {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, running.url + path, headers=headers, **arguments) as response,
    ):
        return response.status, response.content_type, await response.read()


def concrete(path: str) -> str:
    return re.sub(r"{\w+}", "0" * 64, path.replace("{peer}", "nobody"))


async def test_every_guarded_route_refuses_callers_without_a_token(start):
    (node,) = await start("node")
    for route in ROUTES:
        status, kind, body = await call(node, route.method, concrete(route.path), token=None)
        if route.scope is None:
            assert status == 200, route.path
        else:
            told = (200, "application/json") if route.enveloped else (401, "application/problem+json")
            assert (status, kind) == told, route.path
            assert json.loads(body)["code"] == "auth.required"


async def test_a_token_opens_only_the_routes_of_its_scope(start):
    (node,) = await start("node")
    made = await node.client.create_token("reader", ("read",), 1)
    for route in ROUTES:
        status, _, body = await call(node, route.method, concrete(route.path), token=made.secret)
        if route.scope not in (None, "read"):
            assert status == (200 if route.enveloped else 403), route.path
            assert json.loads(body)["code"] == "auth.scope"
        else:
            assert status not in (401, 403), route.path
            assert not route.enveloped or not str(json.loads(body)["code"]).startswith("auth.s"), route.path


async def test_a_revoked_token_opens_nothing(start):
    (node,) = await start("node")
    made = await node.client.create_token("short", ("read",), 1)
    await node.client.revoke_token(made.token.id)
    async with AsyncClient(node.url, made.secret) as client:
        with pytest.raises(RemoteError) as refused:
            await client.learnwares()
    assert refused.value.code == "auth.required"


async def test_the_description_names_every_route(start):
    (node,) = await start("node")
    _, _, body = await call(node, "GET", "/api/v1/openapi.json", token=None)
    described = {(method.upper(), path) for path, methods in json.loads(body)["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}


async def test_unknown_resources_and_methods_are_problems(start):
    (node,) = await start("node")
    status, kind, body = await call(node, "GET", "/api/v1/nothing")
    assert (status, kind, json.loads(body)["code"]) == (404, "application/problem+json", "not_found")
    assert (await call(node, "DELETE", "/api/v1/node"))[0] == 405


@pytest.mark.parametrize(
    ("package", "code"),
    [(b"", "request.invalid"), (b"garbage" * 100, "package.refused"), (b"PK\x03\x04", "package.refused")],
)
async def test_a_malformed_package_is_refused_and_leaves_nothing(start, package, code):
    (node,) = await start("node")
    with pytest.raises(AtollError) as refused:
        await node.client.add_learnware(package)
    assert refused.value.code == code
    assert await node.client.learnwares() == []
    assert list((node.node.home / "blobs" / "partial").iterdir()) == []
    assert [path for path in (node.node.home / "blobs" / "sha256").rglob("*") if path.is_file()] == []


async def test_a_package_of_another_owner_is_refused(start, digits):
    node, other = await start("node", "other")
    island = digits.island()
    await node.client.add_island(island)
    with pytest.raises(AtollError, match="another owner") as refused:
        await node.client.add_learnware(digits.package(other.node.identity.peer, island, 0, 1))
    assert refused.value.code == "package.refused"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"points": [[float("nan")] * 64], "weights": [1.0]}, "request.invalid"),
        ({"points": [[0.0] * 63], "weights": [1.0]}, "spec.dimension"),
        ({"points": [[0.0] * 64], "weights": [0.5, 0.5]}, "spec.dimension"),
        ({"points": [[0.0] * 64], "weights": [-1.0]}, "spec.invalid"),
        ({"points": [[1e39] * 64], "weights": [1.0]}, "spec.not_finite"),
        ({"points": [[0.0] * 64, [0.0]], "weights": [0.5, 0.5]}, "spec.dimension"),
        ({"gamma": 7.0}, "spec.dimension"),
        ({"points": "many"}, "request.invalid"),
    ],
)
async def test_a_bad_specification_gets_one_clear_error(start, digits, change, code):
    (node,) = await start("node")
    island = digits.island()
    await node.client.add_island(island)
    rkme = {"points": [[0.0] * 64], "weights": [1.0], "gamma": island.gamma, "count": 100} | change
    body = json.dumps({"specifications": [{"island": island.id, "rkme": rkme}]})
    status, kind, answer = await call(node, "POST", "/api/v1/searches", data=body)
    assert kind == "application/problem+json"
    assert json.loads(answer)["code"] == code
    assert 400 <= status < 500


async def test_a_streamed_search_gives_hits_at_once_and_ends_with_the_whole_answer(federated, publish, digits):
    (node,), federation = await federated("node")
    learnware = await publish(node, federation, Offers(), 0, 1)
    island = digits.island()
    rkme = fit_rkme(island.transform(digits.of(0, 1)), size=20)
    specification = {
        "island": island.id,
        "rkme": {"points": rkme.points.tolist(), "weights": rkme.weights.tolist(), "gamma": rkme.gamma, "count": 9},
    }
    status, kind, body = await call(
        node, "POST", "/api/v1/searches", headers={"Accept": "application/x-ndjson"},
        data=json.dumps({"specifications": [specification], "deadline_ms": 10_000}),
    )  # fmt: skip
    events = [json.loads(line) for line in body.splitlines()]
    assert (status, kind) == (200, "application/x-ndjson")
    assert [event["event"] for event in events] == ["plan", "hit", "peer_done", "answer", "end"]
    assert "Nothing leaves" in events[0]["data"]["leaves"]
    assert events[1]["data"]["estimated"]
    assert events[-1]["data"]["hits"][0]["learnware_id"] == learnware
    assert not events[-1]["data"]["hits"][0]["estimated"]


async def test_searching_by_words_alone(federated, publish):
    (node,), federation = await federated("node")
    learnware = await publish(node, federation, Offers(), 0, 1)
    for text, expected in (("digits", [learnware]), ("digts 0", [learnware]), ("volcano", [])):
        _, _, body = await call(node, "POST", "/api/v1/searches", data=json.dumps({"semantic": {"text": text}}))
        assert [hit["learnware_id"] for hit in json.loads(body)["hits"]] == expected


async def test_words_and_rows_say_the_same_of_what_one_may_do_with_an_own_learnware(federated, publish, digits):
    (node,), federation = await federated("node")
    learnware = await publish(node, federation, Offers(disclose="members"), 0, 1)
    words = (await node.client.search(semantic="digits")).hits
    narrowed = await node.client.search(filters=Filters(may=("predict",)))
    asked = await node.client.search_rows(digits.of(0, 1), deadline_ms=10_000)
    alone = await node.client.search_rows(digits.of(0, 1), privacy="local")
    assert [hit.learnware_id for hit in words] == [learnware]
    assert {hit.may for hit in (*words, *narrowed.hits, *asked.hits, *alone.hits)} == {ACTS}


async def test_metrics_count_what_is_there(federated, publish):
    (node,), federation = await federated("node")
    await publish(node, federation, Offers(), 0, 1)
    _, _, body = await call(node, "GET", "/metrics", token=None)
    assert b"atoll_dock_learnwares 1.0" in body
    assert b"atoll_catalogue_listings 1.0" in body
