"""Every route of the API and every page, for everybody who may come: let in exactly where tests/who_may.py says so."""

import re
from dataclasses import dataclass

import aiohttp
import pytest
from atoll.node.api.auth import FORM_HEADER
from atoll.node.api.server import ROUTES
from atoll.node.clock import now_ms
from atoll.node.store.tokens import SCOPES
from atoll.node.web.failures import kind
from atoll.node.web.routes import PAGES
from who_may import API, WEB

REFUSED = {"auth.required": 401, "auth.scope": 403, "auth.forged": 403}
NEVER = {  # by whoever may, and why
    "POST /login": "it says 401 of what is no token: test_sessions",
    "POST /logout": "it ends the session that it is asked with: test_sessions",
    "POST /welcome/make": "it fits models for a minute: test_welcome",
}
EXPLAINED = ("GET /searches/{id}/predict",)  # says itself what is missing, instead of leading to the door
LACKING = [kind(code).name for code in REFUSED] + ["Predicting takes a token"]  # what pages say of it
ZEROS = {"peer": "12D3KooWGjfPc5wmHm33wCgL8afNLDHCuh24ojhW2mSQQou9Wsai"}
LAST = 14 * 86_400_000


def decisions(table):
    """By "METHOD path"."""
    return {line.strip(): who for who, lines in table.items() for line in lines.split("\n") if line.strip()}


def concrete(path):
    """With ids of what is not there."""
    return re.sub(r"{(\w+)}", lambda match: ZEROS.get(match[1], "0" * 64), path)


@dataclass(frozen=True)
class Caller:
    """``name`` for the failure; ``scopes`` of the token, None for nobody known; how it is shown to the node."""

    name: str
    scopes: frozenset | None
    headers: dict
    cookies: dict
    browser: bool = False
    form: str = ""

    def may(self, who, *, anonymous):
        """Whether a decision lets it in, as far as its scopes go."""
        if who == "anybody":
            return True
        if who == "searcher":
            return anonymous if self.scopes is None else bool(self.scopes & {"read", "admin"})
        return self.scopes is not None and bool(self.scopes & {who, "admin"})


@pytest.fixture
async def node(start, monkeypatch):
    """All of this comes from one address, and is much."""
    monkeypatch.setenv("ATOLL__HTTP__REQUESTS_PER_SECOND", "100000")
    monkeypatch.setenv("ATOLL__HTTP__BURST", "1000000")
    for limit in ("limits.WRONG_TOKENS", "visitors.SEARCHES", "visitors.SIGN_INS"):
        monkeypatch.setattr(f"atoll.node.api.{limit}", (1e6, 1e6))
    return (await start("node"))[0]


def bearers(node):
    """Nobody, a wrong token, an expired one, each single scope."""
    tokens, now = node.node.tokens, now_ms()
    expired, _ = tokens.create("expired", ("admin",), now - 2 * LAST, LAST)
    secrets = {scope: tokens.create(scope, (scope,), now, None)[0] for scope in SCOPES}
    yield Caller("nobody", None, {}, {})
    for name, secret, scopes in (
        ("wrong", "atoll_wrong", None), ("expired", expired, None),
        *((scope, secret, frozenset({scope})) for scope, secret in secrets.items()),
    ):  # fmt: skip
        yield Caller(name, scopes, {"Authorization": f"Bearer {secret}"}, {})


def browsers(node, *, form):
    """Nobody, and whoever is signed in with these scopes; with the token of a form or without."""
    sessions, tokens, now = node.node.sessions, node.node.tokens, now_ms()
    known = "v" * 43
    given = sessions.form_token(known) if form else ""
    yield Caller("nobody", None, {}, {sessions.visitor_cookie: known}, browser=True, form=given)
    for scopes in (("read",), ("read", "predict"), ("read", "publish"), ("admin",)):
        id_ = sessions.open(tokens.create("browser", scopes, now, None)[0], now)
        given = sessions.form_token(id_) if form else ""
        yield Caller(f"browser {scopes}", frozenset(scopes), {}, {sessions.cookie: id_}, browser=True, form=given)


async def test_whoever_may_what_of_the_api_is_let_in_and_nobody_else(node):
    decided = decisions(API)
    assert decided == {
        f"{route.method} {route.path}": route.scope or "anybody" if not route.anonymous else "searcher"
        for route in ROUTES
    }  # a new route needs a decision
    wrong = []
    for anonymous in (False, True):
        node.node.visitors.searching = anonymous
        callers = [*bearers(node), *browsers(node, form=False), *browsers(node, form=True)]
        callers = [each for each in callers if each.scopes is None or not anonymous]  # for others nothing changes
        for route in ROUTES:
            who = decided[f"{route.method} {route.path}"]
            for caller in callers:
                expected = expected_of(caller, who, route.method, anonymous=anonymous)
                found = await asked(node, route, caller)
                if found != expected:
                    wrong.append((route.method, route.path, caller.name, caller.form != "", anonymous, found, expected))
    assert wrong == []


def expected_of(caller, who, method, *, anonymous):
    """The code of the refusal, "" where there is none. A browser that is signed in reads, and searches from a page."""
    if caller.name in ("wrong", "expired") and who != "anybody":
        return "auth.required"
    if caller.may(who, anonymous=anonymous):
        if not caller.browser or caller.scopes is None or who == "anybody":
            return ""
        if who not in ("read", "searcher"):
            return "auth.scope"
        return "auth.forged" if method != "GET" and not caller.form else ""
    return "auth.required" if caller.scopes is None else "auth.scope"


async def asked(node, route, caller):
    """The code of what it says of who asks, "" if nothing; the status is that of the code."""
    headers = {**caller.headers, **({FORM_HEADER: caller.form} if caller.form else {})}
    json = {} if route.body is not None else None
    async with (
        aiohttp.ClientSession(cookies=caller.cookies, headers=headers) as session,
        session.request(route.method, node.url + concrete(route.path), json=json) as response,
    ):
        if response.status < 400 and not route.enveloped:
            return ""
        code = str((await response.json(content_type=None))["code"])
        if route.path == "/beimingwu/auth/login_by_token":  # its body is what is asked
            return ""
        if code in REFUSED and not route.enveloped:
            assert response.status == REFUSED[code]
            assert ("WWW-Authenticate" in response.headers) == (response.status == 401)
        return code if code in REFUSED else ""


async def test_whoever_may_see_and_do_what_of_the_pages_is_let_in_and_nobody_else(node):
    decided, declared = decisions(WEB), {f"{page.method} {page.path}": page.scope for page in PAGES}
    assert set(decided) == set(declared)  # a new page needs a decision
    assert {name: scope for name, scope in declared.items() if scope and decided[name] != scope} == {}
    wrong = []
    for anonymous in (False, True):
        node.node.visitors.searching = anonymous
        for caller in browsers(node, form=True):
            if anonymous and caller.scopes is not None:  # for them nothing changes
                continue
            for name in decided:
                if name in NEVER and caller.may(decided[name], anonymous=anonymous):
                    continue
                status = await visited(node, name, caller)
                found = status if status in ("door", "401", "403") else "in"  # what is not there is said after that
                expected = page_expected(caller, decided[name], name, anonymous=anonymous)
                if found != expected:
                    wrong.append((name, caller.name, anonymous, found, expected))
    assert wrong == []


async def test_no_page_does_anything_that_no_form_of_this_node_has_asked_for(node):
    before, posts = node.node.audit.head(), [name for name in decisions(WEB) if name.startswith("POST ")]
    for caller in browsers(node, form=False):
        answers = {name: await visited(node, name, caller) for name in posts}
        assert {name: status for name, status in answers.items() if status[0] not in "4d"} == {}, caller.name
    assert node.node.audit.head() == before


def page_expected(caller, who, name, *, anonymous):
    """Whoever is not known is sent to the door, and back from there; only what is shown can be come back to."""
    if caller.may(who, anonymous=anonymous):
        return "in"
    if caller.scopes is not None:
        return "403"
    return "door" if name.startswith("GET ") and name not in EXPLAINED else "401"


async def visited(node, name, caller):
    """The status, or "door" for being sent there."""
    method, path = name.split(" ")
    data = {"csrf": caller.form} if method == "POST" else None
    headers = {FORM_HEADER: caller.form} if caller.form and method == "POST" else {}
    async with (
        aiohttp.ClientSession(cookies=caller.cookies, headers=headers) as session,
        session.request(method, node.url + concrete(path), data=data, allow_redirects=False) as response,
    ):
        if response.status == 303 and response.headers["Location"].startswith("/login"):
            return "door"
        assert response.status < 500, name
        text = await response.text() if response.status == 403 else ""
        if text and not any(words in text for words in LACKING):
            return "denied"  # by a policy or a federation: that came after
        return str(response.status)
