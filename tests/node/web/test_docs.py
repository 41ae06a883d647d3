"""The documentation as a visitor reads it: open to all, linked, in both languages, and no wider than a phone."""

import re

import pytest
from atoll.node.docs import contents
from browser import CHROMIUM, choose, serious


async def test_the_contents_lead_to_every_page_and_each_page_to_its_neighbours(start, visitor):
    (running,) = await start("node")
    reader = await visitor(running)
    index = await reader.open("/docs")
    names = re.findall(r'href="/docs/([a-z-]+)"', index.body)
    assert names == [page.name for page in contents.PAGES]
    for place, name in enumerate(names):
        page = await reader.open(f"/docs/{name}")
        assert page.status == 200
        assert len(page.body.encode()) < 110_000, name
        assert page.body.count("<h1") == 1
        following = re.findall(r'rel="next" href="/docs/([a-z-]+)"', page.body)
        assert following == names[place + 1 : place + 2]
        ids = re.findall(r' id="([^"]+)"', page.body)
        assert len(ids) == len(set(ids)), name
        for within in re.findall(r'href="#([^"]+)"', page.body):
            assert within in ids, f"{name}#{within}"
        for other in re.findall(r'href="/docs/([a-z-]+)[#"]', page.body):
            assert other in names, f"{name} leads to {other}"


async def test_the_quick_starts_and_concepts_speak_chinese_and_other_pages_say_that_they_are_english(start, visitor):
    (running,) = await start("node")
    reader = await visitor(running)
    await reader.open("/docs")
    page = await reader.send("/language", [("language", "zh"), ("next", "/docs/start-data-user")])
    assert '<html lang="zh">' in page.body
    assert '<article class="prose" lang="zh">' in page.body
    assert "数据用户入门" in page.text
    page = await reader.open("/docs/concepts")
    assert '<article class="prose" lang="zh">' in page.body
    assert "规约岛" in page.text
    page = await reader.open("/docs/search")
    assert '<article class="prose" lang="en">' in page.body
    assert "本页为英文。" in page.text


async def test_a_page_that_is_none_is_not_found(start, visitor):
    (running,) = await start("node")
    reader = await visitor(running)
    for name in ("none", "..%2Fconcepts", "zh", "generated"):
        assert (await reader.open(f"/docs/{name}")).status == 404


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
async def test_nothing_serious_is_found_and_nothing_sticks_out_on_a_phone(start, page):
    (running,) = await start("node")
    for path in ("/docs", "/docs/what-leaves"):
        await page.set_viewport_size({"width": 1200, "height": 800})
        await page.goto(running.url + path)
        await choose(page, "en", "light" if path == "/docs" else "dark")
        assert await serious(page) == []
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
