"""A search that streams into a browser from three nodes, each a process: the death of one of them, and of the
connection, cost nothing but what only the dead could say."""

import asyncio
import re
import signal
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from browser import CHROMIUM, sign_in
from playwright.async_api import expect

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(240),
]
LONG = {"ATOLL__SEARCH__DEADLINE_MS": "30000"}  # what happens in it ends it, not the clock


@pytest.fixture
async def three(processes):
    """The first knows all of them."""
    return await processes({"Asked House": (0, 1), "First House": (2, 3), "Second House": (4, 5)}, LONG)


class Cable:
    """Between a browser and a node: it can be cut and mended. ``resumed`` are the ids after which streams went on."""

    def __init__(self, url):
        self._host, port = re.fullmatch(r"http://(.+):(\d+)", url).groups()
        self._port, self._whole = int(port), True
        self._ends, self.resumed = set(), []

    async def carry(self, reader, writer):
        if not self._whole:
            writer.close()
            return
        there, back = await asyncio.open_connection(self._host, self._port)
        self._ends |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._one_way(reader, back))
                group.create_task(self._one_way(there, writer))
        finally:
            writer.close()
            back.close()
            self._ends -= {writer, back}

    def cut(self):
        self._whole = False
        for end in list(self._ends):
            end.transport.abort()

    def mend(self):
        self._whole = True

    async def _one_way(self, source, sink):
        try:
            while piece := await source.read(65_536):
                self.resumed += [int(id_) for id_ in re.findall(rb"(?i)last-event-id: (\d+)", piece)]
                sink.write(piece)
                await sink.drain()
            sink.close()
        except ConnectionError:
            sink.transport.abort()


@asynccontextmanager
async def cable(url):
    """(a cable to the node there, the address of its near end)."""
    made = Cable(url)
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    try:
        yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        made.cut()


async def begin(page, rows):
    await page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": rows})
    await page.click("#go")


async def found(page):
    """What each hit says of its distance, by the hit, in order, once the search has ended."""
    await page.wait_for_selector("html[data-search=ended]", state="attached", timeout=60_000)
    return await page.locator("#hits .hit").evaluate_all(
        "hits => hits.map(hit => [hit.querySelector('h4 bdi').textContent, hit.querySelector('.near').textContent])"
    )


async def in_the_middle(page):
    """Some of the hits are there, and an owner is waited for."""
    await page.wait_for_selector("#hits.arriving", timeout=60_000)  # not those of the search before
    await expect(page.locator("#hits .hit")).to_have_count(3)
    await expect(page.locator(".peers .answered")).to_have_count(2)
    await expect(page.locator(".peers .waiting")).to_have_text(re.compile("Second House"))


async def test_the_death_of_an_owner_in_the_middle_takes_only_its_own_answer(three, page, csv):
    asked, _, dying = three
    rows = csv(0, 1, 2, 3, 4, 5)
    await sign_in(page, SimpleNamespace(url=asked.endpoint.url, token=asked.token))
    await begin(page, rows)
    undisturbed = await found(page)
    assert len(undisturbed) == 3
    assert all("exact" in told for _, told in undisturbed)
    dying.process.send_signal(signal.SIGSTOP)
    await begin(page, rows)
    await in_the_middle(page)
    dying.process.kill()
    await dying.process.wait()
    after = await found(page)
    await expect(page.locator(".peers .failed")).to_contain_text("Second House did not answer")
    await expect(page.locator("#results .advice").first).to_contain_text("1 owner did not answer: Second House")
    lost = "Digits 4 5"
    assert dict(after).keys() == dict(undisturbed).keys()
    assert [hit for hit in after if hit[0] != lost] == [hit for hit in undisturbed if hit[0] != lost]
    assert "estimated from its sketch" in dict(after)[lost]


async def test_a_search_whose_connection_dies_goes_on_after_the_last_event_that_came(three, page, csv):
    asked, _, slow = three
    rows = csv(0, 1, 2, 3, 4, 5)
    async with cable(asked.endpoint.url) as (wire, url):
        await sign_in(page, SimpleNamespace(url=url, token=asked.token))
        await begin(page, rows)
        undisturbed = await found(page)
        assert wire.resumed == []
        slow.process.send_signal(signal.SIGSTOP)
        await begin(page, rows)
        await in_the_middle(page)
        wire.cut()
        await expect(page.locator("#status")).to_have_text("The connection is lost; trying again…")
        slow.process.send_signal(signal.SIGCONT)  # it answers while nobody listens
        wire.mend()
        assert await found(page) == undisturbed
        assert len(wire.resumed) == 1
        assert wire.resumed[0] >= 6  # the plan, three hits from sketches, two owners
