"""Every act is in the audit log with who asked and what came of it; no secret is."""

import asyncio
import json
import re

import aiohttp
import msgspec
import pytest
from atoll.engine.errors import IntegrityError
from atoll.node.api.server import ROUTES
from atoll.node.cli.audit import _words
from atoll.node.cli.main import cli
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.errors import OUTCOMES, StoreFull
from atoll.node.store.audit import AuditLog
from atoll.node.store.tokens import SCOPES
from atoll.protocol.listings import Offers
from click.testing import CliRunner

ASKING = {  # questions with a body
    "/api/v1/learnwares/{id}/policies/{federation}/who-can", "/beimingwu/user/list_learnware",
}  # fmt: skip
USERS = {  # what users change, who may read or predict
    "/api/v1/catalogue/{id}/requests", "/api/v1/searches/budgets", "/api/v1/downloads", "/api/v1/rows/{sha256}",
    "/api/v1/reuses", "/api/v1/reuses/{id}", "/api/v1/reuses/{id}/start",
}  # fmt: skip
MUTATING = [
    route for route in ROUTES
    if route.method != "GET" and route.path not in ASKING
    and (route.scope in ("publish", "admin") or route.path in USERS)
]  # fmt: skip
EXPORTING = [route for route in ROUTES if route.path == "/api/v1/backup"]  # the node's key leaves with it


def named(route):
    return f"{route.method} {route.path}"


def concrete(path):
    return re.sub(r"{\w+}", "0" * 64, path)


async def rows(running, act=None):
    """(act, subject, outcome) of the log, without the references from an outcome to what was asked."""
    items = (await running.client.audit(0, 1000)).items
    plain = [(row.act, {k: v for k, v in row.subject.items() if k != "asked"}, row.outcome) for row in items]
    return [row for row in plain if act in (None, row[0])]


async def call(running, method, path, **arguments):
    headers = {"Authorization": f"Bearer {running.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, running.url + path, **arguments) as response,
    ):
        return response.status, await response.read()


async def command(running, *arguments, token=None):
    environment = {"ATOLL_URL": running.url, "ATOLL_TOKEN": token or running.token, "COLUMNS": "300"}
    return await asyncio.to_thread(CliRunner().invoke, cli, ["audit", *arguments], env=environment)


def test_no_word_of_a_stranger_is_taken_for_a_field():
    subject = {"peer": "12D3KooW", "name": "Uni, role=admin", "role": "reader", "until": "2026-12-01T00:00:00"}
    assert _words(subject) == 'peer=12D3KooW, name="Uni, role=admin", role=reader, until=2026-12-01T00:00:00'


def tamper(running, seq):
    """Give row ``seq`` another actor, behind the log's back."""
    table, key = running.node.store.table("audit", dict), seq.to_bytes(8, "big")
    running.node.store.write(lambda txn: table.put(txn, key, {**table.get(txn, key), "actor": "bob"})).result()


@pytest.mark.parametrize("route", MUTATING + EXPORTING, ids=named)
def test_each_route_that_changes_something_has_an_act(route):
    assert route.act is not None
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", route.act)


@pytest.mark.parametrize("route", [route for route in ROUTES if route not in MUTATING + EXPORTING], ids=named)
def test_what_changes_nothing_has_none(route):
    assert route.act is None
    assert route.noted == ()


def test_acts_are_told_apart():
    acts = [route.act for route in MUTATING + EXPORTING]
    assert len(acts) == len(set(acts))


async def test_each_act_is_noted_before_and_after(start):
    (node,) = await start("node")
    for route in MUTATING:
        await call(node, route.method, concrete(route.path), data=b"{}")
        asked, answered = (await node.client.audit(0, 1000)).items[-2:]
        assert (asked.act, asked.outcome) == (route.act, "asked")
        assert answered.act == route.act
        assert answered.subject == asked.subject | {"asked": str(asked.seq)}
        assert answered.outcome in {"done", *OUTCOMES}
        assert set(re.findall(r"{(\w+)}", route.path)) <= set(asked.subject)


async def test_an_act_is_noted_with_who_did_what_to_what(start):
    (node,) = await start("node")
    made = await node.client.create_token("ann", ("admin", "read"), 1)
    async with AsyncClient(node.url, made.secret) as ann:
        await ann.create_federation("Hospitals")
        await ann.revoke_token(made.token.id)
    items = (await node.client.audit(0, 1000)).items
    first, mine = items[0].actor, f"ann ({made.token.id[:8]})"
    assert re.fullmatch(r"first admin \([0-9a-f]{8}\)", first)
    assert [(row.actor, row.act, row.subject, row.outcome) for row in items] == [
        (first, "token.create", {"name": "ann", "scopes": "admin, read"}, "asked"),
        (first, "token.create", {"name": "ann", "scopes": "admin, read", "asked": "1"}, "done"),
        (mine, "federation.create", {"name": "Hospitals"}, "asked"),
        (mine, "federation.create", {"name": "Hospitals", "asked": "3"}, "done"),
        (mine, "token.revoke", {"id": made.token.id}, "asked"),
        (mine, "token.revoke", {"id": made.token.id, "asked": "5"}, "done"),
    ]


async def test_a_refused_act_is_noted_with_its_code(start):
    (node,) = await start("node")
    with pytest.raises(RemoteError):
        await node.client.remove_peer("nobody")
    with pytest.raises(RemoteError):
        await node.client.join("no invite")
    await call(node, "POST", "/api/v1/federations", data=b'{"name": ')
    await call(node, "POST", "/api/v1/federations", data=json.dumps({"name": 7}))
    assert await rows(node) == [
        ("peer.remove", {"peer": "nobody"}, "asked"),
        ("peer.remove", {"peer": "nobody"}, "not_found"),
        ("federation.join", {}, "asked"),
        ("federation.join", {}, "federation.invite"),
        ("federation.create", {}, "asked"),
        ("federation.create", {}, "request.invalid"),
        ("federation.create", {}, "asked"),
        ("federation.create", {}, "request.invalid"),
    ]


async def test_an_act_that_fails_unexpectedly_is_noted_as_that(start, monkeypatch):
    (node,) = await start("node")

    def broken(self, *arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(type(node.node.federations), "create", broken)
    assert (await call(node, "POST", "/api/v1/federations", data=b'{"name": "x"}'))[0] == 500
    assert [outcome for *_, outcome in await rows(node)] == ["asked", "internal"]


async def test_looking_searching_and_being_turned_away_are_not_acts(start):
    (node,) = await start("node")
    await node.client.learnwares()
    await node.client.search([])
    async with AsyncClient(node.url, "atoll_unknown") as stranger:
        with pytest.raises(RemoteError, match="unknown"):
            await stranger.create_federation("mine")
    assert await rows(node) == []


async def test_no_secret_is_in_the_log(federated, publish):
    (north, south), federation = await federated("north", "south")
    await publish(north, federation, Offers(), 0, 1)
    invite = (await north.client.invite(federation)).invite
    made = await north.client.create_token("ann", ("read",), 1)
    mistaken = [
        north.client.revoke_token(made.secret),
        north.client.remove_peer(made.secret),
        north.client.join(invite + "x"),
        north.client.invite(invite),
        north.client.add_peer(invite),
    ]
    for each in mistaken:
        with pytest.raises(RemoteError):
            await each
    for node in (north, south):
        stored = b"".join(msgspec.json.encode(row) for row in node.node.audit.entries(0, 1000))
        assert node.node.audit.head().seq > 0
        for secret in (made.secret, invite, north.token, south.token):
            assert secret.encode() not in stored
            assert secret[-20:].encode() not in stored
    assert ("token.revoke", {"id": "(secret)"}, "not_found") in await rows(north)


async def test_without_its_row_an_act_is_not_performed(start, monkeypatch):
    (node,) = await start("node")

    def full(self, *arguments):
        raise StoreFull("the store has reached its largest size")

    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "append", full)
        with pytest.raises(RemoteError) as refused:
            await node.client.create_federation("unseen")
        assert refused.value.code == "store.full"
    assert await node.client.federations() == []
    assert await rows(node) == []


async def test_what_was_done_is_answered_though_its_second_row_is_lost(start, monkeypatch):
    (node,) = await start("node")
    append = AuditLog.append

    def forgetful(self, actor, act, subject, outcome, now):
        if outcome == "done":
            raise StoreFull("the store has reached its largest size")
        return append(self, actor, act, subject, outcome, now)

    monkeypatch.setattr(AuditLog, "append", forgetful)
    made = await node.client.create_federation("seen")
    assert [each.id for each in await node.client.federations()] == [made.id]
    assert await rows(node) == [("federation.create", {"name": "seen"}, "asked")]


async def test_acts_at_the_same_time_make_one_chain(start):
    (node,) = await start("node")
    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(node.client.create_token(f"t{number}", ("read",), 1))
    items = (await node.client.audit(0, 1000)).items
    asked = {str(row.seq): row.subject["name"] for row in items if row.outcome == "asked"}
    answered = {row.subject["asked"]: row.subject["name"] for row in items if row.outcome == "done"}
    assert asked == answered
    assert len(asked) == 12
    assert (await node.client.verify_audit()).broken is None


async def test_the_log_survives_a_restart(make_home, start_home):
    home, token = make_home("node")
    async with start_home(home, token) as node:
        await node.client.create_federation("one")
        head = await node.client.verify_audit()
    async with start_home(home, token) as node:
        await node.client.create_federation("two")
        found = await node.client.verify_audit((head.seq, head.digest))
        assert (found.seq, found.broken) == (4, None)


async def test_the_log_is_read_in_pages(start):
    (node,) = await start("node")
    for number in range(3):
        await node.client.create_federation(f"f{number}")
    seen, after = [], 0
    while after is not None:
        page = await node.client.audit(after, 4)
        seen, after = seen + [row.seq for row in page.items], page.cursor
        assert page.total == 6
    assert seen == [1, 2, 3, 4, 5, 6]
    newest = await node.client.audit(limit=2)
    assert ([row.seq for row in newest.items], newest.cursor) == ([5, 6], None)
    assert (await node.client.audit(6)).items == ()


@pytest.mark.parametrize(
    "query",
    [
        "audit?limit=0", "audit?limit=1001", "audit?limit=x", "audit?after=-1", "audit?after=99999999999999999999",
        "audit/verification?seq=1", "audit/verification?digest=" + "0" * 64, "audit/verification?seq=-1&digest=00",
    ],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_refused(start, query):
    (node,) = await start("node")
    status, body = await call(node, "GET", f"/api/v1/{query}")
    assert (status, json.loads(body)["code"]) == (400, "request.invalid")


async def test_only_administrators_read_the_log(start):
    (node,) = await start("node")
    made = await node.client.create_token("most", tuple(scope for scope in SCOPES if scope != "admin"), 1)
    async with AsyncClient(node.url, made.secret) as client:
        for question in (client.audit(), client.verify_audit()):
            with pytest.raises(RemoteError) as refused:
                await question
            assert refused.value.code == "auth.scope"


async def test_tampering_is_reported_over_http(start):
    (node,) = await start("node")
    await node.client.create_federation("one")
    await node.client.create_federation("two")
    await asyncio.to_thread(tamper, node, 2)
    found = await node.client.verify_audit()
    assert found.broken == 3
    assert "does not follow" in found.why


async def test_listing_from_the_command_line(start):
    (node,) = await start("node")
    await node.client.create_federation("[/red] \x1b[2J")
    result = await command(node, "list")
    assert result.exit_code == 0, result.output
    assert "federation.create" in result.stdout
    assert "[/red]" in result.stdout
    assert "\x1b" not in result.stdout
    (only,) = json.loads((await command(node, "list", "--json", "--limit", "1")).stdout)
    assert (only["seq"], only["act"], only["outcome"]) == (2, "federation.create", "done")


async def test_verifying_from_the_command_line(start):
    (node,) = await start("node")
    await node.client.create_federation("one")
    result = await command(node, "verify")
    assert result.exit_code == 0, result.output
    witness = result.stdout.split()[-1]
    await node.client.create_federation("two")
    assert (await command(node, "verify", "--witness", witness)).exit_code == 0
    found = json.loads((await command(node, "verify", "--json", "--witness", witness)).stdout)
    assert (found["seq"], found["broken"]) == (4, None)

    refused = await command(node, "verify", "--witness", witness[:-1] + ("0" if witness[-1] != "0" else "1"))
    assert isinstance(refused.exception, IntegrityError)
    assert "witness" in refused.exception.message
    assert (await command(node, "verify", "--witness", "2")).exit_code == 2


async def test_a_broken_log_ends_the_command_with_the_code_of_integrity(start):
    (node,) = await start("node")
    await node.client.create_federation("one")
    await asyncio.to_thread(tamper, node, 1)
    result = await command(node, "verify")
    assert isinstance(result.exception, IntegrityError)
    assert OUTCOMES[result.exception.code].exit_code == 18
    assert "row 2" in result.exception.message
