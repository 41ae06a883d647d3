"""Signing in: by a token, for a time, to read only; and forms that nobody else can make."""

import json

import aiohttp
import pytest
from atoll.node.api.sessions import MOST, SECONDS, Sessions
from atoll.node.api.visitors import SIGN_INS
from atoll.node.store.environment import Store
from atoll.node.store.tokens import Tokens
from atoll.node.web.parts import MAX_SMALL_FIELDS, MAX_SMALL_FORM

NOW = 1_700_000_000_000


@pytest.fixture
def tokens(tmp_path):
    store = Store(tmp_path / "store")
    yield Tokens(store)
    store.close()


def test_a_session_ends_with_its_time_its_token_and_when_it_is_closed(tokens):
    sessions = Sessions(tokens, "12D3KooW")
    secret, row = tokens.create("somebody", ("read",), NOW, None)
    first, second = sessions.open(secret, NOW), sessions.open(secret, NOW)
    assert first != second
    assert sessions.token(first, NOW + 1000 * SECONDS - 1) == row
    assert sessions.token(first, NOW + 1000 * SECONDS) is None
    assert sessions.token(first, NOW) is None
    sessions.close(second)
    assert sessions.token(second, NOW) is None
    third = sessions.open(secret, NOW)
    tokens.revoke(row.id)
    assert sessions.token(third, NOW) is None


def test_only_so_many_sessions_are_kept_the_newest(tokens):
    sessions = Sessions(tokens, "12D3KooW")
    secret, row = tokens.create("somebody", ("read",), NOW, None)
    ids = [sessions.open(secret, NOW) for _ in range(MOST + 1)]
    assert sessions.token(ids[0], NOW) is None
    assert sessions.token(ids[1], NOW) == row


def test_form_tokens_are_of_one_browser_and_one_run_of_the_node(tokens):
    one, other = Sessions(tokens, "12D3KooW"), Sessions(tokens, "12D3KooW")
    assert one.genuine("browser", one.form_token("browser"))
    for id_, given in (("another", one.form_token("browser")), ("browser", other.form_token("browser")), ("", "ü")):
        assert not one.genuine(id_, given)
    assert not one.genuine("", one.form_token(""))


async def test_without_a_token_there_is_only_the_door(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    for path in ("/", "/searches/0000", "/searches/0000/picture", "/searches/0000/listings/x"):
        page = await browser.open(path)
        assert page.url == "/login", path
        assert "Find a learnware" not in page.body
    assert (await browser.open("/searches/0000/events")).url == "/login"
    refused = await browser.search(("words", "digits"))
    assert (refused.status, "needs a token" in refused.text) == (401, True)


async def test_whoever_has_a_token_signs_in_and_out(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    wrong = await browser.sign_in("atoll_wrong")
    assert (wrong.status, "unknown or has expired" in wrong.text) == (401, True)
    page = await browser.sign_in()
    assert (page.status, page.url) == (200, "/")
    assert "signed in with token first admin" in page.text
    cookie = page.history[0].headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Max-Age={SECONDS}" in cookie
    assert "Secure" not in cookie  # this is plain HTTP
    assert node.token not in cookie
    assert (await browser.open("/login")).url == "/"
    out = await browser.send("/logout", [])
    assert out.url == "/login"
    assert (await browser.open("/")).url == "/login"


async def test_cookies_are_for_https_only_where_a_trusted_proxy_says_that_it_came_by_it(start, monkeypatch):
    headers = {"X-Forwarded-Proto": "https"}
    monkeypatch.setenv("ATOLL__HTTP__TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1")
    (behind,) = await start("behind")
    monkeypatch.delenv("ATOLL__HTTP__TRUSTED_PROXIES")
    (bare,) = await start("bare")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{behind.url}/login", headers=headers) as response:
            assert "Secure" in response.headers["Set-Cookie"]
        async with session.get(f"{bare.url}/login", headers=headers) as response:
            assert "Secure" not in response.headers["Set-Cookie"]  # anybody can say so


async def test_a_revoked_token_ends_the_session(start, visitor):
    (node,) = await start("node")
    made = await node.client.create_token("short", ("read",), 1)
    browser = await visitor(node)
    await browser.sign_in(made.secret)
    assert (await browser.open("/")).url == "/"
    await node.client.revoke_token(made.token.id)
    assert (await browser.open("/")).url == "/login"


@pytest.mark.parametrize("token", ["", "0" * 64, "ü"])
async def test_no_form_is_taken_that_this_browser_was_not_shown(start, visitor, token):
    (node,) = await start("node")
    browser = await visitor(node)
    await browser.open("/login")
    assert (await browser.send("/login", [("token", node.token)], token=token)).status == 403
    await browser.sign_in()
    foreign = await visitor(node)
    theirs = (await foreign.sign_in()).form_token
    for path, fields in (("/search", [("words", "digits")]), ("/logout", [])):
        for wrong in (token, theirs):
            page = await browser.send(path, fields, token=wrong)
            assert (page.status in (400, 403), page.url) == (True, path)
            await browser.open("/")
    assert "signed in" in (await browser.open("/")).text


async def test_of_a_form_no_more_is_taken_than_its_page_sends(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    await browser.sign_in()
    empty = [("name", " ")]  # which is a fault of the field, where the form is taken
    for more, status in (
        ([("x", "x" * (MAX_SMALL_FORM - 200))], 422), ([("x", "x" * MAX_SMALL_FORM)], 400),
        ([("x", "x")] * (MAX_SMALL_FIELDS - 2), 422), ([("x", "x")] * MAX_SMALL_FIELDS, 400),
    ):  # fmt: skip
        await browser.open("/federations")
        assert (await browser.send("/federations", [*empty, *more])).status == status, len(more)


async def test_attempts_to_sign_in_are_few(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    for _ in range(int(SIGN_INS[1])):
        assert (await browser.sign_in("atoll_wrong")).status == 401
    page = await browser.sign_in()
    assert (page.status, page.url) == (429, "/login")


async def test_a_page_elsewhere_spends_nobodys_attempts_to_sign_in(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    await browser.open("/login")
    for _ in range(int(SIGN_INS[1]) + 1):
        assert (await browser.send("/login", [("token", "atoll_wrong")], token="0" * 64)).status == 403
    assert (await browser.sign_in()).status == 200


async def test_who_signs_in_again_has_one_session(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    page = await browser.sign_in()
    assert (await browser.send("/login", [("token", node.token)], token=page.form_token)).status == 200
    assert node.node.sessions.of_tokens(0).total() == 1


async def test_a_session_reads_through_the_api_and_does_nothing_else(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    token = (await browser.sign_in()).form_token
    assert (await browser.open("/api/v1/peers")).status == 200
    for path in ("/api/v1/tokens", "/api/v1/backup", "/api/v1/audit"):
        page = await browser.open(path)
        assert (page.status, json.loads(page.body)["code"]) == (403, "auth.scope")
    async with browser.session.post(f"{node.url}/api/v1/searches", json={}) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (403, "auth.forged")
    headers = {"X-CSRF-Token": token}
    async with browser.session.post(f"{node.url}/api/v1/searches", json={}, headers=headers) as response:
        assert response.status == 200
        found = await response.json()
    assert (await browser.open(f"/api/v1/searches/{found['search_id']}/events")).status == 200
