"""What a node counts of itself: all of it explained, none of it about anybody; and a dashboard of what is there."""

import json
import re
from itertools import product
from pathlib import Path

import aiohttp
from atoll.node.metrics import COUNTERS, VALUES, listed
from atoll.protocol.listings import Offers
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = Path(__file__).parents[2] / "examples" / "deploy" / "grafana" / "atoll.json"
SUFFIX = re.compile(r"_(bucket|sum|count)$")


async def scraped(running):
    """By name: the samples of a node, as {labels: value}."""
    async with aiohttp.ClientSession() as session, session.get(f"{running.url}/metrics") as response:
        assert response.status == 200
        text = await response.text()
    families = list(text_string_to_metric_families(text))
    samples = {}
    for family in families:
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return families, samples


def names(families):
    return {each.name + ("_total" if each.type == "counter" else "") for each in families}


async def test_every_metric_has_its_words_and_the_dashboard_shows_only_what_there_is(start):
    (node,) = await start("node")
    families, _ = await scraped(node)
    described = {each.name: each for each in listed()}
    assert names(families) == set(described)
    assert [each.name for each in families if not each.documentation] == []
    assert all(each.help and each.kind in ("counter", "gauge", "histogram") for each in listed())
    board = json.loads(DASHBOARD.read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    shown = {SUFFIX.sub("", name) for each in targets for name in re.findall(r"\b(?:atoll|process)_\w+", each)}
    assert shown - set(described) == set()
    of_ours = {each.name for each in listed() if each.name.startswith("atoll_")}
    assert of_ours - shown == set()
    assert {each["datasource"]["uid"] for each in board["panels"] if each["type"] != "row"} == {"${datasource}"}
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource", "instance"]
    grouped = re.findall(r"by \(([\w, ]+)\) \((?:rate\(|increase\()?((?:atoll|process)_\w+)", " ".join(targets))
    assert len(grouped) > 20
    for labels, name in grouped:
        known = {*described[SUFFIX.sub("", name)].labels, "instance", "le"}
        assert set(labels.split(", ")) <= known, name


def happened(samples):
    """What of the samples of a metric has been counted."""
    return {labels: value for labels, value in samples.items() if value}


async def test_what_has_not_happened_yet_is_counted_as_such(start):
    """Prometheus sees no increase from nothing to one: the first of its kind would be in no rate."""
    (node,) = await start("node")
    _, samples = await scraped(node)
    labelled = {name for name, (_, labels) in COUNTERS.items() if labels}
    assert labelled - set(VALUES) == {"atoll_http_requests_total"}  # routes and statuses are too many
    for name, values in VALUES.items():
        there = {tuple(sorted(zip(COUNTERS[name].labels, each, strict=True))) for each in product(*values)}
        assert set(samples[name]) == there, name


async def test_what_happens_is_counted_where_it_happens(federated, publish, changed, digits, tmp_path):
    (asked, owner), federation = await federated("Asked", "Owner")
    offers = Offers(disclose="members", predict="members", download="members")
    await publish(asked, federation, Offers(), 2, 3)
    learnware = await publish(owner, federation, offers, 0, 1)
    owned = bytes.fromhex(federation), owner.node.identity.public
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
    found = await asked.client.search_rows(digits.of(0, 1), deadline_ms=10_000)
    assert found.complete
    rows = digits.of(0, 1)
    await asked.client.predict(found.search_id, rows, prefer="remote", send=True)
    await asked.client.fetch(learnware, folder=tmp_path)
    audited = asked.node.audit.head().seq
    _, at_asked = await scraped(asked)
    _, at_owner = await scraped(owner)

    assert happened(at_asked["atoll_searches_total"]) == {(("outcome", "complete"), ("privacy", "rkme")): 1}
    assert at_asked["atoll_search_seconds_count"] == {(): 1}
    assert at_asked["atoll_search_peers_total"][(("outcome", "answered"),)] == len(found.peers_answered) == 2
    assert happened(at_owner["atoll_matches_served_total"]) == {(("outcome", "answered"),): 1}
    assert happened(at_asked["atoll_predictions_total"]) == {(("outcome", "done"),): 1}
    assert at_asked["atoll_predicted_rows_total"][(("place", "owner"),)] == len(rows.values)
    assert at_owner["atoll_predictions_served_total"][(("outcome", "answered"),)] >= 1
    assert happened(at_asked["atoll_downloads_total"]) == {(("outcome", "done"),): 1}
    assert at_asked["atoll_download_bytes_total"][()] > 1000
    assert at_asked["atoll_cache_bytes"][()] >= at_asked["atoll_download_bytes_total"][()]
    assert happened(at_owner["atoll_submissions_decided_total"]) == {(("outcome", "accepted"),): 1}
    assert at_owner["atoll_dock_learnwares"] == {(): 1}
    assert at_asked["atoll_peers"][(("state", "member"),)] == 1
    assert at_asked["atoll_p2p_bytes_total"][(("direction", "in"), ("protocol", "sync"))] > 0
    assert 0 < at_asked["atoll_certificate_seconds"][(("federation", federation[:12]),)] <= 90 * 86_400
    assert audited <= at_asked["atoll_audit_rows"][()] <= asked.node.audit.head().seq
    route = (("method", "POST"), ("route", "/api/v1/searches"), ("status", "200"))
    assert at_asked["atoll_http_requests_total"][route] == 1
    for name in VALUES:  # and all that was counted was there before
        assert (len(at_asked[name]), len(at_owner[name])) == (len([*product(*VALUES[name])]),) * 2, name
    told = str([*at_asked.values(), *at_owner.values()])
    ids = (asked.node.identity.peer, owner.node.identity.peer, learnware, federation)
    assert [each for each in ids if each in told] == []


async def test_a_proxy_that_nobody_has_told_of_does_not_pass_for_this_machine(start):
    (node,) = await start("node")
    async with aiohttp.ClientSession() as session:
        for headers, status in (({}, 200), ({"X-Forwarded-For": "127.0.0.1"}, 401), ({"Via": "1.1 edge"}, 401)):
            async with session.get(f"{node.url}/metrics", headers=headers) as response:
                assert response.status == status, headers


async def test_who_may_read_them_is_for_the_administrator_to_say(start, monkeypatch):
    statuses = {}
    monkeypatch.setenv("ATOLL__HTTP__TRUSTED_PROXIES", "127.0.0.1")  # so that somebody else can be made up
    for kind in ("local", "token", "open"):
        monkeypatch.setenv("ATOLL__HTTP__METRICS", kind)
        (node,) = await start(kind)
        bearer = {"Authorization": f"Bearer {node.token}"}
        elsewhere = {"X-Forwarded-For": "192.0.2.7"}
        async with aiohttp.ClientSession() as session:
            for name, headers in (("here", {}), ("there", elsewhere), ("known", elsewhere | bearer)):
                async with session.get(f"{node.url}/metrics", headers=headers) as response:
                    statuses[kind, name] = response.status
    refused = {place for place, status in statuses.items() if status == 401}
    assert refused == {("local", "there"), ("token", "here"), ("token", "there")}
    assert set(statuses.values()) == {200, 401}
