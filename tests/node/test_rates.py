"""How much one may ask of a node over HTTP: by token and by address, at a time and at once, and how slowly."""

import asyncio
import io
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import msgspec
from atoll.engine.semantic import SemanticQuery
from atoll.node.api.connections import Room
from atoll.node.api.limits import WRONG_TOKENS
from atoll.node.client.question import question
from atoll.node.config import HttpSection
from atoll.node.p2p.buckets import Buckets
from atoll.node.search.query import Filters
from atoll.protocol.listings import Offers


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def status_of(session, url, **arguments):
    async with session.get(url, **arguments) as response:
        return response.status


def test_a_bucket_says_how_long_it_is_until_the_next():
    buckets = Buckets(0.5, 2.0)
    assert buckets.pause("a", 0.0) == 0.0
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert buckets.pause("a", 0.0) == 2.0
    assert buckets.pause("a", 1.5) == 0.5
    assert not buckets.take("a", 1.9)
    assert buckets.take("a", 2.0)


async def test_a_token_has_its_own_rate_and_is_told_when_to_come_again(start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__REQUESTS_PER_SECOND", "0.5")
    monkeypatch.setenv("ATOLL__HTTP__BURST", "5")
    (node,) = await start("node")
    async with aiohttp.ClientSession() as session:
        peers = f"{node.url}/api/v1/peers"
        assert [await status_of(session, peers, headers=bearer(node.token)) for _ in range(5)] == [200] * 5
        async with session.get(peers, headers=bearer(node.token)) as response:
            problem = await response.json()
            assert (response.status, problem["code"]) == (429, "request.too_often")
            assert response.headers["Retry-After"] == "2"
            assert "2 s" in problem["hint"]
        assert await status_of(session, f"{node.url}/api/v1/node") == 200  # an address has another one
        pages = [await status_of(session, f"{node.url}/login") for _ in range(5)]
        assert (pages[0], pages[-1]) == (200, 429)
        assert [await status_of(session, f"{node.url}/healthz") for _ in range(8)] == [200] * 8
        async with session.get(f"{node.url}/login") as response:
            assert response.content_type == "text/html"
            assert int(response.headers["Retry-After"]) >= 1
    assert re.search(r'atoll_http_limited_total\{kind="request"\} [1-9]', node.node.metrics.text().decode())


async def test_asking_where_nothing_is_counts_too(start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__REQUESTS_PER_SECOND", "0.01")
    monkeypatch.setenv("ATOLL__HTTP__BURST", "4")
    (node,) = await start("node")
    browser = {"Accept": "text/html", "Cookie": f"{node.node.sessions.cookie}=x"}
    async with aiohttp.ClientSession() as session:
        statuses = [
            await status_of(session, f"{node.url}{path}", headers=headers)
            for path in ("/nowhere", "/api/v1/nowhere") for headers in (browser, {})
        ]  # fmt: skip
        async with session.delete(f"{node.url}/login", headers=browser) as response:
            statuses.append(response.status)
            assert int(response.headers["Retry-After"]) >= 1
        assert statuses == [404, 404, 404, 404, 429]
        assert await status_of(session, f"{node.url}/api/v1/node") == 429


async def test_clients_behind_a_trusted_proxy_are_told_apart_and_others_cannot_pretend_to_be(start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__REQUESTS_PER_SECOND", "0.01")
    monkeypatch.setenv("ATOLL__HTTP__BURST", "2")
    url, statuses = {}, {}
    (bare,) = await start("bare")
    monkeypatch.setenv("ATOLL__HTTP__TRUSTED_PROXIES", "127.0.0.1,10.1.0.0/16")
    (behind,) = await start("behind")
    url = {"bare": bare.url, "behind": behind.url}
    async with aiohttp.ClientSession() as session:
        for name in url:
            for client in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1, 192.0.2.3, 10.1.2.3"):
                headers = {"X-Forwarded-For": client}
                statuses.setdefault(name, []).append(
                    await status_of(session, f"{url[name]}/api/v1/node", headers=headers)
                )
    assert statuses["bare"] == [200, 200, 429, 429, 429]
    assert statuses["behind"] == [200, 200, 429, 200, 200]


async def test_who_tries_many_tokens_is_slowed_down_and_nobody_else_is(start):
    (node,) = await start("node")
    async with aiohttp.ClientSession() as session:
        url = f"{node.url}/api/v1/peers"
        tried = [await status_of(session, url, headers=bearer(f"atoll_{n}")) for n in range(int(WRONG_TOKENS[1]) + 4)]
        assert set(tried[: int(WRONG_TOKENS[1])]) == {401}
        assert tried[-1] == 429
        assert await status_of(session, url, headers=bearer(node.token)) == 200


async def test_so_many_answers_may_be_followed_at_a_time(start, publish, held, digits, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__STREAMS", "2")
    (node,) = await start("node")
    await publish(node, (await node.client.create_federation("alone")).id, Offers(), 0, 1)
    fitted, let = await node.client.fit(digits.of(0, 1)), held(node)
    body = msgspec.json.encode(question(fitted, SemanticQuery(), 5, 20_000, "rkme", Filters()))
    headers = bearer(node.token) | {"Accept": "text/event-stream"}
    async with aiohttp.ClientSession(headers=headers) as session, AsyncExitStack() as followed:
        searches = f"{node.url}/api/v1/searches"
        for _ in range(2):
            response = await followed.enter_async_context(session.post(searches, data=body))
            assert response.status == 200
            await response.content.readline()
        async with session.post(searches, data=body) as response:
            assert (response.status, (await response.json())["code"]) == (429, "request.too_often")
            assert response.headers["Retry-After"] == "5"
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.timeout(10):
        status = 429
        while status == 429:  # until the node has seen the others go
            async with session.post(searches, data=body) as response:
                status = response.status
                if status == 200:
                    let.set()
                    assert b"event: end" in await response.read()
        assert status == 200


@asynccontextmanager
async def connected(node):
    """A bare connection: reader and writer."""
    host, port = node.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def closed(reader):
    """What still comes until the node ends the connection, which it does at once or by breaking it off."""
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            return await reader.read()
        return b""


async def test_connections_that_send_nothing_or_next_to_nothing_are_closed(start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__READ_SECONDS", "0.4")
    (node,) = await start("node")
    half = b"POST /api/v1/searches HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    authorised = half + f"Authorization: Bearer {node.token}\r\n\r\n{{".encode()
    for sent in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc", half, authorised):
        async with connected(node) as (reader, writer):
            began = time.monotonic()
            writer.write(sent)
            assert await closed(reader) == b""
            assert 0.3 < time.monotonic() - began < 8
    assert (await node.client.node()).peer_id  # others are served


async def test_what_is_no_http_is_told_so_by_a_server_that_names_no_versions(start):
    (node,) = await start("node")
    async with connected(node) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        told = (await closed(reader)).decode()
    assert " 400 " in told.splitlines()[0]
    assert "Server: Atoll\r\n" in told


async def test_there_is_room_for_so_many_connections(start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__CONNECTIONS", "8")
    (node,) = await start("node")
    await node.client.node()  # its connection stays open
    async with AsyncExitStack() as stack:
        for _ in range(7):
            await stack.enter_async_context(connected(node))
        async with connected(node) as (reader, _):
            assert await closed(reader) == b""
        assert (await node.client.node()).peer_id


def test_one_address_has_a_quarter_of_the_room_and_a_proxy_all_of_it():
    room = Room(HttpSection(connections=8, trusted_proxies=("10.0.0.1",)))
    assert [room.take("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [room.take(f"2001:db8::{n}") for n in range(3)] == [True, True, False]  # one network is one host
    for _ in range(2):
        room.leave("192.0.2.1")
    assert room.take("192.0.2.1")
    for remote in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3"):
        room.leave(remote)
    assert room.taken == 0
    assert [room.take("10.0.0.1" if n % 2 else "127.0.0.1") for n in range(9)] == [True] * 8 + [False]


async def test_headers_and_bodies_have_a_size(start):
    (node,) = await start("node")
    async with aiohttp.ClientSession(headers=bearer(node.token)) as session:
        assert await status_of(session, f"{node.url}/healthz", headers={"X-Long": "x" * 20_000}) == 400
        assert await status_of(session, f"{node.url}/healthz", headers={f"X-{n}": "x" for n in range(300)}) == 400
        assert await status_of(session, f"{node.url}/healthz?{'q' * 20_000}") == 400
        async with session.post(f"{node.url}/api/v1/searches", data=io.BytesIO(b" " * (17 << 20))) as response:
            assert response.status == 400
