"""My dock and the page of one learnware: counts, states, use, and what is done with them."""

import pytest
from atoll.protocol.listings import Offers
from browser import CHROMIUM, choose, serious, sign_in

browsing = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


async def acts(running, *names):
    """(act, subject) of what the audit log has as done, the oldest first."""
    page = await running.client.audit(limit=200)
    rows = sorted(page.items, key=lambda row: row.seq)
    kept = [(row.act, {k: v for k, v in row.subject.items() if k != "asked"}) for row in rows if row.outcome == "done"]
    return [row for row in kept if row[0] in names]


async def reader(running, *scopes):
    return (await running.client.create_token("reader", scopes or ("read",), None)).secret


async def test_an_empty_dock_says_what_to_do(start, visitor):
    (running,) = await start("Harbour Clinic")
    browser = await visitor(running)
    await browser.sign_in()
    page = await browser.open("/dock")
    assert page.status == 200
    assert "Nothing is hosted here yet" in page.text
    assert 'href="/publish"' in page.body
    assert 'href="/welcome"' in page.body
    other = await visitor(running)
    await other.sign_in(await reader(running))
    page = await other.open("/dock")
    assert "This takes a token with the scope publish." in page.text
    assert ('href="/publish"' in page.body, 'href="/welcome"' in page.body) == (False, False)


async def test_the_dock_counts_what_it_hosts_serves_and_refuses(two, visitor, digits):
    (asked, other), federation, (own, theirs) = two
    browser = await visitor(asked)
    await browser.sign_in()
    await asked.client.search_rows(digits.of(0, 1))
    found = await other.client.search_rows(digits.of(0, 1))
    await other.client.predict(found.search_id, digits.of(0, 1), force=True, send=True)
    island = digits.island()
    package = digits.package(asked.node.identity.peer, island, 4, 5)
    unlisted = (await asked.client.add_learnware(package)).learnware_id
    broken = await asked.client.submit(digits.package(other.node.identity.peer, island, 6, 7))
    await asked.client.submission(broken.id, wait=30)
    page = await browser.open("/dock")
    assert "2 learnwares hosted" in page.text
    assert "1 live , 0 paused , 1 not listed".replace(" ,", ",") in page.text
    assert "made for another owner" in page.text
    used = sum(each.amount for each in await asked.client.usage(own) if each.act == "predict")
    assert used > 0
    assert f"{used} rows predicted today, {used} in 30 days; each once for each model" in page.text
    assert 'role="img"' in page.body
    assert "Digits 4 5" in page.text
    only = await browser.open("/dock?state=unlisted")
    assert "Digits 4 5" in only.text
    assert f'href="/dock/{own}"' not in only.body
    assert f'href="/dock/{unlisted}"' not in (await browser.open(f"/dock?federation={federation}")).body
    one = await browser.open(f"/dock/{own}")
    assert "Other House" in one.text
    assert f'href="/publish?revises={own}"' in one.body
    assert (await browser.open(f"/dock/{theirs}")).status == 404
    assert (await browser.open("/dock/nonsense")).status == 404


async def test_whoever_may_only_read_looks_and_does_not_act(two, visitor, digits):
    (asked, other), federation, (own, _) = two
    found = await other.client.search_rows(digits.of(0, 1))
    await other.client.predict(found.search_id, digits.of(0, 1), force=True, send=True)
    browser = await visitor(asked)
    await browser.sign_in(await reader(asked))
    page = await browser.open("/dock")
    assert page.status == 200
    assert "Digits 0 1" in page.text
    assert "live" in page.text
    assert "predicted today" not in page.text
    assert 'href="/publish"' not in page.body
    one = await browser.open(f"/dock/{own}")
    assert one.status == 200
    assert "By day, peer and act" not in one.text
    assert "Other House" not in one.text
    assert "<button" not in one.body.partition("<main")[2]
    assert "gives away" not in one.text
    assert 'href="/requests"' not in one.body
    for path in (f"/dock/{own}/remove", f"/dock/{own}/withdraw/{federation}", f"/dock/{own}/policies/{federation}",
                 "/requests"):  # fmt: skip
        assert (await browser.open(path)).status == 403
    await browser.open("/dock")
    for path in (f"/dock/{own}/remove", f"/dock/{own}/state/{federation}", f"/dock/{own}/withdraw/{federation}",
                 f"/dock/{own}/policies/{federation}", f"/dock/{own}/policies/{federation}/preview",
                 f"/dock/downloads/{own}/remove", "/requests/0/grant"):  # fmt: skip
        await browser.open("/dock")
        assert (await browser.send(path, [("state", "paused")])).status == 403
    assert [each.paused for each in await asked.client.learnwares()] == [()]
    stranger = await visitor(asked)
    assert (await stranger.open("/dock", allow_redirects=False)).status == 303


async def test_it_is_paused_resumed_withdrawn_and_removed_as_by_the_api_and_removing_asks_first(two, visitor, changed):
    (asked, other), federation, (own, _) = two
    raw, owner = bytes.fromhex(federation), asked.node.identity.public
    browser = await visitor(asked)
    await browser.sign_in()
    await browser.open(f"/dock/{own}")
    forged = await browser.send(f"/dock/{own}/state/{federation}", [("state", "paused")], token="0" * 40)
    assert forged.status == 403
    await browser.open(f"/dock/{own}")
    assert (await browser.send(f"/dock/{own}/state/{federation}", [("state", "gone")])).status == 400
    assert (await asked.client.learnwares())[0].paused == ()
    await browser.open(f"/dock/{own}")
    page = await browser.send(f"/dock/{own}/state/{federation}", [("state", "paused")])
    assert page.url == f"/dock/{own}"
    assert "Paused. It stays listed" in page.text
    assert "Resume" in page.text
    assert (await asked.client.learnwares())[0].paused == (federation,)
    page = await browser.send(f"/dock/{own}/state/{federation}", [("state", "live")])
    assert "Live again" in page.text
    page = await browser.open(f"/dock/{own}/withdraw/{federation}")
    assert page.status == 200
    assert "not recalled" in page.text
    assert (await asked.client.learnwares())[0].listed
    page = await browser.send(f"/dock/{own}/withdraw/{federation}", [])
    assert "Withdrawn from the federation" in page.text
    assert "List it here" in page.text
    await changed(other, lambda: not other.node.catalogue.of_owner(raw, owner))
    await asked.client.publish(own, federation, Offers())
    page = await browser.open(f"/dock/{own}/remove")
    assert "What was downloaded or disclosed before stays" in page.text
    assert len(await asked.client.learnwares()) == 1
    page = await browser.send(f"/dock/{own}/remove", [])
    assert page.url == "/dock"
    assert "removed from this dock" in page.text
    assert await asked.client.learnwares() == []
    names = "learnware.state", "learnware.withdraw", "learnware.remove"
    assert await acts(asked, *names) == [
        ("learnware.state", {"id": own, "federation": federation, "state": "paused"}),
        ("learnware.state", {"id": own, "federation": federation, "state": "live"}),
        ("learnware.withdraw", {"id": own, "federation": federation}),
        ("learnware.remove", {"id": own}),
    ]


async def test_withdrawing_through_the_api_leaves_one_federation_only(two):
    (asked, _), federation, (own, _) = two
    second = (await asked.client.create_federation("second")).id
    await asked.client.publish(own, second, Offers())
    await asked.client.withdraw(own, federation)
    assert set((await asked.client.learnware(own))["listed"]) == {second}
    assert await acts(asked, "learnware.withdraw") == [("learnware.withdraw", {"id": own, "federation": federation})]


async def test_packages_of_others_are_shown_to_whom_they_were_given_and_removed_by_an_administrator(
    federated, publish, changed, visitor, tmp_path
):
    (owner, keeper), federation = await federated("Owner House", "Keeper House")
    learnware = await publish(owner, federation, Offers(download="members"), 0, 1)
    raw = bytes.fromhex(federation)
    await changed(keeper, lambda: keeper.node.catalogue.of_owner(raw, owner.node.identity.public))
    await keeper.client.fetch(learnware, folder=tmp_path)
    (view,) = await keeper.client.downloads()
    browser = await visitor(keeper)
    await browser.sign_in()
    page = await browser.open("/dock")
    assert "Packages of others, kept here" in page.text
    assert "Owner House" in page.text
    other = await visitor(keeper)
    await other.sign_in(await reader(keeper, "read", "predict"))
    assert "Packages of others" not in (await other.open("/dock")).text
    assert (await other.send(f"/dock/downloads/{view.revision}/remove", [])).status == 403
    page = await browser.send(f"/dock/downloads/{view.revision}/remove", [])
    assert "removed from this node" in page.text
    assert "Packages of others" not in page.text
    assert await acts(keeper, "download.forget") == [("download.forget", {"revision": view.revision})]


@browsing
async def test_the_dock_is_for_everybody_and_fits_narrow_screens(two, page):
    (asked, _), federation, (own, _) = two
    await sign_in(page, asked)
    for scheme in ("light", "dark"):
        for path in ("/dock", f"/dock/{own}", f"/dock/{own}/remove"):
            await page.goto(asked.url + path)
            await choose(page, scheme=scheme)
            assert await serious(page) == [], path
    await page.set_viewport_size({"width": 360, "height": 800})
    for path in ("/dock", f"/dock/{own}", f"/dock/{own}/withdraw/{federation}"):
        await page.goto(asked.url + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
