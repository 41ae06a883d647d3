"""What tests of pages do in a real browser, and what it was started with."""

import shutil

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DROP = """([name, text]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([text], name, {type: "text/csv"}));
    for (const kind of ["dragenter", "dragover", "drop"])
        document.getElementById("drop").dispatchEvent(
            new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: carried}));
}"""


async def tab_to(page, selector):
    """Press Tab until that has the focus."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no way to {selector} by keyboard")


async def sign_in(page, running):
    await page.goto(running.url)
    await expect(page.locator("input[name=token]")).to_be_focused()  # by itself, with the first frame that is drawn
    await page.keyboard.type(running.token)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{running.url}/")


async def choose(page, language=None, scheme=None):
    """Go on in that language ("en", "zh") and colour scheme ("light", "dark"), on the same page."""
    if scheme is not None:
        await page.emulate_media(color_scheme=scheme)
    if language is not None and await page.get_attribute("html", "lang") != language:
        await page.click(f".speak button[value={language}]")
        await page.wait_for_selector(f"html[lang={language}]", state="attached")


async def serious(page, *rules):
    """What axe finds on the page that is serious or worse, by these rules or all: (rule, what it is on)."""
    found = await Axe().run(page, options={"runOnly": list(rules)} if rules else {})
    return [
        (each["id"], [node["target"] for node in each["nodes"]])
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
