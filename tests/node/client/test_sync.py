"""`atoll.Client`, as scripts and notebooks use it."""

import asyncio
import inspect

import atoll
import numpy as np
import pandas as pd
import pytest
from atoll.engine.errors import IslandError
from atoll.engine.island_file import write_island
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticQuery
from atoll.node.client import RemoteError
from atoll.node.client.learnware import AsyncLoadedLearnware, LoadedLearnware
from atoll.node.errors import NodeUnreachable, RequestInvalid
from atoll.node.search.fitting import fit_rows
from atoll.node.search.query import Filters
from atoll.protocol.listings import Offers

OPEN = Offers(disclose="members", predict="members", download="members")


@pytest.fixture
async def node(federated, publish):
    """A node with two learnwares, and their ids."""
    (running,), federation = await federated("node")
    return running, [await publish(running, federation, OPEN, *classes) for classes in ((0, 1), (2, 3))]


async def test_a_script_searches_by_words_and_by_rows_of_every_form(node, digits, blocking, tmp_path):
    running, (zeros, _) = node
    rows = digits.of(0, 1)
    frame = pd.DataFrame(rows.values, columns=rows.columns)

    def script():
        with atoll.Client(running.url, running.token) as client:
            assert client.node().name == "node"
            assert {each.learnware_id for each in client.learnwares()} == set(node[1])
            assert len(client.catalogue()) == 2
            assert [island.id for island in client.islands()] == [digits.island().id]
            assert {hit.learnware_id for hit in client.search(semantic="digits").hits} == set(node[1])
            assert client.search(semantic=SemanticQuery(task=("Regression",))).hits == ()
            frame.to_csv(tmp_path / "rows.csv", index=False)
            frame.to_parquet(tmp_path / "rows.parquet")
            np.save(tmp_path / "rows.npy", rows.values)
            turned = frame[frame.columns[::-1]]
            forms = [rows, rows.values, frame, turned, dict(frame), tmp_path / "rows.csv", tmp_path / "rows.parquet"]
            found = [client.search_rows(form) for form in [*forms, str(tmp_path / "rows.npy")]]
            assert all(each.hits[0].learnware_id == zeros for each in found)
            assert len({round(each.hits[0].mmd2, 9) for each in found}) == 1
            only = client.search_rows(frame, filters=Filters(learnware_id=(node[1][1],)), privacy="local", limit=1)
            assert [hit.learnware_id for hit in only.hits] == [node[1][1]]
            assert only.peers_asked == ()
            return client

    client = await blocking(script)
    with pytest.raises(RequestInvalid, match="closed"):
        client.node()
    client.close()


async def test_it_works_where_a_loop_is_running(node, digits, blocking):
    running, _ = node

    async def cell():
        return atoll.Client(running.url, running.token).search_rows(digits.of(0, 1))

    assert len((await blocking(asyncio.run, cell())).hits) == 2


async def test_events_are_followed_by_a_plain_loop_that_may_be_left(node, digits, blocking):
    running, _ = node

    def script():
        with atoll.Client(running.url, running.token) as client:
            fitted = client.fit(digits.of(0, 1))
            events = [event.event for event in client.search_events(fitted)]
            for event in client.search_events(fitted, limit=1):
                if event.event == "hit":
                    break
            hits, left = client.search(fitted).hits, client.search_events(fitted)
            next(left)
        left.close()  # after its client
        return events, hits

    events, hits = await blocking(script)
    assert events == ["plan", "hit", "hit", "peer_done", "answer", "end"]
    assert len(hits) == 2


async def test_a_learnware_is_loaded_as_a_model(node, digits, blocking):
    running, (zeros, _) = node
    rows = digits.of(0, 1)
    with atoll.Client(running.url, running.token) as client:
        model = client.load(zeros)
        labels = await blocking(model.predict, rows)
        chances = await blocking(model.predict_proba, rows)
        answer = await blocking(model.answer, rows)
        asynchronous = await running.client.load(zeros).predict(rows)
    assert np.mean(labels.astype(int) == digits.labels_of(0, 1)) > 0.95
    assert chances.shape == (len(labels), 2)
    assert answer.places == {zeros: "local"}
    assert (asynchronous == labels).all()


async def test_the_mixture_of_a_search_predicts(node, digits, blocking, tmp_path):
    running, _ = node
    rows = digits.of(0, 1, 2, 3)

    def script():
        np.save(tmp_path / "rows.npy", rows.values)
        with atoll.Client(running.url, running.token) as client:
            found = client.search_rows(rows).search_id
            return client.predict(found, rows), client.predict(found, tmp_path / "rows.npy")

    for answer in await blocking(script):
        labels = np.array(answer.labels).astype(int)
        assert np.mean(labels == digits.labels_of(0, 1, 2, 3)) > 0.9


async def test_a_ready_specification_is_searched_by_in_its_island_or_in_others(node, digits, blocking, tmp_path):
    running, (zeros, _) = node
    rows = digits.of(0, 1)
    own = Island.mint(rows)  # other locations and scales, and known to nobody else
    fit_rows(rows, [digits.island()])[0].given.save(tmp_path / "known.rkme")
    fit_rows(rows, [own])[0].given.save(tmp_path / "own.rkme")
    write_island(own, tmp_path / "own.island.json")

    def script():
        with atoll.Client(running.url, running.token) as client:
            with pytest.raises(IslandError, match="begins with 'ffff'"):
                client.specification(tmp_path / "known.rkme", "ffff")
            yield from [
                client.specification(tmp_path / "known.rkme"),
                client.specification(str(tmp_path / "known.rkme"), digits.island().id[:8]),
                client.specification(tmp_path / "own.rkme"),
                client.specification(tmp_path / "own.rkme", own),
            ]

    for fitted in await blocking(list, script()):
        assert [each.island.id for each in fitted] == [digits.island().id]
        found = await running.client.search(fitted)
        assert found.hits[0].learnware_id == zeros
        assert found.hits[0].similarity > 0.9


async def test_differential_privacy_is_paid_for_once_and_sends_a_noised_sketch(node, digits, blocking):
    running, (zeros, _) = node

    def script():
        with atoll.Client(running.url, running.token) as client:
            first, again = [client.fit_private(digits.of(0, 1), epsilon=2.0) for _ in range(2)]
            with pytest.raises(RemoteError, match="limit") as refused:
                client.fit_private(digits.of(0, 1), epsilon=3.0)
            return first, again, refused.value.code, client.search(first)

    ((_, first),), ((_, again),), code, found = await blocking(script)
    assert first.to_bytes() == again.to_bytes()
    assert first.dp.epsilon == 2.0
    assert code == "spec.privacy"
    assert [each.epsilon for each in await running.client.privacy_spendings()] == [2.0]
    assert found.hits[0].learnware_id == zeros


def test_words_in_the_place_of_a_specification_are_refused_with_the_right_call():
    with atoll.Client("http://127.0.0.1:1") as client, pytest.raises(RequestInvalid) as refused:
        client.search("sepsis")
    assert "semantic=" in refused.value.hint


def test_a_node_that_is_not_there_is_said_to_be():
    with atoll.Client("http://127.0.0.1:9") as client, pytest.raises(NodeUnreachable, match="no node answers"):
        client.node()
    with atoll.Client("nonsense") as client, pytest.raises((NodeUnreachable, RequestInvalid), match="nonsense"):
        client.node()


async def test_a_stranger_is_refused(node, blocking):
    with atoll.Client(node[0].url, "atoll_unknown") as client, pytest.raises(RemoteError) as refused:
        await blocking(client.catalogue)
    assert refused.value.code == "auth.required"


@pytest.mark.parametrize(
    ("plain", "asynchronous"), [(atoll.Client, atoll.AsyncClient), (LoadedLearnware, AsyncLoadedLearnware)]
)
def test_both_clients_take_and_give_the_same(plain, asynchronous):
    names = [name for name in vars(plain) if not name.startswith("_") and name != "close"]
    assert len(names) >= 3
    for name in names:
        one, other = inspect.signature(vars(plain)[name]), inspect.signature(getattr(asynchronous, name))
        assert list(one.parameters.values()) == list(other.parameters.values()), name
        gives = other.return_annotation.replace("AsyncGenerator", "Iterator").removeprefix("Async")
        assert one.return_annotation == gives, name
