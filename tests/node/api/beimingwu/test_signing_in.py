"""Beimingwu's client signs in with a token of the node, and is told in its own form what it may not."""

import aiohttp
import pytest


async def test_an_empty_request_says_that_somebody_is_here(start, client):
    (node,) = await start("node")
    answer = await client(node).post("/auth/login_by_token")
    assert answer["code"] == "auth.required"
    assert "atoll token create" in answer["msg"]


async def test_the_token_of_the_node_is_the_token_of_the_client(start, client):
    (node,) = await start("node")
    visitor = client(node, "none")
    answer = await visitor.post("/auth/login_by_token", json={"email": "ann@example.org", "token": node.token})
    assert answer["code"] == 0
    assert answer["data"]["token"] == node.token
    assert "e-mail address is ignored" in answer["msg"]
    signed_in = client(node)
    assert (await signed_in.post("/auth/logout"))["code"] == 0
    assert await signed_in.list() == []  # the token is worth what it was before


async def test_an_unknown_token_is_refused_in_the_client_s_form(start, client):
    (node,) = await start("node")
    answer = await client(node).post("/auth/login_by_token", json={"email": "", "token": "made up"})
    assert (answer["code"], answer["data"]) == ("auth.required", None)
    for body in (b"[]", b"{", b'{"token": 7}'):
        answer = await client(node).post("/auth/login_by_token", data=body)
        assert answer["code"] == "request.invalid"


async def test_attempts_to_sign_in_are_bounded(start, client):
    (node,) = await start("node")
    codes = [(await client(node).post("/auth/login_by_token", json={"token": "x"}))["code"] for _ in range(12)]
    assert codes[0] == "auth.required"
    assert codes[-1] == "request.too_often"


async def test_each_call_needs_the_scope_of_what_it_does(start, client):
    (node,) = await start("node")
    made = await node.client.create_token("reader", ("read",), 1)
    reader = client(node, made.secret)
    for path in ("chunked_upload", "add_learnware_uploaded", "update_learnware", "delete_learnware", "list_learnware"):
        answer = await reader.post(f"/user/{path}", json={})
        assert (answer["code"], "publish" in answer["msg"]) == ("auth.scope", True), path
    status, _, body = await reader.download("00" * 32)
    assert (status, b"auth.scope" in body) == (403, True)
    assert (await reader.search({}))["code"] == 0


@pytest.mark.parametrize("anonymous", [False, True])
async def test_whoever_has_no_token_searches_where_the_administrator_lets_anybody(
    start, client, monkeypatch, anonymous
):
    monkeypatch.setenv("ATOLL__SEARCH__ANONYMOUS", str(anonymous).lower())
    (node,) = await start("node")
    visitor = client(node)
    visitor.headers = {}
    vocabulary = await visitor.get("/engine/semantic_specification")
    assert "Business" in vocabulary["data"]["semantic_specification"]["Scenario"]["Values"]
    assert (await visitor.search({}))["code"] == (0 if anonymous else "auth.required")
    assert (await visitor.info("00" * 32))["code"] == ("not_found" if anonymous else "auth.required")


async def test_what_fails_unexpectedly_says_nothing_of_the_inside(start, client, monkeypatch):
    (node,) = await start("node")

    def broken(*arguments):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(type(node.node.dock), "all", broken)
    answer = await client(node).post("/user/list_learnware", json={})
    assert answer["code"] == "internal"
    assert "secret" not in answer["msg"]


@pytest.mark.parametrize("path", ["/auth/login_by_token", "/beimingwu//auth/login_by_token"])
async def test_a_host_that_is_not_quite_right_is_put_right(start, path):
    (node,) = await start("node")
    async with aiohttp.ClientSession() as session, session.post(node.url + path) as response:
        assert response.status == 404
        assert f"{node.url}/beimingwu, with no slash" in (await response.json(content_type=None))["hint"]
