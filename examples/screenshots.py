"""Takes the pictures of the README anew: the demo's three nodes in a browser, in both languages and colour schemes.

``python examples/screenshots.py``; needs the extra ``test`` (Playwright) and Chromium (``--browser`` says where).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent / "screenshots"
NODE = re.compile(r"^(.+): (http://\S+)  token (\S+)")
SECONDS = 180.0
WIDE, PHONE = {"width": 1200, "height": 760}, {"width": 390, "height": 760}


@asynccontextmanager
async def demo() -> AsyncIterator[list[tuple[str, str]]]:
    """(address, token) of each node of a demo that is kept until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atoll.node.cli", "demo", "--keep", stdout=PIPE
    )
    try:
        async with asyncio.timeout(SECONDS):
            yield [(found[2], found[3]) for found in [match async for match in _nodes(process)]]
    finally:
        process.terminate()
        await process.wait()


async def _nodes(process: Process) -> AsyncIterator[re.Match[str]]:
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if found := NODE.match(line):
            yield found
        if line.startswith("Try:"):
            return


def rows() -> bytes:
    """Digits 2 to 5, as somebody has them who wants to know what they are."""
    data = load_digits()
    wanted = data.data[(data.target >= 2) & (data.target <= 5)][-300:]
    header = ",".join(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    return "\n".join([header, *(",".join(f"{value:g}" for value in row) for row in wanted)]).encode()


async def sign_in(page: Page, url: str, token: str) -> None:
    await page.goto(f"{url}/login")
    await page.fill("#token", token)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{url}/")


async def search(page: Page, url: str) -> None:
    """By rows, until all owners have answered."""
    await page.goto(f"{url}/")
    await page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": rows()})
    await page.click("#go")
    await page.wait_for_selector("html[data-search=ended]", state="attached", timeout=60_000)


async def take(page: Page, name: str, scheme: str = "light", at: str = "body") -> None:
    """What is to be seen from that element on."""
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await page.locator(at).first.evaluate("element => element.scrollIntoView()")
    FOLDER.mkdir(exist_ok=True)
    await page.screenshot(path=FOLDER / f"{name}.png")
    print(FOLDER / f"{name}.png")


async def pictures(page: Page, url: str) -> None:
    await search(page, url)
    await take(page, "search", at="#results")
    found = page.url
    await page.goto(f"{url}{await page.get_attribute('.hit h4 a', 'href')}")
    await take(page, "learnware", at="#specification")
    await page.goto(f"{url}/network")
    await take(page, "network", "dark", at="#map")
    await page.goto(f"{url}/dock")
    await page.click("tbody th a")
    await page.click("a[href*='/policies/']")
    await page.check("input[name=predict][value=ask]")
    await page.wait_for_selector(".changed")
    await take(page, "policy")
    await page.goto(f"{url}/admin")
    await take(page, "admin", "dark")
    await page.set_viewport_size(PHONE)
    await page.goto(found)
    await page.click(".speak button[value=zh]")
    await take(page, "phone-zh", at="#results")


async def run(browser: str) -> None:
    async with demo() as nodes, async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = await chromium.new_page(viewport=WIDE)
        await sign_in(page, *nodes[0])
        await pictures(page, nodes[0][0])
        await chromium.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default=shutil.which("chromium"), help="Chromium's executable")
    asyncio.run(run(parser.parse_args().browser))
