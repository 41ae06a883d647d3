"""Federations as people run them from the page: found, invite, join, renew, revoke, take down, appoint, leave."""

import html
import io
import re
from xml.etree import ElementTree

import msgspec
import pytest
import zxingcpp
from atoll.node.client import RemoteError
from atoll.node.clock import now_ms
from atoll.node.web.federations.qr import qr
from atoll.protocol.gossip import Announcement
from atoll.protocol.heads import sign_head
from atoll.protocol.listings import Offers
from atoll.protocol.membership import Invite
from atoll.protocol.messages import encode
from browser import CHROMIUM, serious, sign_in
from PIL import Image
from playwright.async_api import expect

BOTH = Offers(disclose="members", predict="members", download="members")
LINE = re.compile(r"atoll-invite-1\.[\w-]+")


def id_of(running):
    return running.node.identity.peer


def shown(running):
    return {each.learnware_id.hex() for each in running.node.catalogue.alive(now_ms())}


def row(page, name):
    """What a person reads in the row of a member."""
    body = re.search(r"<tbody>(.*?)</tbody>", page.body, re.DOTALL)[1]
    (found,) = [each for each in re.findall(r"<tr.*?</tr>", body, re.DOTALL) if f"<bdi>{name}</bdi>" in each]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found)).split())


async def acts(running):
    """What was done about federations, as the audit log has it."""
    rows = (await running.client.audit()).items
    done = [each for each in rows if each.act.startswith("federation.") and each.outcome == "done"]
    return [(each.act, {name: value for name, value in each.subject.items() if name != "asked"}) for each in done]


async def test_a_federation_is_founded_and_one_joins_it_by_an_invite_made_on_its_page(start, signed_in):
    founder, newcomer = await start("Founding House", "New House")
    here, there = await signed_in(founder), await signed_in(newcomer)
    assert "This node is in no federation." in (await here.open("/federations")).text
    page = await here.send("/federations", [("name", " ")])
    assert (page.status, "Give the federation a name." in page.text) == (422, True)
    page = await here.send("/federations", [("name", "Bay <b>")])
    assert "The federation is founded, with this node as its admin." in page.text
    assert "Bay &lt;b&gt;" in page.body
    assert "1member 0connected" in page.text
    path = page.url
    await here.open(f"{path}/invites")
    page = await here.send(f"{path}/invites", [("role", "member"), ("max_listings", "many"), ("hours", "0")])
    assert page.status == 422
    assert page.text.count("A whole number from") == 2
    page = await here.send(f"{path}/invites", [("role", "member"), ("max_listings", "7"), ("hours", "48")])
    line, command = LINE.findall(page.body)
    assert line == command
    assert f"atoll federation join {line}" in page.text
    near = r"Peers are told 127\.0\.0\.1:\d+, which leads nowhere from elsewhere: set p2p\.announce"
    assert re.search(near, page.text)
    drawn = ElementTree.fromstring(re.search(r'<svg role="img".*?</svg>', page.body, re.DOTALL)[0])
    assert drawn.get("style") is None
    assert drawn[1].get("fill") == "#fff"  # white around it in the dark too
    page = await here.open(path)
    (made,) = await founder.client.invites(path.split("/")[2])
    assert f"{made.id} member, up to 7 learnwares {made.made_by} nobody yet in 2 days Take back" in page.text
    assert not LINE.search(page.body)

    await there.open("/federations")
    page = await there.send("/federations/join", [("invite", "atoll-invite-1.nonsense")])
    assert page.status == 403
    assert "The invite line is damaged. Copy the whole line." in page.text
    page = await there.send("/federations/join", [("invite", f" {line[:60]}\n{line[60:]} ")])

    assert "This node is a member now." in page.text
    assert "member" in row(page, "New House")
    assert "0 of 7" in row(page, "New House")
    page = await here.open(path)
    assert "connected" in row(page, "New House")
    assert f"{made.made_by} New House in 2 days" in page.text
    assert "Take back" not in page.text
    await there.open("/federations")
    again = await there.send("/federations/join", [("invite", line)])
    assert again.url == path  # who is a member already may come again
    id_ = path.split("/")[2]
    assert await acts(founder) == [
        ("federation.create", {"name": "Bay <b>"}),
        ("federation.invite",
         {"id": id_, "role": "member", "max_listings": "7", "hours": "48", "invite": made.id}),
        ("federation.admit",
         {"federation": id_, "peer": id_of(newcomer), "name": "New House", "role": "member", "invite": made.id}),
    ]  # fmt: skip
    assert await acts(newcomer) == [("federation.join", {"id": id_, "peer": id_of(founder)})] * 2


async def test_a_revocation_asks_first_and_ends_service_everywhere(federated, publish, changed, until, signed_in):
    (admin, member, third), federation = await federated("Admin House", "Member House", "Third House")
    learnware = await publish(member, federation, BOTH, 0, 1)
    for node in (admin, third):
        await changed(node, lambda node=node: learnware in shown(node))
    browser, path = await signed_in(admin), f"/federations/{federation}"
    page = await browser.open(path)
    assert "Revoke… Member House" in row(page, "Member House")
    assert "Revoke…" not in row(page, "Admin House")
    page = await browser.open(f"{path}/members/{id_of(member)}/revoke")
    assert "within a minute none of them serves it any more" in page.text
    assert "1 learnware that it lists leaves the catalogue." in page.text
    assert learnware in shown(third)
    page = await browser.send(f"{path}/members/{id_of(member)}/revoke", [])
    assert "The membership is revoked." in page.text
    for node in (admin, third):
        await changed(node, lambda node=node: learnware not in shown(node))
        await until(node, lambda node=node: not node.node.peers.shared(id_of(member)))
    page = await browser.open(path)
    assert "2members" in page.text
    assert "certificates until" in page.text
    await changed(member, lambda: shown(member) == set())
    seen = await (await signed_in(member, "read")).open(path)
    assert "This node is no member in good standing any more" in seen.text
    page = await browser.open(f"{path}/members/{id_of(admin)}/revoke")
    page = await browser.send(f"{path}/members/{id_of(admin)}/revoke", [])
    assert "A founder of the federation cannot be revoked" in page.text
    done = await acts(admin)
    assert [act for act, _ in done] == [
        "federation.create", *["federation.invite", "federation.admit"] * 2, "federation.revoke",
    ]  # fmt: skip
    assert done[-1][1] == {"id": federation, "peer_id": id_of(member)}


async def test_an_invite_is_taken_back_on_the_page_as_by_the_api(start, signed_in):
    founder, newcomer = await start("Founding House", "New House")
    federation = (await founder.client.create_federation("Bay")).id
    by_page, by_api = [await founder.client.invite(federation) for _ in range(2)]
    browser, path = await signed_in(founder), f"/federations/{federation}"
    await browser.open(path)
    page = await browser.send(f"{path}/invites/{by_page.id}/take-back", [])
    assert "The invite is taken back. It lets nobody in any more." in page.text
    assert (by_page.id in page.text, by_api.id in page.text) == (False, True)
    with pytest.raises(RemoteError):
        await newcomer.client.join(by_page.invite)
    assert (await browser.send(f"{path}/invites/{by_page.id}/take-back", [])).status == 404
    await founder.client.uninvite(federation, by_api.id)
    (first, one), (second, other) = (await acts(founder))[-2:]
    assert first == second == "federation.uninvite"
    assert one.pop("invite") != other.pop("invite")
    assert one == other
    assert one["id"] == federation


async def test_a_learnware_is_taken_down_and_back_on_the_page(federated, publish, changed, signed_in):
    (admin, member), federation = await federated("Admin House", "Member House")
    good, bad = await publish(member, federation, BOTH, 0, 1), await publish(member, federation, BOTH, 2, 3)
    await changed(admin, lambda: {good, bad} <= shown(admin))
    browser, path = await signed_in(admin), f"/federations/{federation}"
    asking = f"{path}/takedowns?owner={id_of(member)}&learnware={bad}"
    page = await browser.open(asking)
    assert "Digits 2 3" in page.text
    assert f'value="{bad}"' in page.body
    page = await browser.send(f"{path}/takedowns", [("owner", "nobody"), ("learnware", bad[:-1])])
    assert (page.status, page.text.count("Not the id of a")) == (422, 2)
    which = [("owner", id_of(member)), ("learnware", bad)]
    page = await browser.send(f"{path}/takedowns", which)
    assert "The learnware is taken down." in page.text
    for node in (admin, member):
        await changed(node, lambda node=node: shown(node) == {good})
    assert "Digits 2 3 of Member House; by Admin House Take back…" in (await browser.open(path)).text
    seen = await (await signed_in(member)).open(path)
    assert "Digits 2 3 of Member House; by Admin House" in seen.text
    assert "Take back…" not in seen.text
    assert "Take a takedown back" in (await browser.open(asking)).text
    await browser.send(f"{path}/takedowns", [*which, ("back", "yes")])
    for node in (admin, member):
        await changed(node, lambda node=node: shown(node) == {good, bad})
    subject = {"id": federation, "peer": id_of(member), "learnware": bad}
    assert (await acts(admin))[-2:] == [("federation.takedown", subject), ("federation.putback", subject)]


async def test_admins_are_appointed_and_dismissed_and_forked_owners_pardoned(
    federated, publish, changed, until, signed_in
):
    (founder, second, third), federation = await federated("Founding House", "Second House", "Third House")
    raw, path = bytes.fromhex(federation), f"/federations/{federation}"
    browser = await signed_in(founder)
    await browser.open(f"{path}/members/{id_of(second)}/appoint")
    page = await browser.send(f"{path}/members/{id_of(second)}/appoint", [])
    assert "The member is an admin now." in page.text
    await changed(second, lambda: second.node.identity.public in second.node.federations.admins(raw))
    await until(second, lambda: raw in second.node.peers.shared(id_of(third)))
    page = await (await signed_in(second)).open(path)
    assert "admin" in row(page, "Second House")
    assert "Revoke… Third House" in row(page, "Third House")
    assert "Appoint…" not in page.text

    learnware = await publish(third, federation, BOTH, 0, 1)
    await changed(founder, lambda: learnware in shown(founder))
    key = third.node.identity
    head = third.node.catalogue.log(raw, key.public).head.head
    other = sign_head(key.key, msgspec.structs.replace(head, issued_at=head.issued_at + 1))
    message = encode(Announcement(raw, other.record, third.node.federations.certificate_of(raw, key.public), ()))
    network = founder.node.network
    await network._thread.call(network._replication.accept, raw, id_of(third), message)
    await changed(founder, lambda: learnware not in shown(founder))
    page = await browser.open(path)
    assert "in quarantine hereThird House has signed two histories Pardon…" in page.text
    await browser.open(f"{path}/members/{id_of(third)}/pardon")
    page = await browser.send(f"{path}/members/{id_of(third)}/pardon", [])
    assert "The owner is pardoned at this node" in page.text
    assert learnware in shown(founder)

    await browser.open(f"{path}/members/{id_of(second)}/dismiss")
    page = await browser.send(f"{path}/members/{id_of(second)}/dismiss", [])
    assert "The admin is dismissed" in page.text
    await changed(second, lambda: not second.node.federations.standing(raw, second.node.identity.public, now_ms()))


async def test_renewing_is_told_as_it_went_and_leaving_says_what_is_withdrawn(
    federated, publish, changed, until, signed_in
):
    (admin, member), federation = await federated("Admin House", "Member House")
    raw, path = bytes.fromhex(federation), f"/federations/{federation}"
    learnware = await publish(member, federation, BOTH, 0, 1)
    await changed(admin, lambda: learnware in shown(admin))
    browser = await signed_in(member)
    before = member.node.federations.get(raw).certificate.serial
    page = await browser.open(path)
    assert "renews itself from" in page.text
    page = await browser.send(f"{path}/renewal", [])
    assert "The membership is renewed." in page.text
    assert re.search(r"last tried [\w ]+: renewed", page.text)
    assert member.node.federations.get(raw).certificate.serial > before
    await member.client.add_peer_rule("deny", id_of(admin), force=True)
    page = await browser.send(f"{path}/renewal", [], token=page.form_token)
    assert (page.status, "No admin of the federation is connected" in page.text) == (502, True)
    assert "no admin of the federation is connected" in (await browser.open(path)).text
    assert "no admin of the federation is connected" in (await browser.open("/federations")).text
    await member.client.remove_peer_rule("deny", id_of(admin))
    for here, there in ((member, admin), (admin, member)):
        await until(here, lambda here=here, there=there: raw in here.node.peers.shared(id_of(there)))

    root = (await member.client.catalogue_root(federation)).root
    assert root in (await browser.open(path)).text
    page = await browser.open(f"{path}/leave")
    assert "1 learnware that this node lists there is withdrawn: Digits 0 1" in page.text
    assert federation in [each.id for each in await member.client.federations()]
    page = await browser.send(f"{path}/leave", [])
    assert (page.url, "This node has left the federation" in page.text) == ("/federations", True)
    await changed(admin, lambda: learnware not in shown(admin))
    assert (await browser.open(path)).status == 404
    last = await (await signed_in(admin)).open(f"{path}/leave")
    assert "This node is its only admin" in last.text


async def test_who_may_read_sees_federations_and_is_refused_every_act(federated, signed_in):
    (admin, member), federation = await federated("Admin House", "Member House")
    path = f"/federations/{federation}"
    browser = await signed_in(admin, "read", "publish", "predict")
    for seen in ("/federations", path):
        page = await browser.open(seen)
        assert page.status == 200
        assert set(re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"', page.body)) == {"/language", "/logout"}
        assert not re.search("Revoke…|Invite<|Leave…|Take a learnware", page.body)
    decided = [f"{path}/members/{id_of(member)}/{act}" for act in ("revoke", "appoint", "dismiss", "pardon")]
    asked = [f"{path}/invites", f"{path}/takedowns", f"{path}/leave", *decided]
    for refused in (*asked, "/federations", "/federations/join", f"{path}/renewal"):
        await browser.open(path)
        assert (await browser.send(refused, [("name", "x"), ("invite", "x")])).status == 403
    for refused in asked:
        assert (await browser.open(refused)).status == 403
    by_member = await signed_in(member)
    await by_member.open(path)
    page = await by_member.send(f"{path}/invites", [("role", "member"), ("max_listings", "1"), ("hours", "1")])
    assert "This node is not an admin of the federation" in page.text
    assert [act for act, _ in await acts(admin)] == ["federation.create", "federation.invite", "federation.admit"]
    assert (await by_member.open(f"/federations/{'0' * 64}")).status == 404


def test_an_invite_has_a_code_that_phones_read_unless_it_names_too_many_addresses():
    def line(count):
        address = "/ip4/192.168.100.{}/tcp/40001/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2X8"
        addresses = tuple(address.format(number) for number in range(count))
        return Invite(bytes(32), "A federation with a long name", bytes(16), addresses, now_ms()).line()

    assert all(qr(line(count), "<title>") for count in (1, 8))
    assert qr(line(20), "title") is None
    assert qr("x" * 9000, "title") is None
    assert "&lt;title&gt;" in qr(line(1), "<title>")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_pages_of_federations_are_at_home_on_phones_and_read_aloud(federated, publish, page):
    (admin, member), federation = await federated("Admin House", "Member House")
    learnware = await publish(admin, federation, BOTH, 0, 1)
    await admin.client.invite(federation)
    await sign_in(page, admin)
    path = f"/federations/{federation}"
    decided = [f"{path}/members/{id_of(member)}/{act}" for act in ("revoke", "appoint")]
    takedown = f"{path}/takedowns?owner={id_of(admin)}&learnware={learnware}"
    for each in ("/federations", path, takedown, f"{path}/leave", *decided, f"{path}/invites"):
        await page.goto(admin.url + each)
        await looked_at(page)
    await page.get_by_role("button", name="Make the invite").click()
    await expect(page.locator("svg.qr")).to_be_visible()
    await looked_at(page)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.locator("[data-copies=line]").click()
    await expect(page.locator("[data-copies=line]")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == await page.locator("#line").text_content()
    for width in (1280, 360):
        for scheme in ("light", "dark"):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(color_scheme=scheme)
            assert await scanned(page) == [copied], (width, scheme)


async def scanned(page):
    """What a phone reads off the screen."""
    await page.locator("svg.qr").scroll_into_view_if_needed()
    screen = Image.open(io.BytesIO(await page.screenshot()))
    return [code.text for code in zxingcpp.read_barcodes(screen)]


async def looked_at(page):
    for width, scheme in ((1280, "light"), (360, "dark")):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.emulate_media(color_scheme=scheme)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)
        assert await serious(page) == []
