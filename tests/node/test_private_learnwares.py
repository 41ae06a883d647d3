"""Learnwares under differential privacy: only a noised sketch leaves, budgets are counted, search still finds them."""

import io
import json

import numpy as np
import pytest
from atoll.engine.packages import open_package
from atoll.engine.specs.noised import NoisedSketch
from atoll.node.cli.main import cli
from atoll.node.client import RemoteError
from atoll.node.store.ledger import Ledger, Spending
from atoll.protocol.listings import Offers
from atoll.protocol.match import MatchRequest
from atoll.protocol.policy import Asker
from click.testing import CliRunner

EVERYTHING = Offers(disclose="members", predict="members", download="members")


async def grant(running, digits, *classes, epsilon=1.0, dataset="digits"):
    units = digits.island().transform(digits.of(*classes))
    return await running.client.spend_privacy(dataset, units, digits.island(), epsilon, 1e-6)


async def published(running, federation, digits, *classes):
    await running.client.add_island(digits.island())
    budget = await grant(running, digits, *classes)
    package = digits.package(running.node.identity.peer, digits.island(), *classes, budget=budget)
    learnware = await running.client.add_learnware(package)
    await running.client.publish(learnware.learnware_id, federation, EVERYTHING)
    return learnware.learnware_id


async def test_the_same_data_and_budget_spend_once(start, digits):
    (node,) = await start("node")
    first, again = [await grant(node, digits, 0, 1, 2, 3) for _ in range(2)]
    other = await grant(node, digits, 0, 1, 2)
    assert first == again
    assert other.secret != first.secret
    assert [(each.rows, each.epsilon) for each in await node.client.privacy_spendings()] == [(720, 1.0), (537, 1.0)]


async def test_a_budget_beyond_the_limit_is_refused_and_not_entered(start, digits):
    (node,) = await start("node")
    await grant(node, digits, 0, 1, 2, epsilon=3.0)
    with pytest.raises(RemoteError, match="limit") as refused:
        await grant(node, digits, 3, 4, 5, epsilon=2.0)
    assert refused.value.code == "spec.privacy"
    await grant(node, digits, 3, 4, 5, epsilon=2.0, dataset="another")
    assert [each.epsilon for each in await node.client.privacy_spendings()] == [3.0, 2.0]


@pytest.mark.parametrize(("epsilon", "count"), [(0.0, 500), (1.0, 50)])
async def test_a_budget_that_promises_nothing_is_not_entered(start, digits, epsilon, count):
    (node,) = await start("node")
    units = digits.island().transform(digits.of(0, 1, 2))[:count]
    with pytest.raises(RemoteError):
        await node.client.spend_privacy("digits", units, digits.island(), epsilon, 1e-6)
    assert await node.client.privacy_spendings() == []


async def test_the_ledger_survives_a_restart(make_home, start_home, digits):
    home, token = make_home("node")
    async with start_home(home, token) as node:
        budget = await grant(node, digits, 0, 1, 2)
    async with start_home(home, token) as node:
        assert await grant(node, digits, 0, 1, 2) == budget


async def test_it_is_found_and_reused_by_its_noised_sketch(federated, digits, changed, until):
    (north, south), federation = await federated("north", "south")
    low = await published(south, federation, digits, 0, 1, 2)
    high = await published(south, federation, digits, 7, 8, 9)
    of_south = bytes.fromhex(federation), south.node.identity.public
    await changed(north, lambda: len(north.node.catalogue.of_owner(*of_south)) == 2)
    await until(north, lambda: len(north.node.catalogue.islands()) == 1)
    rows, labels = digits.of(0, 1, 2), digits.labels_of(0, 1, 2)

    found = await north.client.search_rows(rows, deadline_ms=10_000)

    assert [hit.learnware_id for hit in found.hits] == [low, high]
    assert all(hit.estimated and not hit.suspect for hit in found.hits)
    assert found.complete
    assert found.mixture.representation == "sketch"
    assert [member.learnware_id for member in found.mixture.members][:1] == [low]
    answer = await north.client.predict(found.search_id, rows, send=True)
    assert np.mean(np.array(answer.labels).astype(int) == labels) > 0.8  # each run has other noise


async def test_neither_the_package_nor_the_owner_has_points_to_give(federated, digits):
    (north,), federation = await federated("north")
    learnware = bytes.fromhex(await published(north, federation, digits, 0, 1, 2))
    held = north.node.dock.get(learnware)
    assert [type(full) for full in held.specifications.values()] == [NoisedSketch]
    (listing,) = north.node.publisher.listed_in(learnware)
    (summary,) = listing.specifications
    assert summary.dp.epsilon == 1.0
    asked = digits.package(north.node.identity.peer, digits.island(), 0, 1, 2)
    with open_package(io.BytesIO(asked)) as package:
        ((rkme, _),) = package.specifications().values()
    request = MatchRequest(bytes.fromhex(federation), digits.island().digest, rkme.record())
    assert north.node.owner.match(Asker(north.node.identity.peer, "u"), request).answers == ()


def test_two_at_once_cannot_pass_the_limit_together(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from atoll.engine.errors import PrivacyRefusal
    from atoll.node.store.environment import Store

    store = Store(tmp_path)
    ledger = Ledger(store, epsilon_limit=2.0)

    def spend(number):
        try:
            ledger.spend(Spending("data", bytes([number] * 32), bytes(32), 1000, 1.0, 1e-6), number)
        except PrivacyRefusal:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(8))) == 2
    assert len(ledger.entries()) == 2
    store.close()


async def test_packing_with_a_budget_from_the_command_line(start, digits, tmp_path):
    import asyncio

    from atoll.engine.packages.convert import to_onnx
    from sklearn.linear_model import LogisticRegression

    (node,) = await start("node")
    await node.client.add_island(digits.island())
    rows, labels = digits.of(0, 1, 2), digits.labels_of(0, 1, 2)
    data, words, model = tmp_path / "digits.csv", tmp_path / "words.json", tmp_path / "model.onnx"
    np.savetxt(data, rows.values, delimiter=",", header=",".join(rows.columns), comments="")
    words.write_text(json.dumps({"name": "Digits"}))
    model.write_bytes(to_onnx(LogisticRegression(max_iter=3000).fit(rows.values, labels), 64))

    async def run(*arguments):
        environment = {"ATOLL_URL": node.url, "ATOLL_TOKEN": node.token}
        result = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, "--json"], env=environment)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    names = [part for name in "012" for part in ("--class-name", name)]
    for target in ("a.zip", "b.zip"):
        await run("learnware", "pack", str(model), "--data", str(data), "--semantic", str(words), *names,
                  "--dp-epsilon", "0.5", "-o", str(tmp_path / target))  # fmt: skip
    (spent,) = await run("spec", "ledger")
    assert (spent["dataset"], spent["epsilon"], spent["rows"]) == ("digits.csv", 0.5, 537)
    sketches = []
    for target in ("a.zip", "b.zip"):
        with open_package(tmp_path / target) as package:
            ((noised, _),) = package.specifications().values()
            sketches.append(noised.to_bytes())
    assert sketches[0] == sketches[1]
