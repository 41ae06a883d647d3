"""The administrator's pages: each works on a fresh node and on one with content, and does what the API does."""

import asyncio
import io
import json
import os
import re
import shutil
import tarfile
from types import SimpleNamespace

import msgspec
import pytest
from atoll.engine.runtime import Rung
from atoll.node.clock import now_ms
from atoll.node.config import Config
from atoll.node.settings import settings
from atoll.node.store.environment import Space
from atoll.node.store.ledger import Spending
from atoll.node.web.admin import attention
from atoll.node.web.admin import pages as admin
from atoll.protocol.limits import DAY
from atoll.protocol.listings import Offers
from atoll.protocol.policy import Asker, Policy, Rule
from browser import choose, serious, sign_in

OPEN = [page.path for page in admin.PAGES if page.method == "GET" and "{" not in page.path]
ROOMS = [path for path in OPEN if path != "/admin/audit/rows"]
STRONG, ROOMY = Rung("strong", ("bubblewrap",)), Space(1 << 20, 1 << 30, 1 << 38, {})


@pytest.fixture
async def admin_of(visitor):
    """``await admin_of(node)``: a browser that is signed in with the first token."""

    async def come(node):
        browser = await visitor(node)
        await browser.sign_in()
        return browser

    return come


async def acts(node, act):
    """(subject, outcome) of the rows of an act."""
    rows = (await node.client.audit(0, 1000)).items
    return [({k: v for k, v in row.subject.items() if k != "asked"}, row.outcome) for row in rows if row.act == act]


async def test_every_page_works_on_a_fresh_node_in_both_languages(start, admin_of):
    (node,) = await start("Fresh House")
    browser = await admin_of(node)
    for language, word in (("en", "Administration"), ("zh", "管理")):
        for path in ROOMS:
            page = await browser.open(path, headers={"Accept-Language": language})
            assert (page.status, page.url) == (200, path)
            assert page.body.count("<h1>") == 1, path
            assert word in page.text, path
            assert f'<a href="{path.removesuffix("/verification")}" aria-current="page"' in page.body


async def test_only_an_admin_sees_them(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    assert (await browser.open("/admin/tokens")).url == "/login"
    secret = (await node.client.create_token("reader", ("read", "predict", "publish"), 1)).secret
    assert (await browser.sign_in(secret)).status == 200
    for path in OPEN:
        page = await browser.open(path)
        assert (page.status, "lacks the scope admin" in page.text) == (403, True), path
    refused = await browser.send("/admin/tokens", [("name", "mine"), ("scope-admin", "1")])
    assert refused.status == 403
    assert [row.name for row in node.node.tokens.all()].count("mine") == 0


async def test_a_token_is_shown_once_and_in_no_address(start, admin_of):
    (node,) = await start("node")
    browser = await admin_of(node)
    await browser.open("/admin/tokens")
    fields = [("name", "front desk <b>"), ("scope-read", "1"), ("scope-predict", "1"), ("days", "30")]
    page = await browser.send("/admin/tokens", fields)
    secret = re.search(r"atoll_[\w-]{40,}", page.text)[0]
    assert (page.status, page.url, page.history) == (200, "/admin/tokens", ())  # the answer to the form itself
    assert page.headers["Cache-Control"] == "no-store"
    assert "front desk &lt;b&gt;" in page.body
    row = node.node.tokens.check(secret, "predict", now_ms())
    assert row.scopes == ("read", "predict")
    assert 29 * DAY < row.expires_at - now_ms() <= 30 * DAY
    asked = {"name": "front desk <b>", "scopes": "read, predict"}
    assert await acts(node, "token.create") == [(asked, "asked"), (asked, "done")]
    assert secret not in (await browser.open("/admin/tokens")).body
    assert secret not in (await browser.open("/admin/audit")).body


async def test_faults_stand_beside_the_fields_of_a_token(start, admin_of):
    (node,) = await start("node")
    browser = await admin_of(node)
    await browser.open("/admin/tokens")
    page = await browser.send("/admin/tokens", [("name", "x" * 81), ("days", "0")])
    assert page.status == 422
    for name, words in (("name", "1 to 80 characters"), ("scopes", "at least one"), ("days", "number of days")):
        assert words in re.search(rf'id="{name}-error"[^>]*>([^<]*)<', page.body)[1]
    forever = await browser.send("/admin/tokens", [("name", "x"), ("scope-read", "1"), ("days", "")])
    assert "It is shown this once" in forever.text
    assert [row.expires_at for row in node.node.tokens.all() if row.name == "x"] == [None]
    assert (await browser.send("/admin/tokens", [("name", "y"), ("scope-read", "1")], token="stale")).status == 403


async def test_revoking_asks_first_and_says_who_loses_what(start, visitor, admin_of):
    (node,) = await start("node")
    made = await node.client.create_token("other admin", ("admin",), None)
    other = await visitor(node)
    await other.sign_in(made.secret)
    browser, own = await admin_of(node), node.node.tokens.check(node.token, "admin", now_ms()).id
    assert "You are signed in with it yourself" in (await browser.open(f"/admin/tokens/{own}/revoke")).text
    page = await browser.open(f"/admin/tokens/{made.token.id}/revoke")
    assert "1 browser is signed in with it" in page.text
    assert "the last token" not in page.text
    done = await browser.send(f"/admin/tokens/{made.token.id}/revoke", [])
    assert (done.url, "The token is revoked" in done.text) == ("/admin/tokens", True)
    assert (await other.open("/admin")).url == "/login"
    assert "It is the last token with the scope admin" in (await browser.open(f"/admin/tokens/{own}/revoke")).text
    assert [outcome for _, outcome in await acts(node, "token.revoke")] == ["asked", "done"]
    again = await browser.open(f"/admin/tokens/{made.token.id}/revoke")
    assert again.status == 404


async def test_the_log_is_filtered_paged_checked_and_taken_away(start, admin_of):
    (node,) = await start("node")
    for count in range(40):
        await node.client.create_token(f"token {count}", ("read",), 1)
    browser = await admin_of(node)
    page = await browser.open("/admin/audit")
    seqs = [int(seq) for seq in re.findall(r'<td class="number" data-label="#">(\d+)</td>', page.body)]
    assert seqs == list(range(80, 30, -1))
    older = re.search(r'href="([^"]*before=[^"]*)"', page.body)[1].replace("&amp;", "&")
    assert "<bdi>token 0</bdi>" in (await browser.open(older)).body
    found = await browser.open("/admin/audit?act=TOKEN&outcome=done&actor=first")
    assert (found.body.count("<tr>"), found.body.count('class="asked"')) == (41, 0)
    today = re.search(r"(\d{4}-\d\d-\d\d) ", page.body)[1]
    assert "token 39" in (await browser.open(f"/admin/audit?day={today}")).text
    assert "No row fits" in (await browser.open("/admin/audit?day=2001-02-03")).text
    assert (await browser.open("/admin/audit?day=yesterday")).status == 400

    lines = (await browser.open(f"/admin/audit/rows?outcome=done&day={today}")).body.splitlines()
    rows = (await node.client.audit(0, 1000)).items
    assert [json.loads(line) for line in lines] == [msgspec.to_builtins(row) for row in rows if row.outcome == "done"]

    whole = await browser.open("/admin/audit/verification")
    witness = re.search(r"\b\d+:[0-9a-f]{64}\b", whole.text)[0]
    assert "80 rows, unbroken" in whole.text
    assert "The witness agrees" in (await browser.open(f"/admin/audit/verification?witness={witness}")).text
    wrong = await browser.open(f"/admin/audit/verification?witness={witness[:-4]}0000")
    assert "broken at row 80" in wrong.text
    assert (await browser.open("/admin/audit/verification?witness=80")).status == 422


async def test_what_is_used_is_beside_its_quota_and_who_is_near_comes_first(two, admin_of):
    (node, other), federation, (own, _) = two
    where, id_ = bytes.fromhex(federation), bytes.fromhex(own)
    rule = Rule("members", per_peer=1000, per_user=900)
    await node.client.publish(own, federation, policy=Policy(match=Rule("members"), predict=rule))
    for user, rows in (("a", 900), ("b", 50)):
        node.node.gate.usage.take(
            "predict", Asker(other.node.identity.peer, user), [(where, id_, rule, rows)], now_ms()
        )
    node.node.ledger.spend(Spending("ward 3", bytes(32), bytes(32), 1000, 1.0, 1e-6), now_ms())
    page = await (await admin_of(node)).open("/admin/quotas")
    rows = re.findall(r'<td class="number">([\d,]+)</td>\s*<td class="number">([\d,]+)</td>', page.body)
    assert rows[:3] == [("900", "900"), ("950", "1,000"), ("50", "900")]
    assert "2 quotas are nearly used up" in page.text
    assert page.text.index("used up", 200) < page.text.index(" near ")
    assert "25 percent used" in page.body  # of epsilon


async def test_downloads_are_forgotten_and_code_is_let_in_as_the_api_does(two, publish, changed, admin_of):
    (node, other), federation, _ = two
    theirs = await publish(other, federation, Offers(predict="members", download="members"), 4, 5)
    await changed(node, lambda: any(each.learnware_id.hex() == theirs for each in node.node.catalogue.alive(now_ms())))
    browser = await admin_of(node)
    async with browser.session.post(
        f"{node.url}/api/v1/downloads", json={"learnwares": [theirs]}, headers={"Authorization": f"Bearer {node.token}"}
    ) as response:
        (fetched,) = (await response.json())["downloads"]
    page = await browser.open("/admin/storage")
    assert "Digits 4 5" in page.text
    revision = fetched["revision"]
    page = await browser.send(f"/admin/storage/downloads/{revision}/forget", [])
    assert "The download is removed" in page.text
    assert "Nothing was downloaded" in page.text
    assert [outcome for _, outcome in await acts(node, "download.forget")] == ["asked", "done"]
    assert (await browser.send(f"/admin/storage/downloads/{revision}/forget", [])).status == 404

    page = await browser.open(f"/admin/code?learnware={theirs}")
    assert "Its code runs in the sandbox of this node" in page.text
    wanted = [("owner", other.node.identity.peer), ("revision", revision)]
    page = await browser.send(f"/admin/code/{theirs}/allow", wanted)
    assert "This revision may run here now" in page.text
    assert node.node.code.admits(other.node.identity.public, bytes.fromhex(revision))
    page = await browser.send(f"/admin/code/{theirs}/refuse", [])
    assert "None." in page.text
    asked = {"id": theirs, "owner": other.node.identity.peer, "revision": revision}
    assert await acts(node, "code.allow") == [(asked, "asked"), (asked, "done")]
    assert "64 hex digits" in (await browser.open("/admin/code?learnware=no")).text


async def test_a_backup_is_a_form_and_leaves_out_the_key_if_told(start, admin_of):
    (node,) = await start("node")
    browser = await admin_of(node)
    await browser.open("/admin/storage")
    data = {"csrf": browser.page.form_token, "key": "without"}
    async with browser.session.post(f"{node.url}/admin/storage/backup", data=data) as response:
        with tarfile.open(fileobj=io.BytesIO(await response.read())) as tar:
            names = tar.getnames()
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert ("identity.key" in names, any("store" in name for name in names)) == (False, True)
    async with asyncio.timeout(10):  # its outcome is written when all of it is sent
        while [outcome for _, outcome in await acts(node, "node.backup")] != ["asked", "done"]:
            pass
    async with browser.session.post(f"{node.url}/admin/storage/backup", data={"key": "with"}) as response:
        assert response.status == 403


async def test_submissions_are_in_the_queue_with_their_reports(start, digits, admin_of):
    (node,) = await start("node")
    await node.client.add_island(digits.island())
    await node.client.add_learnware(digits.package(node.node.identity.peer, digits.island(), 0, 1))
    page = await (await admin_of(node)).open("/admin/queue")
    assert "accepted" in page.text
    assert "first admin" in page.text
    for step in node.node.acceptance.all()[0].report.steps:
        assert f"<b>{step.name}</b>" in page.body


async def test_the_configuration_says_where_each_value_comes_from(start, admin_of, monkeypatch):
    monkeypatch.setenv("ATOLL__REUSE__MAX_ROWS", "1234")
    (node,) = await start("Origin House")
    kept = [each for each in settings(node.node.home, os.environ) if each.origin != "default"]
    others = [each.key for each in kept if each.value != each.default]
    monkeypatch.setenv("ATOLL__P2P__MDNS", json.dumps(Config().p2p.mdns))  # given, and its default
    page = await (await admin_of(node)).open("/admin/configuration")
    assert f"{len(others)} keys are not at their defaults" in page.text
    row = re.search(r"<code>max_rows</code>.*?</tr>", page.body, re.S)[0]
    assert ("1234" in row, "environment" in row, "1000000" in row) == (True, True, True)
    name = re.search(r"<code>name</code>.*?</tr>", page.body, re.S)[0]
    assert ("Origin House" in name, ">file<" in name) == (True, True)


async def test_what_needs_a_hand_is_said_with_what_to_do(federated, admin_of, monkeypatch):
    monkeypatch.setenv("ATOLL__NODE__RECOVERY", "")
    (node, _), federation = await federated("node", "other")
    running, now = node.node, now_ms()

    async def said(held=STRONG, space=ROOMY, at=now):
        found = await asyncio.to_thread(attention.concerns, running, held, space, at)
        return [(each.level, each.words) for each in found]

    assert await said() == [
        ("warn", "This node has no recovery key: if its key is lost or stolen, it cannot get another.")
    ]
    assert ("bad", "The store takes 250 GiB of the 256 GiB that it may ever take.") in await said(
        space=ROOMY._replace(used=250 << 30)
    )
    assert ("warn", "The sandbox is limited: of others' models only ONNX runs here.") in await said(
        Rung("limited", (), "no bwrap", "install it")
    )
    assert any("was not renewed" in words for _, words in await said(at=now + 85 * DAY))
    assert ("bad", "The membership in test has expired.") in await said(at=now + 91 * DAY)
    usage = SimpleNamespace(free=100 << 20, total=1 << 40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert (await said())[0] == ("bad", "The disk is nearly full: 100 MiB of 1 TiB are free.")
    page = await (await admin_of(node)).open("/admin")
    assert "The disk is nearly full" in page.text
    assert federation in page.body


# Cells of tables that become cards which are beyond the screen.
OUTSIDE = """[...document.querySelectorAll(".stacked tbody td, .slim td")]
  .filter((cell) => cell.getBoundingClientRect().right > innerWidth).map((cell) => cell.textContent)"""


async def test_in_a_browser_they_are_accessible_fit_a_phone_and_copy_the_token(start, digits, page):
    (node,) = await start("node")
    await node.client.create_federation("Coast")
    await node.client.add_island(digits.island())
    await node.client.add_learnware(digits.package(node.node.identity.peer, digits.island(), 0, 1))
    await sign_in(page, node)
    await page.set_viewport_size({"width": 360, "height": 800})
    await choose(page, scheme="dark")
    for path in ROOMS:
        await page.goto(node.url + path)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert await page.evaluate(OUTSIDE) == [], path
        assert await serious(page) == [], path
    await page.goto(f"{node.url}/admin/tokens")
    await page.fill("#name", "somebody")
    await page.click("form[action='/admin/tokens'] button.main")
    secret = (await page.inner_text("#secret")).strip()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.click("[data-copies]")
    await page.wait_for_function("document.querySelector('[data-copies]').textContent === 'Copied'")
    assert await page.evaluate("navigator.clipboard.readText()") == secret
