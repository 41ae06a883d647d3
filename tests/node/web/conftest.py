"""Browsers without JavaScript: they keep cookies, follow redirects and fill in the forms that they are shown."""

import html
import io
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest
from atoll.protocol.listings import Offers
from browser import ARGUMENTS, CHROMIUM
from playwright.async_api import async_playwright

SHOWN = Offers(disclose="members", predict="members")


@dataclass
class Seen:
    """A page as it came; ``text`` is what a person reads of it."""

    status: int
    url: str
    headers: object
    body: str
    history: tuple

    @property
    def text(self):
        return " ".join(html.unescape(re.sub(r"<[^>]*>", "", self.body)).split())

    @property
    def form_token(self):
        return re.search(r'name="csrf" value="(\w+)"', self.body)[1]


class Visitor:
    """Somebody with a browser, at one node."""

    def __init__(self, running, session):
        self.running, self.session, self.page = running, session, None

    async def open(self, path="/", **arguments):
        return await self._load("GET", path, **arguments)

    async def send(self, path, fields, *, token=None, multipart=False, **arguments):
        """Post a form as the page before would; ``token`` instead of its own."""
        data = aiohttp.FormData(
            default_to_multipart=multipart or path.endswith(("/search", "/predict", "/predictions"))
        )
        if token != "":
            data.add_field("csrf", self.page.form_token if token is None else token)
        for name, value in fields:
            more = {"filename": value[0]} if isinstance(value, tuple) else {}
            data.add_field(name, io.BytesIO(value[1]) if more else value, **more)
        return await self._load("POST", path, data=data, **arguments)

    async def sign_in(self, token=None):
        await self.open("/login")
        return await self.send("/login", [("token", token or self.running.token)])

    async def search(self, *fields, **arguments):
        return await self.send("/search", fields, **arguments)

    async def _load(self, method, path, **arguments):
        async with self.session.request(method, self.running.url + path, **arguments) as response:
            body = (await response.read()).decode()
            self.page = Seen(response.status, response.url.path, response.headers, body, response.history)
        return self.page


@pytest.fixture
async def visitor():
    """``await visitor(running)``: a browser that has never been there."""
    async with AsyncExitStack() as stack:

        async def come(running):
            jar = aiohttp.CookieJar(unsafe=True)
            return Visitor(running, await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar)))

        yield come


@pytest.fixture
async def signed_in(visitor):
    """``await signed_in(running, "read")``: a browser with a token of these scopes, without any: of the admin."""

    async def come(running, *scopes):
        browser = await visitor(running)
        secret = (await running.client.create_token("reading", scopes, None)).secret if scopes else None
        await browser.sign_in(secret)
        return browser

    return come


@pytest.fixture
def anonymous(monkeypatch):
    """Nodes that are started let anybody search."""
    monkeypatch.setenv("ATOLL__SEARCH__ANONYMOUS", "true")


@pytest.fixture
async def two(federated, publish, changed):
    """``(asked, other), federation, learnwares``: each node lists one, which its members may have disclosed."""
    (asked, other), federation = await federated("Asked House", "Other House")
    learnwares = [await publish(asked, federation, SHOWN, 0, 1), await publish(other, federation, SHOWN, 2, 3)]
    owned = bytes.fromhex(federation), other.node.identity.public
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
    return (asked, other), federation, learnwares


@pytest.fixture
def labelled(digits):
    """``labelled(0, 2)``: as ``csv``, some of them, with their digits in a column ``digit`` between the others."""

    def of(*classes, count=60, name="digit"):
        table, labels, file = digits.of(*classes), digits.labels_of(*classes), io.StringIO()
        print(",".join([*table.columns[:5], name, *table.columns[5:]]), file=file)
        for row, label in list(zip(table.values, labels, strict=True))[:count]:
            cells = [f"{value:g}" for value in row]
            print(",".join([*cells[:5], str(label), *cells[5:]]), file=file)
        return file.getvalue().encode()

    return of


@pytest.fixture
def csv(digits):
    """``csv(0, 2)``: a CSV of the digits of these classes."""

    def of(*classes):
        table, file = digits.of(*classes), io.StringIO()
        print(",".join(table.columns), file=file)
        for row in table.values:
            print(",".join(f"{value:g}" for value in row), file=file)
        return file.getvalue().encode()

    return of


@pytest.fixture
async def page(tmp_path):
    """A page of a browser of its own; what it logs as an error fails the test."""
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=CHROMIUM,
            args=list(ARGUMENTS),
            viewport={"width": 1200, "height": 800},
        )
        page, faults = context.pages[0], []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda told: faults.append(told.text) if "Content Security" in told.text else None)
        yield page
        await context.close()
        assert faults == []
