"""The policy editor: what it shows before it is saved is what the gate then lets through."""

import asyncio
import re

import pytest
from atoll.node.cli.main import cli
from atoll.node.client import RemoteError
from atoll.node.clock import now_ms
from atoll.node.web.dock.policy_form import SHOWN, PolicyForm
from atoll.node.web.dock.preview import Cell, Line, gathered
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Offers
from atoll.protocol.policy import ACTS, Asker, Policy, Rule
from browser import CHROMIUM, choose, serious, sign_in
from click.testing import CliRunner
from playwright.async_api import expect

browsing = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
PRIVATE = [("match", "members"), ("disclose", "nobody"), ("predict", "nobody"), ("download", "nobody")]
LEVELS = {"no": "no", "on request": "ask", "yes": "users", "yes, anyone": "anyone"}


def fields(**changed):
    """Those of a form that is private but for what is ``changed``; a list is sent value by value."""
    kept = {name: [value] for name, value in PRIVATE}
    kept |= {name.replace("__", "-"): value if isinstance(value, list) else [value] for name, value in changed.items()}
    return [(name, value) for name, values in kept.items() for value in values]


def matrix(body):
    """{member: {act: level}} of the page's table, as it would be."""
    table = re.search(r'<table class="table matrix".*?</table>', body, re.S)[0]
    found = {}
    for row in re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", table, re.S):
        name = re.search(r"<bdi[^>]*>(.*?)</bdi>", row)[1]
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
        texts = [re.sub(r"<[^>]*>", "", cell.partition("<del")[0]).strip() for cell in cells]
        found[name] = {act: LEVELS[text] for act, text in zip(ACTS, texts, strict=True)}
    return found


def let_through(owner, learnware, members):
    """The same, as the gate lets each member's users through."""
    gate, (listing,) = owner.node.gate, owner.node.publisher.listed_in(bytes.fromhex(learnware))
    found = {}
    for name, running in members.items():
        known, unknown = Asker(running.node.identity.peer, "somebody"), Asker(running.node.identity.peer)
        found[name] = {
            act: "anyone" if gate.may(act, listing, unknown, now_ms()) else
            "users" if gate.may(act, listing, known, now_ms()) else
            "ask" if gate.policy(listing).rule(act).audience == "ask" else "no"
            for act in ACTS
        }  # fmt: skip
    return found


@pytest.fixture
async def scene(federated, publish, visitor):
    """A learnware that its federation may match: ``owner, members, federation, learnware, browser``."""
    nodes, federation = await federated("Owner House", "Named House", "Plain House")
    learnware = await publish(nodes[0], federation, Offers(), 0, 1)
    browser = await visitor(nodes[0])
    await browser.sign_in()
    members = dict(zip(("Owner House", "Named House", "Plain House"), nodes, strict=True))
    return nodes[0], members, federation, learnware, browser


async def test_the_preview_is_what_the_gate_lets_through_once_it_is_saved(scene):
    owner, members, federation, learnware, browser = scene
    path, peer = f"/dock/{learnware}/policies/{federation}", members["Named House"].node.identity.peer
    page = await browser.open(path)
    assert "This is the policy in force." in page.text
    assert "named peers and quotas stay on this node" in page.text
    assert matrix(page.body) == let_through(owner, learnware, members)
    edited = fields(
        match="anyone", predict="members", predict__per_user="30", disclose="ask", named=peer, download__peers=peer
    )
    before = let_through(owner, learnware, members)
    page = await browser.send(f"{path}/preview", edited)
    shown = matrix(page.body)
    assert shown["Named House"] == {"match": "anyone", "disclose": "ask", "predict": "users", "download": "users"}
    assert shown["Plain House"] == {"match": "anyone", "disclose": "ask", "predict": "users", "download": "no"}
    assert page.body.count('class="changed"') == 8  # match of all three, the rest of the two others
    assert "cannot be recalled" in page.text
    assert "Changes what members may do in 4 acts." in page.text
    assert let_through(owner, learnware, members) == before  # a preview changes nothing
    page = await browser.open(f"{path}/preview")  # one that is loaded anew begins with what is in force
    assert page.url == path
    page = await browser.send(path, edited)
    assert "This cannot be taken back" in page.text
    assert let_through(owner, learnware, members) == before
    page = await browser.send(path, [*edited, ("sure", "download")])
    assert page.url == f"/dock/{learnware}"
    assert "The policy is in force" in page.text
    assert let_through(owner, learnware, members) == shown
    assert (await owner.client.policies(learnware))[federation] == Policy(
        Rule("anyone"), Rule("ask"), Rule("members", per_user=30), Rule("nobody", (peer,))
    )
    page = await browser.open(path)
    assert matrix(page.body) == shown
    assert "This is the policy in force." in page.text
    (listing,) = owner.node.publisher.listed_in(bytes.fromhex(learnware))
    assert listing.offers == Offers("anyone", "ask", "members", "nobody")  # of names and quotas it says nothing


async def test_saving_is_the_same_act_as_by_the_api(scene):
    owner, _, federation, learnware, browser = scene
    await browser.open(f"/dock/{learnware}/policies/{federation}")
    await browser.send(f"/dock/{learnware}/policies/{federation}", fields(predict="members"))
    await owner.client.publish(learnware, federation, Policy())
    await owner.client.publish(learnware, federation, Policy(predict=Rule("members")))
    rows = [row for row in (await owner.client.audit()).items if row.act == "learnware.publish"]
    first, by_page, back, by_api = (
        {k: v for k, v in row.subject.items() if k != "asked"} for row in rows if row.outcome == "done"
    )
    subject = {"id": learnware, "federation": federation, "match": "members", "disclose": "nobody"}
    assert first == subject | {"predict": "nobody", "download": "nobody"}
    assert by_page == subject | {"predict": "members", "download": "nobody", "predict_before": "nobody"}
    assert back == first | {"predict_before": "members"}
    assert by_api == by_page


async def test_the_log_says_what_a_refused_change_was_to_be(scene):
    owner, _, federation, learnware, _ = scene
    with pytest.raises(RemoteError):
        await owner.client.publish(learnware, federation, Policy(predict=Rule("ask", ("nobody",), 3, 1)))
    refused = (await owner.client.audit()).items[-1]
    assert refused.outcome != "done"
    assert refused.subject["predict"] == "ask; also …nobody; 3 a day for a peer; 1 a day for a user"
    assert refused.subject["predict_before"] == "nobody"


async def test_the_log_is_read_with_its_policies_on_the_page_and_in_a_terminal(scene):
    owner, members, federation, learnware, browser = scene
    peer = members["Named House"].node.identity.peer
    await owner.client.publish(learnware, federation, Policy(download=Rule("ask", (peer,), 2, 1)))
    noted = f"ask; also …{peer[-8:]}; 2 a day for a peer; 1 a day for a user"
    assert f"download {noted} download_before nobody" in (await browser.open("/admin/audit")).text
    environment = {"ATOLL_URL": owner.url, "ATOLL_TOKEN": owner.token, "COLUMNS": "400"}
    told = await asyncio.to_thread(CliRunner().invoke, cli, ["audit", "list"], env=environment)
    assert f'download="{noted}", download_before=nobody' in " ".join(told.output.split())


async def test_what_is_amiss_is_told_beside_its_field_and_changes_nothing(scene, monkeypatch):
    owner, members, federation, learnware, browser = scene
    path, before = f"/dock/{learnware}/policies/{federation}", await owner.client.policies(learnware)
    await browser.open(path)

    def fault(page, name):
        return re.search(rf'id="{name}-error" role="alert">([^<]*)<', page.body)[1]

    page = await browser.send(path, fields(predict="members", predict__per_peer="many", match="everybody"))
    assert page.status == 422
    assert "whole number" in fault(page, "predict-per_peer")
    assert "Choose for whom" in fault(page, "match")
    page = await browser.send(f"{path}/preview", fields(add="Nobody House"))
    assert "No member has this name" in fault(page, "add")
    assert 'value="Nobody House"' in page.body
    page = await browser.send(f"{path}/preview", fields(add="Named House"))
    assert f'name="named" value="{members["Named House"].node.identity.peer}"' in page.body
    monkeypatch.setattr("atoll.node.policy.checking.why_not", lambda manifest: "it takes texts")
    page = await browser.send(path, fields(predict="ask"))
    assert page.status == 422
    assert "Predict cannot be offered: it takes texts" in fault(page, "predict")
    for hostile in (fields(named="not a peer"), fields(named=["x"] * 20_000)):
        page = await browser.send(path, hostile)
        assert page.status == 400
        await browser.open(path)
    assert (await browser.send(path, fields(predict="members"), token="0" * 40)).status == 403
    assert await owner.client.policies(learnware) == before


async def test_one_federation_learns_nothing_of_another_and_listing_begins_with_match_only(scene, start):
    owner, _, federation, learnware, browser = scene
    (stranger,) = await start("Stranger House")
    second = (await owner.client.create_federation("second")).id
    await stranger.client.join((await owner.client.invite(second)).invite)
    await owner.client.publish(learnware, federation, Policy(download=Rule("nobody", (stranger.node.identity.peer,))))
    first = await browser.open(f"/dock/{learnware}/policies/{federation}")
    assert "Stranger House" not in matrix(first.body)
    assert "no member now" in first.text
    page = await browser.open(f"/dock/{learnware}/policies/{second}")
    assert "Not listed yet" in page.text
    assert "Plain House" not in page.body
    nothing = dict.fromkeys(ACTS, "no")
    assert matrix(page.body)["Stranger House"] == {**nothing, "match": "users"}
    page = await browser.send(f"/dock/{learnware}/policies/{second}/preview", fields(preset="predict"))
    shown = matrix(page.body)
    assert shown["Stranger House"] == {**nothing, "match": "users", "predict": "users"}
    page = await browser.send(f"/dock/{learnware}/policies/{second}", fields(predict="members"))
    assert page.status == 200
    assert "second" in page.text
    found = {each.name: each.acts for each in await owner.client.who_can(learnware, second)}
    assert found["Stranger House"] == ("match", "predict")
    assert (await owner.client.policies(learnware))[federation].predict == Rule()
    foreign = (await stranger.client.create_federation("foreign")).id
    assert (await browser.open(f"/dock/{learnware}/policies/{foreign}")).status == 404


async def test_a_specification_of_few_rows_takes_the_owners_word_in_an_open_federation(start, digits, visitor):
    (owner,) = await start("Owner House")
    federation = (await owner.client.create_federation("open", open=True)).id
    await owner.client.add_island(digits.island())
    fewer = type(digits)(digits.values[:1400], digits.labels[:1400])
    few = fewer.package(owner.node.identity.peer, digits.island(), 0, 1)
    learnware = (await owner.client.add_learnware(few)).learnware_id
    path, browser = f"/dock/{learnware}/policies/{federation}", await visitor(owner)
    await browser.sign_in()
    page = await browser.open(path)
    assert 'name="few_rows"' in page.body
    page = await browser.send(path, fields())
    assert page.status == 422
    assert "rows are few" in page.text
    assert not (await owner.client.learnwares())[0].listed
    await browser.send(path, fields(few_rows="yes"))
    assert federation in (await owner.client.learnwares())[0].listed


@browsing
async def test_the_preview_follows_every_change_and_the_page_is_for_everybody(scene, page):
    owner, _, federation, learnware, _ = scene
    await sign_in(page, owner)
    await page.goto(f"{owner.url}/dock/{learnware}/policies/{federation}")
    cell = page.locator(".matrix tr", has_text="Plain House").locator("td").nth(3)
    await expect(cell).to_have_text("no")
    await page.focus("input[name=download]:checked")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await expect(cell).to_contain_text("yes")
    await expect(page.locator("#preview .advice").first).to_contain_text("cannot be recalled")
    await page.fill("#predict-per_user", "x")
    await expect(page.locator("#predict-per_user-error")).to_contain_text("whole number")
    assert await serious(page) == []
    await page.fill("#predict-per_user", "")
    await expect(page.locator("#predict-per_user-error")).to_be_empty()
    await page.fill("#add", "Named House")
    await page.keyboard.press("Enter")
    await expect(page.locator(".ticks bdi")).to_have_text("Named House")
    await page.check(".ticks tr:has-text('Named House') input[name=predict-peers]")
    await expect(page.locator(".matrix tr", has_text="Named House").locator("td").nth(2)).to_contain_text("yes")
    await page.click("#save")
    await expect(page.locator("#sure")).to_be_focused()
    await choose(page, scheme="dark")
    assert await serious(page) == []
    await page.set_viewport_size({"width": 360, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.click("#sure button")
    await expect(page.locator(".said")).to_contain_text("in force")
    assert (await owner.client.policies(learnware))[federation].download.audience == "members"


def test_members_that_are_alike_share_a_line_and_those_that_are_not_have_their_own():
    plain, granted = (Cell("users", "users"),) * 4, (Cell("no", "users"),) * 4
    own = [Line("me", "Me", 1, True, plain)]
    others = [Line(f"peer {place}", f"Member {place:02d}", 1, False, plain) for place in range(40)]
    others[7] = Line("peer 7", "Member 07", 1, False, granted)
    lines, more = gathered([*others, *own], frozenset({"peer 3"}))
    assert [line.peer for line in lines] == ["me", "peer 3", "peer 7", ""]
    assert (lines[-1].count, lines[-1].cells, more) == (38, plain, 0)
    few, _ = gathered([*others[:5], *own], frozenset())
    assert [line.peer for line in few] == ["me", *(f"peer {place}" for place in range(5))]
    lines, more = gathered(others, frozenset(line.peer for line in others[:39]))
    assert (len(lines), more, sum(line.count for line in lines)) == (40, 0, 40)


def test_named_peers_without_a_line_stay_as_they_are():
    peers = tuple(peer_id(bytes([place]) * 32) for place in range(SHOWN + 5))
    kept = Policy(predict=Rule("nobody", peers))
    form = PolicyForm.of(kept)
    assert (len(form.named), form.hidden) == (SHOWN, 5)
    sent = {act: [getattr(kept, act).audience] for act in ACTS} | {"named": form.named, "predict-peers": peers[:2]}
    read = PolicyForm.read({**sent, "add": [peer_id(bytes([99]) * 32)]}, kept, [])
    assert set(read.policy().predict.peers) == {*peers[:2], *peers[SHOWN:]}
    assert list(read.errors) == ["add"]  # there is no line left
