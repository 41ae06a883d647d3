"""A node behind nginx and Caddy, as `examples/deploy` sets them up: only ports, folders and the certificate differ."""

import asyncio
import hashlib
import io
import os
import re
import shutil
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import large_package
import msgspec
import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticQuery, SemanticSpec
from atoll.engine.tables import Table
from atoll.node.client.question import question
from atoll.node.clock import now_ms
from atoll.node.search.query import Filters
from atoll.protocol.listings import Offers
from authority import Authority
from browser import ARGUMENTS, CHROMIUM, sign_in
from playwright.async_api import async_playwright

DEPLOY = Path(__file__).parents[3] / "examples" / "deploy"
NAME = "atoll.example.org"
PROXIES = ("nginx", "caddy")
LIMIT, PIECE = 3 << 20, 1 << 16
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@dataclass
class Proxy:
    """``url`` over TLS, ``plain`` without, for ``NAME``, which is this machine."""

    url: str
    plain: str
    tls: ssl.SSLContext

    def session(self, source="127.0.0.1", **settings):
        """Of a client at that address of this machine."""
        connector = aiohttp.TCPConnector(ssl=self.tls, resolver=Here(), local_addr=(source, 0))
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(), **settings)


class Here(aiohttp.abc.AbstractResolver):
    """Every name is this machine's."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self):
        pass


def changed(text, *changes):
    """The text with each (pattern, replacement) done, which has to be there."""
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    return text


def nginx(folder, node, plain, secure, certificate, key):
    """The command of nginx with the site within a configuration of its own."""
    site = changed(
        (DEPLOY / "nginx.conf").read_text(), (r"listen 80;", f"listen 127.0.0.1:{plain};"),
        (r"listen 443 ssl", f"listen 127.0.0.1:{secure} ssl"), (r" *listen \[::\].*\n", ""),
        (r"/etc/ssl/atoll/fullchain.pem", str(certificate)), (r"/etc/ssl/atoll/privkey.pem", str(key)),
        (r"http://127\.0\.0\.1:8470", node),
    )  # fmt: skip
    kept = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{kept}{site}}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder, node, plain, secure, certificate, key):
    """The command of Caddy, with a certificate that is given in the place of one that it gets."""
    begun = f"{NAME} {{\n\ttls {certificate} {key}\n\tbind 127.0.0.1"
    site = changed(
        (DEPLOY / "Caddyfile").read_text(), (rf"(?m)^{NAME} {{", begun),
        (r"127\.0\.0\.1:8470", node.removeprefix("http://")),
    )  # fmt: skip
    head = f"{{\n\tadmin off\n\thttp_port {plain}\n\thttps_port {secure}\n}}\n"
    (folder / "Caddyfile").write_text(head + site)
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@asynccontextmanager
async def proxy(kind, node, folder):
    folder.mkdir()
    authority = Authority(folder)
    certificate, key = authority.sign(also=(NAME,))
    plain, secure = free_ports(2)
    command = {"nginx": nginx, "caddy": caddy}[kind](folder, node.url, plain, secure, certificate, key)
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=log, stderr=log)
    try:
        await listening(process, secure, folder / "log")
        yield Proxy(
            f"https://{NAME}:{secure}", f"http://{NAME}:{plain}", ssl.create_default_context(cafile=authority.file)
        )
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 20)


def free_ports(count):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


async def listening(process, port, log):
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, log.read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)  # another program: there is no event to wait for
                continue
            writer.close()
            return


@pytest.fixture(params=PROXIES)
async def behind(request, start, monkeypatch, tmp_path):
    """``await behind(SETTING=value)``: (a node that is asked under ``NAME``, the proxy before it)."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    stack = []

    async def begin(**settings):
        given = {"TRUSTED_PROXIES": "127.0.0.1", "HOSTS": NAME, **settings}
        for key, value in given.items():
            monkeypatch.setenv(f"ATOLL__HTTP__{key}", value)
        (node,) = await start("behind")
        before = proxy(request.param, node, tmp_path / "proxy")
        stack.append(before)
        return node, await before.__aenter__()

    yield begin
    for each in stack:
        await each.__aexit__(None, None, None)


def bearer(node):
    return {"Authorization": f"Bearer {node.token}"}


async def status_of(session, url, **arguments):
    async with session.get(url, **arguments) as response:
        return response.status


async def test_people_sign_in_over_tls_and_are_shown_the_nodes_own_name(behind, publish):
    node, before = await behind()
    learnware = await publish(node, (await node.client.create_federation("alone")).id, Offers(), 0, 1)
    async with before.session() as session:
        async with session.get(f"{before.plain}/login?next=/dock", allow_redirects=False) as response:
            assert response.status in (301, 308)
            assert response.headers["Location"] == f"https://{NAME}/login?next=/dock"
        async with session.get(f"{before.url}/dock") as response:
            assert str(response.url) == f"{before.url}/login?next=/dock"
            assert response.headers.getall("Strict-Transport-Security") == ["max-age=31536000"]
            form = re.search(r'name="csrf" value="(\w+)"', await response.text())[1]
        fields = {"csrf": form, "token": node.token, "next": "/dock"}
        async with session.post(f"{before.url}/login", data=fields, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/dock")
            assert {"HttpOnly", "Secure"} <= set(response.headers["Set-Cookie"].split("; "))
        async with session.get(f"{before.url}/learnwares/{learnware}") as response:
            assert f"{before.url}" in await response.text()  # in what a person is to type


async def test_a_client_chooses_neither_its_address_nor_the_name_nor_the_id_of_its_request(behind):
    _, before = await behind(REQUESTS_PER_SECOND="0.01", BURST="3")
    asked = f"{before.url}/api/v1/node"
    async with before.session("127.0.0.2") as one, before.session("127.0.0.3") as other:
        lies = ({"X-Forwarded-For": f"127.0.0.{n}", "Forwarded": f"for=127.0.0.{n}"} for n in (3, 3, 3, 4, 5))
        assert [await status_of(one, asked, headers=lie) for lie in lies] == [200, 200, 200, 429, 429]
        async with other.get(asked, headers={"X-Request-ID": "chosen-by-a-client"}) as response:
            assert response.status == 200  # the others have spent nothing of it
            assert response.headers["X-Request-ID"] != "chosen-by-a-client"
        forged = {"X-Forwarded-Host": "elsewhere.example", "X-Forwarded-Proto": "http"}
        async with other.get(asked, headers=forged) as response:
            assert response.status == 200
            assert "Strict-Transport-Security" in response.headers
        async with other.get(asked, headers={"Host": "elsewhere.example"}) as response:
            assert (response.status, await response.read()) == (200, b"") or response.status == 421


async def test_a_search_comes_event_by_event(behind, publish, held, digits):
    node, before = await behind()
    await publish(node, (await node.client.create_federation("alone")).id, Offers(), 0, 1)
    fitted, let = await node.client.fit(digits.of(0, 1)), held(node)
    body = msgspec.json.encode(question(fitted, SemanticQuery(), 5, 10_000, "rkme", Filters()))
    async with before.session() as session:
        headers = bearer(node) | {"Accept": "text/event-stream"}
        async with session.post(f"{before.url}/api/v1/searches", data=body, headers=headers) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            assert b"event: end" not in await response.content.readuntil(b"event: hit\n")
            let.set()
            told = await response.content.read()
            assert b"event: end" in told
            assert b"event: peer_failed" not in told  # as it would be if what came before had been held back


async def test_a_large_package_goes_on_where_it_broke_off(behind, tmp_path):
    node, before = await behind(MAX_UPLOAD_BYTES=str(LIMIT))
    package = await large(node, tmp_path)
    digest, half = hashlib.sha256(package).hexdigest(), len(package) // 2
    upload = f"{before.url}/api/v1/uploads/{digest}"
    async with before.session(headers=bearer(node)) as session:
        stuck = asyncio.create_task(put(session, upload, unfinished(package[:half])))
        async with asyncio.timeout(20):
            while (stands := await received(session, upload)) < half - PIECE:  # it is not held back till it is whole
                await asyncio.sleep(0.05)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        assert (await put(session, f"{upload}?offset=0", io.BytesIO(b"x")))[0] == 400
        stands = await received(session, upload)
        assert await put(session, f"{upload}?offset={stands}", io.BytesIO(package[stands:])) == (
            200, {"received": len(package)}
        )  # fmt: skip
        async with session.post(f"{before.url}/api/v1/submissions", json={"sha256": digest}) as response:
            submission = (await response.json())["id"]
        async with session.get(f"{before.url}/api/v1/submissions/{submission}?wait=60") as response:
            assert (await response.json())["state"] == "accepted"
        for size in (LIMIT, LIMIT + 1, 20 * LIMIT):
            status, told = await put(session, f"{before.url}/api/v1/uploads/{size:064x}", io.BytesIO(bytes(size)))
            assert told.get("received", told.get("code")) == (size if size == LIMIT else "request.invalid"), status


async def large(node, folder):
    """A package of more than a proxy lets pass by itself, of an island that the node knows."""
    rows = Table(np.random.default_rng(1).normal(size=(200, 4)), ("a", "b", "c", "d"))
    await node.client.add_island(island := Island.mint(rows))
    return await asyncio.to_thread(packed, node.node.identity.peer, rows, island, folder / "model")


def packed(owner, rows, island, model):
    large_package.write_model(model, 2)
    package, words = io.BytesIO(), SemanticSpec("Sums", task="Regression")
    pack(
        package, model, rows, island, words, Signature("regression", 4, 1), owner=owner, created_at=now_ms(),
        salt=bytes(16), size=20,
    )  # fmt: skip
    return package.getvalue()


async def unfinished(data):
    """A body of which no more comes."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
    await asyncio.Event().wait()


async def put(session, url, body):
    async with session.put(url, data=body) as response:
        return response.status, await response.json(content_type=None)


async def received(session, url):
    async with session.get(url) as response:
        return (await response.json())["received"]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_searches_and_publishes_through_it(behind, publish, held, csv, tmp_path, monkeypatch):
    monkeypatch.setenv("ATOLL__SEARCH__DEADLINE_MS", "60000")  # what happens ends it, not the clock
    node, before = await behind()
    await publish(node, (await node.client.create_federation("alone")).id, Offers(), 0, 1)
    (tmp_path / "package.zip").write_bytes(await large(node, tmp_path))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
        )
        page = await browser.new_page(ignore_https_errors=True)
        page.set_default_timeout(40_000)
        protocols = []
        session = await page.context.new_cdp_session(page)
        await session.send("Network.enable")
        session.on("Network.responseReceived", lambda told: protocols.append(told["response"].get("protocol")))
        await sign_in(page, SimpleNamespace(url=before.url, token=node.token))
        cookies = {each["name"]: each for each in await page.context.cookies()}
        assert cookies[node.node.sessions.cookie]["secure"]
        let = held(node)
        await page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": csv(0, 1)})
        await page.click("#go")
        await page.wait_for_selector("#hits .hit")  # from the catalogue, while an answer is waited for
        assert await page.locator("html[data-search=ended]").count() == 0
        let.set()
        await page.wait_for_selector("html[data-search=ended]", state="attached")
        await page.goto(f"{before.url}/publish")
        await page.click("button[value=package]")
        await page.set_input_files("#given", tmp_path / "package.zip")
        await page.click("#go")
        await page.wait_for_url("**/words")  # it has come, and was read
        assert set(protocols) == {"h2"}
        await browser.close()
