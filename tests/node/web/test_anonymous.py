"""Anybody may search where the administrator says so: to read, and not too often."""

import json

import aiohttp
from atoll.node.api.visitors import SEARCHES
from atoll.protocol.listings import Offers


async def test_nobody_unknown_searches_unless_the_administrator_lets_them(start):
    (node,) = await start("node")
    async with aiohttp.ClientSession() as session, session.post(f"{node.url}/api/v1/searches", json={}) as response:
        assert response.status == 401


async def test_anybody_finds_what_is_for_anyone_and_nothing_else(anonymous, federated, publish, visitor):
    (node,), federation = await federated("node")
    await publish(node, federation, Offers(match="anyone"), 0, 1)
    await publish(node, federation, Offers(), 2, 3)
    browser = await visitor(node)
    page = await browser.open("/")
    assert (page.url, "searching without a name" in page.text) == ("/", True)
    found = await browser.search(("words", "digits"))
    assert found.status == 200
    assert "Digits 0 1" in found.text
    assert "Digits 2 3" not in found.text
    async with aiohttp.ClientSession() as session:
        body = {"semantic": {"text": "digits"}}
        async with session.post(f"{node.url}/api/v1/searches", json=body) as response:
            answer = await response.json()
        assert [hit["name"] for hit in answer["hits"]] == ["Digits 0 1"]
        async with session.get(f"{node.url}/api/v1/searches/{answer['search_id']}/events") as response:
            assert response.status == 200
        for path in ("peers", "catalogue", "federations", "islands", "tokens"):
            async with session.get(f"{node.url}/api/v1/{path}") as response:
                assert response.status == 401, path


async def test_whoever_is_unknown_does_not_see_the_searches_of_those_who_are_known(anonymous, two, visitor):
    (node, _), *_ = two
    signed_in, unknown = await visitor(node), await visitor(node)
    await signed_in.sign_in()
    found = await signed_in.search(("words", "digits"))
    assert "Digits 0 1" in found.text
    assert (await unknown.open(found.url)).status == 404


async def test_one_address_searches_only_so_often_by_page_and_api_together(anonymous, start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    await browser.open("/")
    statuses = []
    for number in range(int(SEARCHES[1]) + 3):
        if number % 2:
            await browser.open("/")
            statuses.append((await browser.search(("words", "digits"))).status)
        else:
            async with browser.session.post(f"{node.url}/api/v1/searches", json={}) as response:
                statuses.append(response.status)
                last = response.headers.get("Retry-After"), await response.read()
    assert set(statuses[: int(SEARCHES[1])]) == {200}
    assert statuses[-1] == 429
    assert last[0]
    assert json.loads(last[1])["code"] == "request.too_often"
    await browser.sign_in()
    assert (await browser.search(("words", "digits"))).status == 200
