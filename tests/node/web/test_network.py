"""The network as people see it: peers and their lag, as a map and a table that follow what happens; and rules."""

import asyncio
import hashlib
import json
import math
import re
from xml.etree import ElementTree

import pytest
from atoll.node.clock import now_ms
from atoll.node.web.network.around import Common, Line
from atoll.node.web.network.chart import CENTRE, chart
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Offers
from atoll.protocol.membership import grant
from browser import CHROMIUM, serious, sign_in, tab_to
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.async_api import expect

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\u202egnp.\u2066x\u200f"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


# The height of the smallest letters of the map, as they are on the screen.
LETTERS = """Math.min(99, ...[...document.querySelectorAll(".atoll-map text")]
  .filter((text) => text.getClientRects().length)
  .map((text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""


def id_of(running):
    return running.node.identity.peer


def standing(running, other, expected):
    def condition():
        found = running.node.peers.get(id_of(other))
        return found is not None and found.state == expected

    return condition


def row(page, name):
    """What a person reads in the row of a peer."""
    body = re.search(r"<tbody>(.*)</tbody>", page.body, re.DOTALL)[1]
    (found,) = [each for each in re.findall(r"<tr.*?</tr>", body, re.DOTALL) if f"<bdi>{name}</bdi>" in each]
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


def picture(page):
    """The map as it was drawn; an error unless it is well-formed."""
    drawn = re.search(r"<svg class=\"atoll-map\".*?</svg>", page.body, re.DOTALL)[0]
    return ElementTree.fromstring(drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def marks(page):
    return picture(page).findall(f"{SVG}a")


async def acts(running):
    """What was done about peers, as the audit log has it."""
    rows = [each for each in (await running.client.audit()).items if each.act[:4] == "peer" and each.outcome == "done"]
    return [(each.act, {name: value for name, value in each.subject.items() if name != "asked"}) for each in rows]


async def made_up(running, federation, count, name="Made-up {}", *, connected=True):
    """Members of whom nothing is there but a certificate, and what they would say of themselves."""
    node, raw, now = running.node, bytes.fromhex(federation), now_ms()
    node.peers.due = lambda *_: []  # nobody dials them
    for number in range(count):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % number).digest())
        public, called = key.public_key().public_bytes_raw(), name.format(number)
        certificate = grant(node.identity.key, raw, public, called, now, roles=("member",), max_listings=7)
        await asyncio.to_thread(node.federations.check_member, raw, public, certificate, now)
        peer = peer_id(public)
        node.peers.learn(peer, called, (f"/ip4/192.0.2.{number % 250}/tcp/4001/p2p/{peer}",))
        if connected:
            node.peers.admit(peer, frozenset([raw]), now)
            node.peers.note_lag(peer, raw, number % 3, 0, now)


async def test_peers_are_seen_with_their_lag_also_when_they_are_away(
    federated, make_home, start_home, publish, changed, until, signed_in
):
    (admin, member), federation = await federated("Admin House", "Member House")
    raw = bytes.fromhex(federation)
    async with start_home(*await asyncio.to_thread(make_home, "Third House")) as third:
        await third.client.join((await admin.client.invite(federation)).invite)
        for node in (admin, member):
            await until(node, standing(node, third, "member"))
        await publish(third, federation, Offers(), 0, 1)
        owned = third.node.identity.public
        await changed(admin, lambda: len(admin.node.catalogue.of_owner(raw, owned)) == 1)
        await until(admin, lambda: raw in admin.node.peers.get(id_of(third)).lags)
        for node in (admin, member):
            browser = await signed_in(node, "read")
            page = await browser.open("/network")
            assert "2peers connected 0peers away" in page.text
            assert row(page, "Third House").split()[4] == "connected"
            assert len(marks(page)) == 2
    await until(admin, standing(admin, third, "unreachable"))
    admin.node.peers.note_lag(id_of(third), raw, 2, 1, now_ms())

    browser = await signed_in(admin, "read")
    page = await browser.open("/network")

    assert "1peer connected 1peer away" in page.text
    seen = row(page, "Third House")
    assert "away" in seen
    assert "test : 2 logs behind, 1 log ahead" in seen
    (drawn,) = [each for each in marks(page) if "Third House" in each.get("aria-label")]
    assert drawn.get("aria-label") == "Third House; away; test: 2 logs behind, 1 log ahead"
    assert drawn.find(f"{SVG}title").text == drawn.get("aria-label")
    assert drawn.get("href") == "#peer-2"
    assert 'id="peer-2"' in page.body
    page = await browser.open(f"/network/peers/{id_of(third)}")
    assert "1 of 10,000" in page.text  # the listing stays until its head expires
    assert "Digits 0 1" in page.text
    assert row(await browser.open("/network?state=away"), "Third House")
    assert "No peer is as chosen" in (await browser.open("/network?state=denied")).text


async def test_a_peer_is_dialled_denied_allowed_and_forgotten_as_by_the_api(start, federated, until, signed_in):
    (admin, member), _ = await federated("Admin House", "Member House")
    (stranger,) = await start("Stranger House")
    await until(admin, standing(admin, member, "member"))
    browser = await signed_in(admin)
    await browser.open("/network")
    page = await browser.send("/network/peers", [("address", "/ip4/192.0.2.1/tcp/1")])
    assert (page.status, 'aria-invalid="true"' in page.body) == (400, True)
    assert 'value="/ip4/192.0.2.1/tcp/1"' in page.body
    page = await browser.send("/network/peers", [("address", stranger.node.network.addresses[0])])
    assert (page.status, page.url) == (200, "/network")
    assert "The peer has answered and is remembered." in page.text
    assert "nothing in common" in row(page, "Stranger House")

    path = f"/network/peers/{id_of(member)}"
    page = await browser.open(f"{path}/rules?kind=deny&act=add")
    assert "Cut off at once: Member House 0 learnwares of the catalogue" in page.text
    assert standing(admin, member, "member")()
    page = await browser.send(f"{path}/rules", [("kind", "deny"), ("act", "add")])
    assert (page.url, "The list is changed." in page.text) == (path, True)
    assert "On the deny list" in page.text
    assert "denied" in row(await browser.open("/network"), "Member House")
    page = await browser.open(path)
    page = await browser.send(f"{path}/rules", [("kind", "deny"), ("act", "remove")])
    assert "On neither list." in page.text
    await until(admin, standing(admin, member, "member"))
    page = await browser.open(f"/network/peers/{id_of(admin)}/rules?kind=deny&act=add")
    assert "the rule names this node itself" in page.text
    page = await browser.send(f"/network/peers/{id_of(admin)}/rules", [("kind", "deny"), ("act", "add")])
    assert page.status == 409
    assert not admin.node.peers.rules.all()
    await browser.open(f"/network/peers/{id_of(stranger)}/forget")
    page = await browser.send(f"/network/peers/{id_of(stranger)}/forget", [])
    assert "The peer is forgotten." in page.text
    assert (await browser.open("/network/peers/nobody")).status == 404

    rule = {"peer": id_of(member), "kind": "deny"}
    assert await acts(admin) == [
        ("peer.add", {"address": stranger.node.network.addresses[0]}),
        ("peer_rule.add", rule),
        ("peer_rule.remove", rule),
        ("peer.remove", {"peer": id_of(stranger)}),
    ]


async def test_who_may_read_sees_no_forms_and_is_refused_what_they_do(federated, signed_in, visitor):
    (admin, member), _ = await federated("Admin House", "Member House")
    path = f"/network/peers/{id_of(member)}"
    browser = await signed_in(admin, "read")
    for shown in ("/network", path):
        page = await browser.open(shown)
        assert page.status == 200
        posted = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"', page.body)
        assert set(posted) == {"/language", "/logout"}
        assert "Deny…" not in page.text
    for refused in (f"{path}/forget", f"{path}/rules", "/network/peers"):
        await browser.open("/network")
        assert (await browser.send(refused, [("kind", "deny"), ("act", "add"), ("address", "x")])).status == 403
    assert (await browser.open(f"{path}/rules?kind=deny&act=add")).status == 403
    assert not admin.node.peers.rules.all()
    nobody = await visitor(admin)
    assert (await nobody.open("/network")).url == "/login"
    assert (await nobody.open("/network/events")).url == "/login"
    unsent = await signed_in(admin)
    await unsent.open("/network")
    assert (await unsent.send("/network/peers", [("address", "x")], token="0" * 64)).status == 403


async def test_names_of_others_are_text_and_turn_nothing_around(federated, signed_in):
    (admin,), federation = await federated("Admin House")
    await made_up(admin, federation, 1, name=HOSTILE, connected=False)
    browser = await signed_in(admin)
    (peer,) = [each.peer for each in admin.node.peers.all()]
    for path in ("/network", f"/network/peers/{peer}", f"/federations/{federation}"):
        page = await browser.open(path)
        assert page.status == 200
        assert "<script>alert" not in page.body
        assert "&lt;script&gt;alert(1)&lt;/script&gt;gnp.x" in page.body
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f]", page.body)
    (drawn,) = marks(await browser.open("/network"))
    assert "".join(drawn.itertext()).startswith("<script>alert(1)</script>gnp.x; away")


async def test_a_map_of_many_peers_stays_small_and_beyond_that_states_are_drawn_together(federated, signed_in):
    (admin,), federation = await federated("Admin House")
    await made_up(admin, federation, 60)
    browser = await signed_in(admin)
    page = await browser.open("/network")
    drawn = ElementTree.tostring(picture(page))
    assert len(drawn) < 100_000
    assert len(page.body) < 110_000  # and the style, the script and the picture of all pages stay below 150 KB
    assert len(marks(page)) == 60
    assert all(each.get("aria-label") and each.get("href") for each in marks(page))
    hrefs = {each.get("href") for each in marks(page)}
    rows = set(re.findall(r'<tr id="(peer-\d+)"', page.body))
    assert len(rows) == 50
    assert {f"#{each}" for each in rows} <= hrefs
    assert "1 to 50 of 60" in page.text
    lagging = await browser.open("/network?order=lag")
    assert re.findall(r"aria-sort=\"\w+\"><a[^>]*>([^<]+)", lagging.body) == ["In common, and its copy"]
    table = lagging.body[lagging.body.index("<tbody>") :]
    assert table.rindex("2 logs behind") < table.index("1 log behind")

    await made_up(admin, federation, 65, connected=True)

    page = await browser.open("/network")
    assert [each.get("aria-label") for each in marks(page)] == ["65 peers; connected"]
    assert marks(page)[0].get("href") == f"/network?state=member&federation={federation}#peers-title"


@pytest.mark.parametrize("count", [3, 12, 60])
@pytest.mark.parametrize("federations", [1, 3])
def test_no_line_of_the_map_goes_through_the_name_of_a_federation(count, federations):
    common = [Common(f"{number}", "Hospitals of the northern coast", None) for number in range(federations)]
    peers = [
        Line(number, f"peer-{number}", f"Peer {number}", "member", "", (common[number % federations],), None)
        for number in range(count)
    ]
    drawn = chart(peers)
    assert len(drawn.reefs) == federations
    assert len(drawn.marks) >= federations
    assert all(reef.label for reef in drawn.reefs)
    for reef in drawn.reefs:
        radius, clockwise = re.search(r"A([\d.]+) \S+ 0 \d (\d)", reef.around).groups()
        outermost = float(radius) + (12 if clockwise == "1" else 3)  # letters, or what is below their line
        assert all(math.dist((mark.x1, mark.y1), CENTRE) > outermost for mark in drawn.marks)


@pytest.mark.parametrize("count", [2, 8, 12])
def test_names_on_the_map_have_the_room_there_is(count):
    names = ("Tongji Hospital", "Fisheries Institute", "\u540c\u6d4e\u533b\u9662")
    peers = [Line(number, f"peer-{number}", names[number % 3], "member", "", (), None) for number in range(count)]
    assert [" ".join(mark.label) for mark in chart(peers).marks] == [each.name for each in peers]


async def test_a_federation_of_nobody_else_is_told_beside_the_map(federated, signed_in):
    (here, _), _ = await federated("Here", "There")
    await here.client.create_federation("Mine alone")
    page = await (await signed_in(here)).open("/network")
    assert "Mine alone no other node is known in it" in page.text


@needs_browser
async def test_the_map_and_the_table_follow_what_happens(federated, start, until, page):
    (admin, member), federation = await federated("Admin House", "Member House")
    await until(admin, standing(admin, member, "member"))
    await sign_in(page, admin)
    await page.goto(f"{admin.url}/network")
    await expect(page.locator("#followed")).to_have_text("This page follows what happens.")
    await expect(page.locator(".refresh")).to_be_hidden()
    await tab_to(page, "#map a")
    await page.keyboard.press("Enter")
    await expect(page.locator("tr:target")).to_contain_text("Member House")
    await page.focus("#r1")
    (newcomer,) = await start("Newcomer House")
    await newcomer.client.join((await admin.client.invite(federation)).invite)
    await expect(page.locator("#peers tbody tr", has_text="Newcomer House")).to_contain_text("connected")
    await expect(page.locator("#map a")).to_have_count(2)
    assert await page.evaluate("document.activeElement.id") == "r1"
    await admin.client.add_peer_rule("deny", id_of(member))
    await expect(page.locator("#peers tbody tr", has_text="Member House")).to_contain_text("denied")
    await expect(page.locator("#map .edges line.denied")).to_have_count(1)
    of_one = f"/network/peers/{id_of(member)}"
    for path in ("/network", of_one, f"{of_one}/rules?kind=deny&act=remove"):
        for width, scheme in ((1280, "dark"), (360, "light")):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(color_scheme=scheme)
            await page.goto(admin.url + path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(LETTERS) >= 11
            assert (await page.evaluate(LETTERS) < 99) == (path == "/network")  # which has the map
            assert await serious(page) == []


async def test_who_has_gone_is_not_told_any_more(federated, signed_in):
    (admin, member), _ = await federated("Admin House", "Member House")
    browser = await signed_in(admin, "read")
    before = len(admin.node.peers._listeners), len(admin.node.catalogue._listeners)
    async with browser.session.get(f"{admin.url}/network/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert (await stream.content.readline()) == b"event: parts\n"
        told = json.loads((await stream.content.readline()).removeprefix(b"data: "))
        assert set(told) == {"figures", "map", "peers"}
        assert "Member House" in told["peers"]
        assert len(admin.node.peers._listeners) == before[0] + 1
        await stream.content.readline()
        await admin.client.add_peer_rule("deny", id_of(member))  # connected or not
        while not (line := await stream.content.readline()).startswith(b"data: "):
            pass
        assert "denied" in json.loads(line.removeprefix(b"data: "))["peers"]
    async with asyncio.timeout(20):
        while len(admin.node.peers._listeners) > before[0]:
            await asyncio.to_thread(admin.node.peers.learn, id_of(member), "Member House", ())  # something happens
    assert (len(admin.node.peers._listeners), len(admin.node.catalogue._listeners)) == before
