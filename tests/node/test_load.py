"""One learnware of the network as a model, here or at its owner, as its owner allows."""

import asyncio

import atoll
import numpy as np
import pytest
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers


@pytest.mark.parametrize(
    ("offers", "place"), [(Offers(download="members"), "local"), (Offers(predict="members"), "remote")]
)
async def test_a_learnware_is_loaded_and_predicts_where_its_owner_lets_it(
    federated, publish, changed, until, digits, offers, place
):
    (north, south), federation = await federated("north", "south")
    learnware = await publish(north, federation, offers, 0, 1)
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)
    await until(south, lambda: south.node.catalogue.islands() != [])
    rows, truth = digits.of(0, 1), digits.labels_of(0, 1)

    model = atoll.Client(south.url, south.token).load(learnware, send=place == "remote")
    found = await asyncio.to_thread(model.predict, rows)
    shares = await asyncio.to_thread(model.predict_proba, rows)
    answer = await south.client.load(learnware, send=place == "remote").answer(rows)

    assert np.mean(found.astype(int) == truth) > 0.95
    assert shares.shape == (len(truth), 2)
    assert answer.places == {learnware: place}


async def test_what_its_owner_does_not_offer_is_refused_in_words(federated, publish, changed, until, digits):
    (north, south), federation = await federated("north", "south")
    learnware = await publish(north, federation, Offers(), 0, 1)
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)
    await until(south, lambda: south.node.catalogue.islands() != [])
    with pytest.raises(AtollError, match="offers you") as refused:
        await south.client.load(learnware).answer(digits.of(0, 1))
    assert refused.value.code == "policy.denied"
    assert (await north.client.load(learnware).answer(digits.of(0, 1))).places == {learnware: "local"}


async def test_other_columns_are_refused_in_words(federated, publish, digits):
    (north,), federation = await federated("north")
    learnware = await publish(north, federation, Offers(), 0, 1)
    with pytest.raises(AtollError, match="other columns"):
        await north.client.load(learnware).answer({"a": [1.0], "b": [2.0]})


def test_a_client_finds_the_node_by_the_environment(monkeypatch):
    monkeypatch.setenv("ATOLL_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("ATOLL_TOKEN", "atoll_secret")
    client = atoll.AsyncClient()
    assert (client._url, client._headers) == ("http://127.0.0.1:1", {"Authorization": "Bearer atoll_secret"})
    assert atoll.AsyncClient("http://127.0.0.1:2")._headers == {}
