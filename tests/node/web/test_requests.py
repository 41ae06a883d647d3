"""Requests: who asked, what for and why; granted, denied and taken back as by the API."""

import asyncio
import re
from datetime import UTC, datetime

import msgspec
import pytest
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.policy.asked import Asked
from atoll.protocol.ask import ActState
from atoll.protocol.policy import Policy, Rule
from browser import CHROMIUM, choose, serious, sign_in

browsing = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
WORDS = "for <b>our</b> ward \u202e round"


@pytest.fixture
async def asked_for(federated, publish, changed):
    """``owner, asker, learnware``: the asker has asked for predictions and for the model."""
    (owner, asker), federation = await federated("Owner House", "Asking House")
    learnware = await publish(owner, federation, Policy(predict=Rule("ask"), download=Rule("ask")), 0, 1)
    raw = bytes.fromhex(federation)
    await changed(asker, lambda: asker.node.catalogue.of_owner(raw, owner.node.identity.public))
    await asker.client.ask(learnware, ("predict", "download"), WORDS)
    return owner, asker, learnware


async def test_a_grant_lets_the_others_predict_and_taking_it_back_ends_that(asked_for, visitor, digits):
    owner, asker, learnware = asked_for
    browser = await visitor(owner)
    await browser.sign_in()
    page = await browser.open("/dock")
    assert 'Requests <span class="badge warn">2</span>' in page.body
    page = await browser.open("/requests")
    assert "Waiting 2" in page.text
    assert "Asking House" in page.text
    assert "Digits 0 1" in page.text
    assert "for &lt;b&gt;our&lt;/b&gt; ward" in page.body
    assert "<b>our" not in page.body
    assert "cannot be recalled" in page.text  # where the model itself is asked for
    request, model = sorted(await owner.client.requests(), key=lambda each: each.act != "predict")
    rows = digits.of(0, 1)

    async def predicted():
        found = await asker.client.search_rows(rows)
        try:
            return learnware in (await asker.client.predict(found.search_id, rows, force=True, send=True)).places
        except AtollError:
            return False

    assert not await predicted()
    assert (await browser.send(f"/requests/{request.id}/grant", [("days", "3")], token="0" * 40)).status == 403
    for days in ("", "0", "4000", "1e3"):
        await browser.open("/requests")
        assert (await browser.send(f"/requests/{request.id}/grant", [("days", days)])).status == 400
    await browser.open("/requests")
    page = await browser.send(f"/requests/{request.id}/grant", [("days", "3"), ("group", "pending")])
    assert page.url == "/requests"
    assert "Granted" in page.text
    assert "Waiting 1" in page.text
    assert "In force 1" in page.text
    assert f'id="request-{request.id}"' in page.body  # it is in the list on which one lands
    assert f'id="request-{model.id}"' not in page.body
    assert await predicted()
    page = await browser.send(f"/requests/{model.id}/deny", [])
    assert "Denied" in page.text
    assert "badge warn" not in page.body.partition("<main")[0]
    page = await browser.open("/requests?state=granted")
    assert "holds until" in page.text
    assert "Take it back" in page.text
    page = await browser.send(f"/requests/{request.id}/revoke", [("group", "granted")])
    assert "It ends at once" in page.text
    assert f'id="request-{request.id}"' in page.body
    assert not await predicted()
    assert (await browser.send("/requests/nothing/deny", [])).status == 404


async def test_the_log_says_whose_request_was_decided_for_what_and_until_when(asked_for, visitor):
    owner, asker, learnware = asked_for
    browser = await visitor(owner)
    await browser.sign_in()
    request, model = sorted(await owner.client.requests(), key=lambda each: each.act != "predict")
    await browser.open("/requests")
    await browser.send(f"/requests/{request.id}/grant", [("days", "3")])
    await browser.send(f"/requests/{model.id}/deny", [])
    await browser.send(f"/requests/{request.id}/revoke", [])
    await owner.client.grant(request.id, 3)
    rows = [(row.act, row.subject["id"], row.subject["act"], row.subject.get("until", ""), row.subject)
            for row in (await owner.client.audit()).items
            if row.act.startswith("request.") and row.outcome == "done"]  # fmt: skip
    assert [row[:3] for row in rows] == [
        ("request.grant", request.id, "predict"), ("request.deny", model.id, "download"),
        ("request.revoke", request.id, "predict"), ("request.grant", request.id, "predict"),
    ]  # fmt: skip
    (granted,) = [each for each in await owner.client.requests() if each.id == request.id]
    until = datetime.fromtimestamp(granted.until / 1000, UTC)
    assert rows[3][3] == f"{until:%Y-%m-%d %H:%M} UTC"
    assert [bool(row[3]) for row in rows] == [True, False, False, True]
    whose = {"peer": asker.node.identity.peer, "learnware": learnware, "federation": request.federation}
    assert all(row[4].items() >= whose.items() for row in rows)


async def test_whoever_asks_is_led_to_the_learnwares_that_are_given_on_request(asked_for, visitor):
    _, asker, learnware = asked_for
    browser = await visitor(asker)
    await browser.sign_in()
    page = await browser.open("/requests")
    assert "Nobody has asked for anything yet" in page.text
    assert f'href="/learnwares/{learnware}"' in page.body
    assert "Predict, Download" in page.text


async def test_what_was_asked_of_others_is_kept_with_what_the_owner_has_said_of_it(asked_for, visitor):
    owner, asker, learnware = asked_for
    browser = await visitor(asker)
    await browser.sign_in()
    asked = (await browser.open("/requests")).text.partition("What you ask of others")[2]
    assert "Owner House: Digits 0 1 waiting Predict asked" in asked
    assert "waiting Download asked" in asked
    predict, _ = sorted(await owner.client.requests(), key=lambda each: each.act != "predict")
    await owner.client.grant(predict.id, 3)

    address = f"/learnwares/{learnware}/ask?owner={owner.node.identity.peer}"
    page = await browser.send(address, [("back", "requests")])
    assert page.url == "/requests"
    asked = page.text.partition("What you ask of others")[2]
    assert "granted Predict asked" in asked
    assert "holds until" in asked
    assert "waiting Download asked" in asked

    again = Asked(asker.node.store).all()  # as after a restart
    assert {(row.act, row.state) for row in again} == {("predict", "granted"), ("download", "pending")}


async def test_all_that_was_asked_of_others_is_shown_page_by_page(asked_for, visitor):
    _, asker, learnware = asked_for
    one, kept = asker.node.catalogue.find(bytes.fromhex(learnware), now_ms()), asker.node.asked
    for number in range(30):
        other = msgspec.structs.replace(one, learnware_id=bytes([number]) * 32)
        kept.note(other, "token", ("predict",), (ActState("predict", "pending"),), 1000 + number)
    browser = await visitor(asker)
    await browser.sign_in()
    first = await browser.open("/requests")
    assert "1 to 25 of 31" in first.text
    second = await browser.open("/requests?asked=2")
    assert "26 to 31 of 31" in second.text
    asked = first.body.partition('id="others"')[2] + second.body.partition('id="others"')[2]
    assert len(set(re.findall(r'href="/learnwares/(\w{64})', asked))) == 31


async def test_the_page_of_what_was_asked_for_asks_its_owner_once_when_it_is_opened(asked_for, visitor):
    owner, asker, learnware = asked_for
    browser = await visitor(asker)
    await browser.sign_in()
    predict, model = sorted(await owner.client.requests(), key=lambda each: each.act != "predict")
    await owner.client.grant(predict.id, 3)
    page = await browser.open(f"/learnwares/{learnware}")
    assert "granted to your node until" in page.text
    assert "Try it" in page.text
    await owner.client.deny(model.id)
    page = await browser.open(f"/learnwares/{learnware}")
    assert "asked, not answered yet" in page.text  # it does not ask again at once
    done = [row for row in (await asker.client.audit()).items if row.act == "learnware.ask" and row.outcome == "done"]
    assert len(done) == 2  # the request, and the question how it stands
    whose = {"owner": owner.node.identity.peer, "federation": predict.federation, "acts": "predict, download"}
    assert whose.items() <= done[0].subject.items()


async def test_who_was_denied_may_ask_again_and_what_is_for_all_by_now_needs_no_grant(asked_for, visitor, changed):
    owner, asker, learnware = asked_for
    for each in await owner.client.requests():
        await owner.client.deny(each.id)
    browser = await visitor(asker)
    await browser.sign_in()
    page = await browser.open(f"/learnwares/{learnware}")
    assert "denied" in page.text
    assert "Try it" not in page.text
    assert "Ask its owner" in page.text
    listed = asker.node.catalogue.find(bytes.fromhex(learnware), now_ms())
    await owner.client.publish(
        learnware, listed.federation.hex(), Policy(predict=Rule("members"), download=Rule("ask"))
    )

    def told():
        return asker.node.catalogue.find(listed.learnware_id, now_ms()).offers.predict == "members"

    await changed(asker, told)
    stranger = await visitor(asker)
    await stranger.sign_in((await asker.client.create_token("other", ("read", "predict"), None)).secret)
    assert "Try it" in (await stranger.open(f"/learnwares/{learnware}")).text


async def test_a_grant_that_was_taken_back_is_gone_when_the_page_is_opened_later(asked_for, visitor, monkeypatch):
    owner, asker, learnware = asked_for
    predict, _ = sorted(await owner.client.requests(), key=lambda each: each.act != "predict")
    await owner.client.grant(predict.id, 3)
    browser = await visitor(asker)
    await browser.sign_in()
    assert "Try it" in (await browser.open(f"/learnwares/{learnware}")).text
    await owner.client.revoke_grant(predict.id)
    monkeypatch.setattr("atoll.node.web.learnwares.kept.AGAIN", 0)  # minutes later

    page = await browser.open(f"/learnwares/{learnware}")

    assert "Try it" not in page.text
    asks = [row for row in (await asker.client.audit()).items if row.act == "learnware.ask" and row.outcome == "done"]
    assert len(asks) == 3  # the request, and twice how it stands


async def test_what_was_granted_is_offered_wherever_the_learnware_is_found(asked_for, visitor):
    owner, asker, learnware = asked_for
    predict, _ = sorted(await owner.client.requests(), key=lambda each: each.act != "predict")
    browser = await visitor(asker)
    await browser.sign_in()

    async def said():
        found = await browser.search(("words", "digits"))
        shelf = await browser.open("/learnwares?may=predict")
        (hit,) = (await asker.client.search(semantic="digits")).hits
        return "You may have its owner predict your rows." in found.text, learnware in shelf.body, "predict" in hit.may

    assert await said() == (False, False, False)
    await owner.client.grant(predict.id, 3)
    await asker.client.ask(learnware)  # how does it stand
    assert await said() == (True, True, True)
    await owner.client.revoke_grant(predict.id)
    await asker.client.ask(learnware)
    assert await said() == (False, False, False)


async def test_an_owner_that_is_away_keeps_no_page_waiting_and_what_it_said_is_shown(asked_for, visitor):
    owner, asker, learnware = asked_for
    await owner.node.network.aclose()
    browser = await visitor(asker)
    await browser.sign_in()
    async with asyncio.timeout(8):
        page = await browser.open(f"/learnwares/{learnware}")
    assert "asked, not answered yet" in page.text


@browsing
async def test_requests_are_for_everybody_and_fit_narrow_screens(asked_for, page):
    owner, *_ = asked_for
    await sign_in(page, owner)
    await page.goto(f"{owner.url}/requests")
    await page.locator(".granting summary").first.click()
    for scheme in ("light", "dark"):
        await choose(page, scheme=scheme)
        assert await serious(page) == []
    await page.set_viewport_size({"width": 360, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
