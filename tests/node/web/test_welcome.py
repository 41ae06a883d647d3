"""The first visit: from an empty node to a search hit and a prediction, and nothing of it left."""

import asyncio
import re

import pytest
from atoll.node.web.welcome.example import Stands
from atoll.protocol.listings import Offers
from msgspec import structs


@pytest.fixture
async def newcomer(start, visitor):
    (running,) = await start("Empty House")
    browser = await visitor(running)
    await browser.sign_in()
    return browser


async def made(browser):
    """The page once the example is there."""
    await browser.open("/welcome")
    page = await browser.send("/welcome/make", [])
    assert page.url == "/welcome"
    stream = await browser.open("/welcome/events")
    assert "event: end" in stream.body
    return await browser.open("/welcome")


async def test_an_empty_node_shows_the_whole_way_by_a_real_example_and_removes_it(newcomer, publish):
    node = newcomer.running.node
    page = await newcomer.open("/")
    assert 'href="/welcome"' in page.body
    page = await newcomer.open("/welcome")
    assert "First put the models into the dock." in page.text
    page = await made(newcomer)
    for name in ("Digits 0 to 4", "Digits 5 to 9", "Wine cultivars"):
        assert name in page.text
    assert "First search with the sample." in page.text
    measured = {each.manifest.semantic.name: each.row.quality for each in node.dock.all()}
    assert all(each is not None and each.metric == "accuracy" and each.value > 0.8 for each in measured.values())
    assert re.search(r"accuracy \d+\.\d%", (await newcomer.open("/dock")).text)
    await newcomer.open("/welcome")
    page = await newcomer.send("/welcome/find", [])
    search = re.fullmatch(r"/searches/(\w+)", page.url)[1]
    assert ("Digits 0 to 4" in page.text, "Digits 5 to 9" in page.text) == (True, True)
    assert "Wine" not in page.text
    page = await newcomer.open("/welcome")
    assert f'href="/searches/{search}/predict"' in page.body
    sample = (await newcomer.open("/welcome/sample.csv")).body.splitlines()
    labelled = (await newcomer.open("/welcome/labelled.csv")).body.splitlines()
    assert (len(sample), len(labelled)) == (598, 101)
    assert labelled[0] == f"{sample[0]},digit"
    await newcomer.open("/welcome")
    page = await newcomer.send("/welcome/plan", [])
    assert re.fullmatch(r"/reuses/\w+", page.url), page.text
    assert "The plan for 597 rows" in page.text
    await newcomer.send(f"{page.url}/start", [])
    await newcomer.open(f"{page.url}/events")
    page = await newcomer.open(page.url)
    assert "Predictions for 597 rows" in page.text
    (federation,) = node.federations.all()
    assert (federation.charter.name, federation.charter.open) == ("Example", False)
    own = await publish(newcomer.running, federation.id.hex(), Offers(), 1, 2)
    rows = (await newcomer.running.client.audit(0, 1000)).items
    done = {row.act for row in rows if row.outcome == "done"}
    assert {"federation.create", "island.add", "learnware.submit", "learnware.publish"} <= done
    await newcomer.open("/welcome")
    page = await newcomer.send("/welcome/remove", [])
    assert "Its federation stays" in page.text
    assert [each.id.hex() for each in node.dock.all()] == [own]
    await newcomer.running.client.remove_learnware(own)
    page = await newcomer.send("/welcome/remove", [])
    assert "The example is removed" in page.text
    assert (node.federations.all(), node.dock.all()) == ([], [])


async def test_what_has_the_name_of_the_example_is_not_removed_with_it(newcomer, publish, monkeypatch):
    running = newcomer.running
    namesake = await running.client.create_federation("Example")
    own = await publish(running, namesake.id, Offers(), 1, 2)
    await made(newcomer)
    hosted = running.node.dock.all()
    assert len(hosted) == 4
    revised = [structs.replace(each, row=structs.replace(each.row, revision=bytes(32))) for each in hosted]
    with monkeypatch.context() as patch:  # as if somebody had made revisions of them
        patch.setattr(running.node.dock, "all", lambda: revised)
        assert (await asyncio.to_thread(running.node.example.made, running.node)).learnwares == ()
    page = await newcomer.send("/welcome/remove", [])
    assert "The example is removed" in page.text
    assert [each.id.hex() for each in running.node.dock.all()] == [own]
    assert [each.id.hex() for each in running.node.federations.all()] == [namesake.id]


async def test_who_comes_again_after_a_break_is_told_how_far_it_is_at_once(newcomer):
    example = newcomer.running.node.example
    example._tell(Stands(True, ("trained",), ""))
    address, sent = newcomer.running.url + "/welcome/events", {"Last-Event-ID": "3"}
    async with newcomer.session.get(address, headers=sent) as stream:
        assert b"event: part" in await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 10)
        example._tell(Stands(False, ("trained",), ""))
        assert b"event: end" in await stream.read()


async def test_what_goes_wrong_is_told_and_can_be_tried_again(newcomer, monkeypatch):
    from atoll.engine.errors import PrivacyRefusal
    from atoll.node.demo import market

    def refuses(*_):
        raise PrivacyRefusal("kept in for this test")

    with monkeypatch.context() as patch:
        patch.setattr(market, "packed", refuses)
        page = await made(newcomer)
        assert "kept in for this test" in page.text
    page = await made(newcomer)
    assert "Wine cultivars" in page.text
    assert len(newcomer.running.node.federations.all()) == 1


async def test_only_an_administrator_makes_the_example(newcomer, visitor):
    publisher = await visitor(newcomer.running)
    await publisher.sign_in((await newcomer.running.client.create_token("p", ("read", "publish"), 1)).secret)
    assert (await publisher.open("/welcome")).status == 403
    await publisher.open("/publish")
    assert (await publisher.send("/welcome/make", [])).status == 403
    await newcomer.open("/welcome")
    assert (await newcomer.send("/welcome/plan", [])).status == 400
    assert (await newcomer.open("/welcome/other.csv")).status == 404
