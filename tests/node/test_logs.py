"""The log of a node: one line an event, with the id of its request or peer, and nobody's data."""

import io
import json
import logging
import re
import warnings

import aiohttp
import pytest
from atoll.engine.semantic import SemanticSpec
from atoll.node import journal
from atoll.node.config import LogSection
from atoll.protocol.errors import NotFound
from atoll.protocol.listings import Offers

WORDS = "zanzibarine"
SECRETS = {
    "words": WORDS, "description": "ophiolatry", "name": "Quercitron", "row": "7.654321", "file": "patientnames",
    "token name": "gentianella", "path": "pellucidar", "error": "thaumaturge",
}  # fmt: skip


class Lines(list):
    """What was logged, line by line."""

    def of(self, event):
        return [line for line in self if line["event"] == event]


@pytest.fixture
def logged():
    """``logged(format)`` begins to log; call what it returns for the lines so far."""
    root, ours = logging.getLogger(), logging.getLogger("atoll")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()

    def begin(form="json", level="debug"):
        journal.configure(LogSection(form, level), stream)
        return stream

    yield begin
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


def lines_of(stream):
    return Lines(json.loads(line) for line in stream.getvalue().splitlines())


async def _by_page(node, session, rows):
    """Sign in and search with a file, as a browser does."""
    async with session.get(f"{node.url}/login") as response:
        (form,) = set(re.findall(r'name="csrf" value="(\w+)"', await response.text()))
    async with session.post(f"{node.url}/login", data={"csrf": form, "token": node.token}) as response:
        form = re.search(r'name="csrf" value="(\w+)"', await response.text())[1]
    data = aiohttp.FormData()
    data.add_field("csrf", form)
    data.add_field("words", WORDS)
    data.add_field("data", rows, filename=f"{SECRETS['file']}.csv")
    async with session.post(f"{node.url}/search", data=data) as response:
        return response.status


async def test_nothing_of_what_users_send_is_logged(logged, federated, publish, changed, digits):
    stream = logged()
    (asked, owner), federation = await federated("Asked", "Owner")
    semantic = SemanticSpec(SECRETS["name"], SECRETS["description"])
    offers = Offers(disclose="members", predict="members", download="members")
    await publish(asked, federation, offers, 2, 3)
    await publish(owner, federation, offers, 0, 1, semantic=semantic)
    owned = bytes.fromhex(federation), owner.node.identity.public
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
    await asked.client.create_token(SECRETS["token name"], ("read",), 1)
    invite = (await asked.client.invite(federation)).invite
    rows = digits.of(0, 1)
    rows.values[0, 0] = float(SECRETS["row"])
    found = await asked.client.search_rows(rows, WORDS)
    await asked.client.search((), SECRETS["description"])
    found = await asked.client.search_rows(rows)
    await asked.client.predict(found.search_id, rows, send=True)
    csv = ",".join(rows.columns) + "\n" + "\n".join(",".join(map(str, row)) for row in rows.values)
    wrong = "atoll_" + "w" * 43
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        assert await _by_page(asked, session, csv.encode()) == 200
        headers = {"Authorization": f"Bearer {wrong}"}
        async with session.get(f"{asked.url}/api/v1/node/{SECRETS['path']}?q={WORDS}", headers=headers) as response:
            assert response.status == 404
        async with session.get(f"{asked.url}/api/v1/peers?q={WORDS}", headers=headers) as response:
            assert response.status == 401
        async with session.post(
            f"{asked.url}/api/v1/searches", headers=headers, data=b"{" + wrong.encode()
        ) as response:
            assert response.status == 401
        headers = {"Authorization": f"Bearer {owner.token}"}
        for line in (invite, invite + "x"):
            body = {"invite": line}
            async with session.post(f"{owner.url}/api/v1/federations/join", headers=headers, json=body) as response:
                assert response.status < 500
    text = stream.getvalue()
    assert len(lines_of(stream).of("answered")) > 10
    planted = [*SECRETS.values(), asked.token, owner.token, wrong, invite, invite[-40:]]
    assert [each for each in planted if each.lower() in text.lower()] == []


async def test_what_happens_for_a_request_carries_its_id_and_what_happens_for_a_peer_carries_that(
    logged, federated, publish, changed, digits, held
):
    stream = logged()
    (asked, owner), federation = await federated("Asked", "Owner")
    await publish(asked, federation, Offers(), 2, 3)
    await publish(owner, federation, Offers(disclose="members"), 0, 1)
    owned = bytes.fromhex(federation), owner.node.identity.public
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
    await asked.client.search_rows(digits.of(0, 1), deadline_ms=5000)
    (request,) = [line for line in lines_of(stream).of("answered") if line["route"] == "/api/v1/searches"]
    assert (request["method"], request["status"]) == ("POST", 200)
    assert request["bytes"] > 0
    assert request["ms"] > 0
    assert len(request["token"]) == 12
    (ended,) = lines_of(stream).of("a search has ended")
    assert ended["request_id"] == request["request_id"]
    (served,) = lines_of(stream).of("a search of a peer has ended")
    assert (served["peer"], served["outcome"]) == (asked.node.identity.peer, "answered")
    assert "request_id" not in served  # it is another node's request
    held(owner)
    await asked.client.search_rows(digits.of(0, 1), deadline_ms=300)
    (silent,) = lines_of(stream).of("a peer has not answered")
    ended = lines_of(stream).of("a search has ended")[-1]
    assert (silent["peer"], silent["request_id"]) == (owner.node.identity.peer, ended["request_id"])


async def test_an_unexpected_error_is_told_by_its_kind_and_its_place_and_found_by_the_id_of_the_answer(
    logged, start, monkeypatch
):
    stream = logged()
    (node,) = await start("node")

    def fail(query):
        raise ValueError(f"could not convert {SECRETS['error']}")

    monkeypatch.setattr(node.node.searcher, "start", fail)
    headers = {"Authorization": f"Bearer {node.token}", "X-Request-ID": "chosen-by-a-stranger"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{node.url}/api/v1/searches", json={}) as response,
    ):
        problem = await response.json()
        assert response.status == 500
        assert response.headers["X-Request-ID"] == problem["request_id"] != "chosen-by-a-stranger"
        assert response.headers["Server"] == "Atoll"  # no versions
    (failed,) = lines_of(stream).of("a request has failed")
    assert (failed["error"], failed["request_id"]) == ("ValueError", problem["request_id"])
    assert " fail" in failed["at"][-1]
    assert SECRETS["error"] not in stream.getvalue()


async def test_a_trusted_proxy_names_the_request_and_nothing_malformed_is_taken(start, monkeypatch):
    monkeypatch.setenv("ATOLL__HTTP__TRUSTED_PROXIES", "127.0.0.1")
    (node,) = await start("node")
    async with aiohttp.ClientSession() as session:
        for given, taken in (("edge-0123456789", True), ("short", False), ("with spaces and so on", False)):
            async with session.get(f"{node.url}/healthz", headers={"X-Request-ID": given}) as response:
                assert (response.headers["X-Request-ID"] == given) is taken


def test_text_is_one_line_an_event_whatever_is_in_it(logged):
    stream = logged("text")
    log = logging.getLogger("atoll.test")
    log.warning("a peer misbehaved: %s", "two\nlines \x1b[31m", extra={"peer": "12D3"})
    log.error("it failed: %r", NotFound(SECRETS["error"]))
    log.error("no file: %s", FileNotFoundError(2, "No such file or directory", SECRETS["file"]))
    first, second, third = stream.getvalue().splitlines()
    assert "two\N{REPLACEMENT CHARACTER}lines" in first
    assert "12D3" in first
    assert "it failed: not_found" in second
    assert "No such file or directory" in third
    assert SECRETS["file"] not in third


def test_secrets_are_left_out_and_other_libraries_are_quiet(logged):
    stream = logged("json", "info")
    token = "atoll_" + "s" * 43
    logging.getLogger("atoll.test").info("pasted %s", token, extra={"where": f"x {token}"})
    logging.getLogger("atoll.test").debug("too small")
    logging.getLogger("libp2p.host").error("a stack for each")
    logging.getLogger("some.library").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(SECRETS["error"], RuntimeWarning, stacklevel=1)
    (line,) = lines_of(stream)
    assert (line["event"], line["where"], line["level"]) == ("pasted (secret)", "x (secret)", "info")
