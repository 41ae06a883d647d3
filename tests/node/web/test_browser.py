"""The page in a real browser: by keyboard, with a dropped file, while results stream in."""

import asyncio
import re

import pytest
from browser import CHROMIUM, DROP, sign_in, tab_to
from playwright.async_api import expect

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


async def test_by_keyboard_alone_one_signs_in_searches_by_words_and_signs_out(two, page):
    (asked, _), *_ = two
    await sign_in(page, asked)
    await tab_to(page, "#words")
    await page.keyboard.type("digits 2")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("html[data-search=ended]", state="attached")
    await expect(page.locator(".hit h4 bdi", has_text="Digits 2 3")).to_have_count(1)
    assert re.fullmatch(rf"{asked.url}/searches/\w+", page.url)
    await tab_to(page, ".tags summary")
    await page.keyboard.press("Enter")
    await tab_to(page, "input[value=Regression]")
    await page.keyboard.press("Space")
    await expect(page.locator("#chosen")).to_have_text("1 chosen")
    await tab_to(page, "#go")
    await page.keyboard.press("Enter")
    await expect(page.locator("#results h2")).to_have_text("No learnwares")
    await tab_to(page, ".who button")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{asked.url}/login")


async def test_a_dropped_file_is_searched_by_and_hits_stream_in_before_all_have_answered(two, page, held, csv):
    (asked, other), *_ = two
    let = held(other)
    await sign_in(page, asked)
    await page.evaluate(DROP, ["rows.csv", csv(0, 2).decode()])
    await expect(page.locator("#drop")).to_have_class(re.compile("filled"))
    await page.click("#go")
    await expect(page.locator("#hits .hit")).to_have_count(2, timeout=60_000)
    assert await page.locator("html[data-search=ended]").count() == 0
    await expect(page.locator("#results .leaves").first).to_contain_text("goes to Other House")
    await expect(page.locator(".peers .waiting, .peers .failed")).to_contain_text("Other House")
    await expect(page.locator("#results .advice")).to_contain_text("1 owner did not answer: Other House")
    await page.wait_for_selector("html[data-search=ended]", state="attached")
    await expect(page.locator(".peers .failed")).to_contain_text("did not answer")
    await asyncio.to_thread(let.set)
    assert await page.locator("svg.picture g").count() >= 2
    before = await page.locator("svg.picture circle").count()
    assert before > 20
    await page.locator(".choose input:checked").first.focus()
    await page.keyboard.press("Space")
    await expect(page.locator("svg.picture circle")).not_to_have_count(before)
    await expect(page.locator(".kept")).to_contain_text("points for")


async def test_faults_come_to_the_field_and_take_the_focus(two, page, csv):
    (asked, _), *_ = two
    await sign_in(page, asked)
    await page.click("#go")
    await expect(page.locator("#words-error")).to_contain_text("Say what you are looking for")
    assert await page.evaluate("document.activeElement.id") == "words"
    assert await page.get_attribute("#words", "aria-invalid") == "true"
    await page.evaluate(DROP, ["rows.csv", csv(0, 2).decode().replace("\n0,", "\nx,", 1)])
    await page.click("#go")
    await expect(page.locator("#file-error")).to_contain_text("Line 2, column pixel_00: 'x' is not", timeout=60_000)
    assert await page.text_content("#words-error") == ""


# What of the choice of what may leave lies on the screen, and under something else.
COVERED = """[...document.querySelectorAll(".privacy b, .privacy .help")].filter((part) => {
  const { left, top, right, bottom } = part.getBoundingClientRect();
  const seen = right > left && top >= 0 && bottom <= innerHeight;
  return seen && !part.contains(document.elementFromPoint(left + 2, bottom - 4));
}).map((part) => part.textContent)"""


@pytest.mark.parametrize("width", [360, 1280])
async def test_nothing_sticks_out_of_narrow_or_wide_screens(two, page, width):
    (asked, _), *_ = two
    await page.set_viewport_size({"width": width, "height": 900})
    await sign_in(page, asked)
    if width == 1280:  # one sees what may leave and the button without scrolling, and nothing lies on either
        assert await page.evaluate("document.getElementById('go').getBoundingClientRect().bottom") <= 900
    assert await page.locator(".privacy b").count() > 0
    assert await page.evaluate(COVERED) == []
    await page.fill("#words", "digits")
    await page.click("#go")
    await page.wait_for_selector("html[data-search=ended]", state="attached")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def plan_by_keyboard(page, rows):
    """From what was found to the plan of a prediction."""
    await tab_to(page, "a[href$='/predict']")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/predict")
    await page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": rows})
    await tab_to(page, "#go")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/reuses/*")


async def search_by(page, rows):
    await page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": rows})
    await page.click("#go")
    await page.wait_for_selector("html[data-search=ended]", state="attached", timeout=60_000)


async def test_by_keyboard_alone_rows_are_predicted_after_the_user_has_agreed(two, page, csv, digits):
    (asked, _), *_ = two
    rows = csv(0, 1, 2, 3)
    await sign_in(page, asked)
    await search_by(page, rows)
    await plan_by_keyboard(page, rows)
    await tab_to(page, ".agree button.main")
    await page.keyboard.press("Enter")  # the browser itself asks for the tick
    assert await page.evaluate("document.activeElement.id") == "send"
    await page.keyboard.press("Space")
    await tab_to(page, ".agree button.main")
    await page.keyboard.press("Enter")
    count = len(digits.of(0, 1, 2, 3).values)
    await expect(page.locator("#reuse h1")).to_have_text(re.compile(f"Predictions for {count} rows"))
    await expect(page).to_have_title(re.compile("Predictions for"))
    async with page.expect_download() as downloading:
        await page.click("text=Save the predictions")
    download = await downloading.value
    assert download.suggested_filename.startswith("predictions-")
    assert len((await asyncio.to_thread((await download.path()).read_text)).splitlines()) == count + 1


async def test_what_is_predicted_is_followed_while_an_owner_is_slow(two, page, held, csv):
    (asked, other), *_ = two
    rows = csv(0, 1, 2, 3)
    await sign_in(page, asked)
    await search_by(page, rows)
    await plan_by_keyboard(page, rows)
    let = held(other)
    await page.check("#send")
    await page.click(".agree button.main")
    await expect(page.locator("#reuse h1")).to_contain_text("Predicting")
    await expect(page.locator("#so-far")).to_be_visible()
    await expect(page.locator(".forget button")).to_have_text("Stop and delete")
    await asyncio.to_thread(let.set)
    await expect(page.locator("#reuse h1")).to_contain_text("Predictions for")
    assert await page.evaluate("document.activeElement.tagName") == "H1"
    await expect(page.locator(".forget button")).to_have_text("Delete rows and predictions")
    await page.click(".forget button")
    await page.wait_for_url("**/searches/*")


async def test_faults_of_a_prediction_come_to_the_field_and_files_stay_chosen(two, page, csv):
    (asked, _), *_ = two
    rows = csv(0, 1)
    await sign_in(page, asked)
    await search_by(page, rows)
    await page.click("a[href$='/predict']")
    await page.click("#go")
    await expect(page.locator("#file-error")).to_contain_text("Give the rows")
    assert await page.evaluate("document.activeElement.id") == "file"
    await page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": rows})
    await page.click(".more summary")
    await page.select_option("#method", "pruning")
    await page.click(".more summary")
    await page.click("#go")
    await expect(page.locator("#method-error")).to_contain_text("learns from labelled rows")
    assert await page.evaluate("document.activeElement.id") == "method"
    await page.select_option("#method", "auto")
    await page.click("#go")
    await page.wait_for_url("**/reuses/*")


@pytest.mark.parametrize("width", [360, 1280])
async def test_nothing_of_a_prediction_sticks_out_of_narrow_or_wide_screens(two, page, csv, width):
    (asked, _), *_ = two
    rows = csv(0, 1)
    await page.set_viewport_size({"width": width, "height": 800})
    await sign_in(page, asked)
    await search_by(page, rows)
    await page.click("a[href$='/predict']")
    await page.click(".more summary")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.set_input_files("#file", {"name": "rows.csv", "mimeType": "text/csv", "buffer": rows})
    await page.check("input[name=runs][value=here]")
    await page.click("#go")
    await page.wait_for_url("**/reuses/*")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.click(".agree button.main")
    await expect(page.locator("#reuse h1")).to_contain_text("Predictions for")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
