"""TLS of a node, and what it believes of proxies and names."""

import asyncio
import os
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import AppRunner
from atoll.node.api.proxies import Proxies, host_name, loopback
from atoll.node.api.server import serving
from atoll.node.api.tls import Tls
from atoll.node.cli.serving import _renew_endpoint, _write_endpoint
from atoll.node.client import AsyncClient
from atoll.node.client.endpoint import ENDPOINT
from atoll.node.config import HttpSection, load
from atoll.node.demo.processes import institution
from atoll.node.errors import ConfigError, NodeUnreachable
from authority import Authority


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def secured(authority, monkeypatch):
    """Nodes that are started have a certificate of the authority."""
    for name, file in zip(("CERTIFICATE", "KEY"), authority.sign(), strict=True):
        monkeypatch.setenv(f"ATOLL__HTTP__TLS_{name}", str(file))
    monkeypatch.setenv("ATOLL_CA", str(authority.file))
    return authority


async def seen(url):
    """The certificate that a node shows, and the version that was agreed on."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        connection = writer.get_extra_info("ssl_object")
        return connection.getpeercert(binary_form=True), connection.version()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_node_speaks_https_to_whoever_trusts_its_authority(secured, start, monkeypatch):
    (node,) = await start("node")
    assert node.url.startswith("https://127.0.0.1:")
    assert (await node.client.node()).peer_id == node.node.identity.peer
    assert (await seen(node.url))[1] == "TLSv1.3"
    context = ssl.create_default_context(cafile=secured.file)
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/login", ssl=context) as response:
        assert "Secure" in response.headers["Set-Cookie"]
        assert "Strict-Transport-Security" not in response.headers  # this machine has other servers
    monkeypatch.delenv("ATOLL_CA")
    async with AsyncClient(node.url, node.token) as stranger:
        with pytest.raises(NodeUnreachable, match="not trusted") as error:
            await stranger.node()
        assert "ATOLL_CA" in error.value.hint
    async with AsyncClient(node.url, node.token, node.node.tls.fingerprint) as beside:
        assert (await beside.node()).peer_id == node.node.identity.peer
    async with AsyncClient(node.url, node.token, "00" * 32) as wrong:
        with pytest.raises(NodeUnreachable):
            await wrong.node()
    assert node.node.tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_renewed_certificate_needs_no_restart_and_a_bad_one_changes_nothing(secured, start):
    (node,) = await start("node")
    tls, (first, _) = node.node.tls, await seen(node.url)
    changed = []
    tls.on_change(lambda: changed.append(tls.fingerprint))
    secured.sign()
    assert await asyncio.to_thread(tls.reload)
    second, _ = await seen(node.url)
    assert second != first
    assert (await node.client.node()).peer_id
    _, key = secured.sign()
    key.write_bytes(b"half of a k")
    assert not await asyncio.to_thread(tls.reload)
    assert (await seen(node.url))[0] == second
    assert len(changed) == 1


async def test_who_does_not_shake_hands_is_cut_off(secured, start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__READ_SECONDS", "0.4")
    (node,) = await start("node")
    host, port = node.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_renewal_that_cannot_be_told_is_told_the_next_time(authority):
    tls = await asyncio.to_thread(Tls, *authority.sign())
    again, told, loop = asyncio.Event(), asyncio.Queue(), asyncio.get_running_loop()

    def tell():
        loop.call_soon_threadsafe(told.put_nowait, tls.fingerprint)
        raise OSError(28, "No space left on device")

    tls.on_change(tell)
    watching = asyncio.create_task(tls.watch(again))
    async with asyncio.timeout(10):
        for _ in range(2):
            authority.sign()
            again.set()
            assert await told.get() == tls.fingerprint
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_the_certificate_is_watched_no_more_before_the_node_is_taken_apart(secured, start, monkeypatch):
    order = []

    async def watch(self, again):
        try:
            await again.wait()
        finally:
            for _ in range(50):  # as a reading that is under way ends
                await asyncio.sleep(0)
            order.append("watched")

    async def cleanup(self):
        order.append("taken apart")
        await taken_apart(self)

    taken_apart = AppRunner.cleanup
    monkeypatch.setattr(Tls, "watch", watch)
    monkeypatch.setattr(AppRunner, "cleanup", cleanup)
    (node,) = await start("node")
    async with serving(node.node):
        await asyncio.sleep(0)
    assert order == ["watched", "taken apart"]


async def test_where_a_node_is_found_is_told_whole_or_as_before_and_not_once_it_ends(
    secured, start, monkeypatch, tmp_path
):
    (node,) = await start("node")
    told, write = tmp_path / ENDPOINT, Path.write_bytes
    await asyncio.to_thread(_write_endpoint, tmp_path, node.node, node.url)
    before = await asyncio.to_thread(told.read_bytes)
    assert node.node.tls.fingerprint.encode() in before

    def full(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            await asyncio.to_thread(_renew_endpoint, tmp_path, node.node, node.url)
    assert await asyncio.to_thread(told.read_bytes) == before
    secured.sign()
    await asyncio.to_thread(node.node.tls.reload)
    await asyncio.to_thread(_renew_endpoint, tmp_path, node.node, node.url)
    assert node.node.tls.fingerprint.encode() in await asyncio.to_thread(told.read_bytes)
    assert node.node.tls.fingerprint.encode() not in before
    told.unlink()
    monkeypatch.setattr(node.node.stopping, "begun", True)
    await asyncio.to_thread(_renew_endpoint, tmp_path, node.node, node.url)
    assert not told.exists()


async def test_the_command_line_beside_a_node_knows_it_and_sighup_reads_the_certificate_anew(authority, tmp_path):
    certificate, key = authority.sign()
    settings = {"ATOLL__HTTP__TLS_CERTIFICATE": str(certificate), "ATOLL__HTTP__TLS_KEY": str(key)}
    async with institution("node", tmp_path / "node", settings=settings) as node:
        before, _ = await seen(node.endpoint.url)
        authority.sign()
        node.process.send_signal(1)
        async with asyncio.timeout(20):
            while (await seen(node.endpoint.url))[0] == before:
                await asyncio.sleep(0.05)  # the node is another process: there is no event to wait for
        command = ("-m", "atoll.node.cli", "peer", "list", "--home", str(tmp_path / "node"), "--json")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ATOLL_")}
        listing = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, env=environment | {"ATOLL_TOKEN": node.token}
        )
        assert (await listing.communicate())[0].strip() == b"[]"


def wrong_key(files, authority):
    key = files[1].read_bytes()
    authority.sign()
    files[1].write_bytes(key)


FAULTS = {
    "cannot be read": lambda files, authority: files[0].unlink(),
    "is not the key": wrong_key,
    "has expired": lambda files, authority: authority.sign(days=-1),
    "is encrypted": lambda files, authority: authority.sign(encrypted=True),
    "anybody on this machine": lambda files, authority: files[1].chmod(0o644),
    "no certificates in PEM": lambda files, authority: files[0].write_bytes(b"something else"),
    "no private key": lambda files, authority: files[1].write_bytes(files[0].read_bytes()),
}


@pytest.mark.parametrize("words", FAULTS)
def test_what_is_wrong_with_a_certificate_is_said_at_the_start(authority, words):
    files = authority.sign()
    FAULTS[words](files, authority)
    with pytest.raises(ConfigError, match=words):
        Tls(*files)


def test_a_certificate_needs_its_key_and_without_both_there_is_no_tls(tmp_path):
    assert Tls.of(HttpSection(), tmp_path) is None
    with pytest.raises(ConfigError, match=r"http\.tls_certificate: without http\.tls_key"):
        Tls.of(HttpSection(tls_certificate="node.pem"), tmp_path)


async def test_a_page_elsewhere_cannot_reach_the_node_under_a_name_of_its_own(start, monkeypatch):
    (node,) = await start("node")
    monkeypatch.setenv("ATOLL__HTTP__HOSTS", "dock.example.org")
    (named,) = await start("named")

    async def status(running, host, path="/login"):
        asked = {"url": f"{running.url}{path}", "headers": {"Host": host}}
        async with aiohttp.ClientSession() as session, session.get(**asked) as response:
            return response.status

    for good in ("localhost:8470", "127.0.0.1", "[::1]:8470", "LOCALHOST.", "atoll.localhost"):
        assert await status(node, good) == 200, good
    for bad in ("attacker.example", "attacker.example:8470", "localhost.attacker.example", "dock.example.org"):
        assert [await status(node, bad, path) for path in ("/login", "/api/v1/node")] == [421, 421], bad
    assert await status(named, "dock.example.org") == 200
    assert await status(named, "other.example.org") == 421


async def test_behind_a_trusted_proxy_https_and_its_name_are_what_it_says(start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__TRUSTED_PROXIES", "127.0.0.0/8")
    (node,) = await start("node")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "dock.example.org", "X-Forwarded-For": "192.0.2.1"}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{node.url}/login", headers=headers) as response:
            assert response.status == 200
            assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
        headers["X-Forwarded-Proto"] = "gopher"
        async with session.get(f"{node.url}/login", headers=headers) as response:
            assert "Strict-Transport-Security" not in response.headers


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("9.9.9.9, 192.0.2.7:5555", "192.0.2.7"),
        ("9.9.9.9, [2001:db8::7]:443", "2001:db8::7"),
        ("9.9.9.9, 2001:db8::7", "2001:db8::7"),
        ("9.9.9.9, unknown", "127.0.0.1"),
        ("9.9.9.9, unknown, 10.1.2.3", "10.1.2.3"),
        ("9.9.9.9, 192.0.2.7, 10.1.2.3:80", "192.0.2.7"),
        ("10.1.2.3", "10.1.2.3"),
        ("", "127.0.0.1"),
    ],
)
def test_a_client_is_whom_the_last_trusted_proxy_has_seen_and_nobody_whom_it_names_itself(hops, client):
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": hops}).clone(remote="127.0.0.1")
    trusting = Proxies(HttpSection(trusted_proxies=("127.0.0.1", "10.1.0.0/16")))
    assert trusting.as_sent(request).remote == client


def test_names_and_addresses_are_told_apart(tmp_path):
    assert [host_name(host) for host in ("A.b:1", "[::1]:80", "a", "a.")] == ["a.b", "::1", "a", "a"]
    assert [loopback(host) for host in ("127.0.0.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "a.b")] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip
    trusting = Proxies(HttpSection(trusted_proxies=("10.0.0.0/8", "2001:db8::1")))
    addresses = ("10.9.9.9", "::ffff:10.0.0.1", "2001:db8::1", "11.0.0.1", "", "unix")
    assert [trusting.trusts(each) for each in addresses] == [True, True, True, False, False, False]
    with pytest.raises(ConfigError, match="no address and no network"):
        load(tmp_path, {"ATOLL__HTTP__TRUSTED_PROXIES": "10.0.0.0/8,proxy"})
