"""The API is what its description says, whatever is sent to it: requests are made from the description (schemathesis).

One node with something of each kind in it runs in a thread. Half of the ids are of what is there, so that more than
"not found" is seen. Nothing leaves the loopback: that is watched.
"""

import asyncio
import contextlib
import json
import sys
import threading
from dataclasses import dataclass

import pytest
import requests
import schemathesis
from atoll.node.api.openapi import document
from atoll.node.api.server import ROUTES, serving
from atoll.node.app import running
from atoll.node.cli.main import cli
from atoll.node.client import AsyncClient
from atoll.node.errors import OUTCOMES
from atoll.node.language import gettext, speaking
from atoll.node.web.failures import kind
from atoll.protocol.listings import Offers
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES, MANY = 3, 150
SECONDS = 30.0  # for one answer
PROBLEM = "application/problem+json"
CONFORM = [status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT = json.loads(json.dumps(document(ROUTES)))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {operation.label: operation for operation in (result.ok() for result in SCHEMA.get_all_operations())}
NOWHERE = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWGjfPc5wmHm33wCgL8afNLDHCuh24ojhW2mSQQou9Wsai"
load_all_checks()

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # of schemathesis itself


@dataclass
class Subject:
    """A running node, the secret of its admin, and ids of what is in it, by the name of the field."""

    url: str
    token: str
    known: dict


@pytest.fixture(scope="module")
def subject(tmp_path_factory, digits, package_of):
    """Its limits of rate are lifted, for all of this comes from one address."""
    home, stop, found = tmp_path_factory.mktemp("contract") / "home", None, {}
    patch = pytest.MonkeyPatch()
    patch.setenv("ATOLL__HTTP__REQUESTS_PER_SECOND", "100000")
    patch.setenv("ATOLL__HTTP__BURST", "1000000")
    arguments = ["init", "--home", str(home), "--name", "Contract House", "--http-port", "0"]
    made = CliRunner().invoke(cli, [*arguments, "--listen", "/ip4/127.0.0.1/tcp/0", "--json"])
    token, ready = json.loads(made.output)["token"], threading.Event()

    async def serve():
        nonlocal stop
        stop = asyncio.Event()
        async with running(home) as node, serving(node) as url, AsyncClient(url, token) as client:
            found.update(loop=asyncio.get_running_loop(), subject=Subject(url, token, await furnish(node, client)))
            ready.set()
            await stop.wait()

    async def furnish(node, client):
        federation, island = (await client.create_federation("Coast")).id, digits.island()
        await client.add_island(island)
        learnware = await client.add_learnware(package_of(node.identity.peer, island, 0, 1))
        offers = Offers(disclose="members", predict="members", download="members")
        await client.publish(learnware.learnware_id, federation, offers)
        search = await client.search_rows(digits.of(0, 1))
        reuse = await client.plan_reuse(search.search_id, digits.of(0, 1))
        await client.start_reuse(reuse.id, send=True)
        [event async for event in client.reuse_events(reuse.id)]
        submission = (await client.submissions())[0].id
        return {
            "learnwares": learnware.learnware_id, "federations": federation, "catalogue": learnware.learnware_id,
            "searches": search.search_id, "reuses": reuse.id, "submissions": submission, "federation": federation,
            "peer": node.identity.peer, "learnware": learnware.learnware_id, "revision": learnware.revision,
            "search_id": search.search_id, "island": island.id, "learnware_id": learnware.learnware_id,
            "code": learnware.learnware_id,
        }  # fmt: skip

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(90)
    yield found["subject"]
    found["loop"].call_soon_threadsafe(stop.set)
    thread.join(60)
    patch.undo()


@pytest.fixture(scope="module")
def package_of(digits):
    return digits.package


@pytest.fixture(scope="module", autouse=True)
def only_loopback():
    """No connection leaves this machine, whoever makes it."""
    watching, left = True, []

    def watch(event, arguments):
        if watching and event == "socket.connect" and isinstance(arguments[1], tuple):
            host = str(arguments[1][0])
            if not (host.startswith("127.") or host in ("localhost", "::1")):
                left.append(arguments[1])

    sys.addaudithook(watch)
    yield
    watching = False
    assert left == []


def test_the_description_is_openapi_and_says_something_of_every_route():
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []
    described = {(method, path): each for path, item in DOCUMENT["paths"].items() for method, each in item.items()}
    assert set(described) == {(route.method.lower(), route.path) for route in ROUTES}
    names = [each["operationId"] for each in described.values()]
    assert len(names) == len(set(names))
    codes = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert codes == sorted(OUTCOMES)
    for route in ROUTES:
        each = described[route.method.lower(), route.path]
        assert each["tags"], route.path
        assert each["responses"][str(route.status)], route.path
        if route.method in ("POST", "PUT") and "requestBody" not in each:
            assert not route.body, route.path
        asked = [scope for need in each.get("security", []) for scope in need.get("bearer", [])]
        assert asked == ([route.scope] if route.scope else []), route.path


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_as_described(subject, label):
    attack(subject, label, EXAMPLES)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("label", OPERATIONS)
def test_many_answers_are_as_described(subject, label):
    attack(subject, label, MANY)


def attack(subject, label, examples):
    """Requests that fit and some that do not, by the administrator and by nobody."""
    operation = OPERATIONS[label]
    method, _, path = label.partition(" ")
    described = DOCUMENT["paths"][path][method.lower()]
    takes = described["parameters"] or "requestBody" in described  # else there is nothing to get wrong
    for mode in (GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if takes else [])):

        @given(case=operation.as_strategy(mode), known=st.booleans())
        @settings(
            max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case, known):
            aim(subject, case, known=known)
            check(case, case.call(base_url=subject.url, headers=bearer(subject.token), timeout=SECONDS))
            check(case, case.call(base_url=subject.url, timeout=SECONDS))

        ask()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def aim(subject, case, *, known):
    """At what is there, if ``known``; what removes it aims at nothing. No dial leaves the loopback."""
    if known and case.method != "DELETE":
        for name in case.path_parameters:
            kind = case.path.split("/")[3] if name == "id" and case.path.startswith("/api/") else name
            if kind in subject.known:
                case.path_parameters[name] = subject.known[kind]
        if isinstance(case.body, dict):
            case.body.update({name: subject.known[name] for name in case.body if name in subject.known})
    if case.path == "/api/v1/peers" and isinstance(case.body, dict) and "/" in str(case.body.get("address")):
        case.body["address"] = NOWHERE


def check(case, response):
    """5XX only where it is described, and never for want of a better answer."""
    if response.status_code >= 500:
        assert response.headers["Content-Type"] == PROBLEM
        assert response.json()["code"] not in ("internal", "config.invalid"), response.text
    if response.status_code != 405:
        case.validate_response(response, checks=CONFORM)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/api/v1/node", "/api/v1/tokens", "/healthz"])
def test_a_method_that_is_not_there_is_a_problem_that_names_those_that_are(subject, method, path):
    answer = requests.request(method, subject.url + path, timeout=SECONDS)
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, PROBLEM)
    assert "GET" in answer.headers["Allow"]
    if method != "HEAD":
        assert answer.json()["code"] == "request.invalid"


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v2/node", "/beimingwu/nothing", "/api/v1/node/", "/%00", "/a%ff"]
)
def test_a_path_that_is_not_there_is_a_problem_for_programs(subject, path):
    answer = requests.get(subject.url + path, timeout=SECONDS)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)
    assert answer.json()["code"] == "not_found"


def test_what_is_no_http_is_a_problem_too(subject):
    answer = requests.request("BREW", subject.url + "/api/v1/node", timeout=SECONDS)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
    assert answer.json()["code"] == "request.invalid"


def test_a_path_that_is_not_there_is_a_page_in_the_language_of_whoever_looks(subject):
    for language in ("en", "zh-CN"):
        with speaking(language[:2]):
            words = gettext(kind("not_found").name)
        headers = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": language}
        answer = requests.get(f"{subject.url}/no/such/page", headers=headers, timeout=SECONDS)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"].startswith("text/html")
        assert f'<html lang="{language[:2]}">' in answer.text
        assert words in answer.text


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/" + "a" * 100_000, {}),
        ("/api/v1/catalogue?cursor=" + "a" * 100_000, {}),
        ("/api/v1/node", {"X-Long": "a" * 100_000}),
        ("/api/v1/node", {f"X-{count}": "a" for count in range(5000)}),
        ("/api/v1/tokens", {"Authorization": "Bearer " + "a" * 7000}),
        ("/api/v1/tokens", {"Authorization": "Bearer \xff\xfe"}),
        ("/", {"Cookie": "; ".join(f"a{count}=b" for count in range(700))}),
        ("/", {"Accept-Language": "," * 5000}),
    ],
)  # fmt: skip
def test_what_is_too_long_or_strange_is_refused_and_the_node_lives(subject, path, headers):
    with contextlib.suppress(requests.ConnectionError):  # hung up in the middle of it
        assert (
            requests.get(subject.url + path, headers=headers, timeout=SECONDS, allow_redirects=False).status_code < 500
        )
    assert requests.get(f"{subject.url}/healthz", timeout=SECONDS).status_code == 200
