"""Beimingwu's client searches the whole federation: by words, by data, and for what takes several learnwares."""

import pytest
from atoll.engine.beimingwu.specifications import read_specification
from atoll.engine.specs import mmd2
from atoll.node.clock import now_ms

from .conftest import CODE, COLUMNS

PAIRS = {"north": (0, 1), "south": (1, 2), "west": (2, 0)}


@pytest.fixture
async def three(federated, client, irises, changed):
    """Three nodes, on each of which somebody has uploaded; the first knows of all."""
    nodes, _ = await federated(*PAIRS)
    ids = {}
    for node, (name, classes) in zip(nodes, PAIRS.items(), strict=True):
        semantic = irises.semantic(f"Irises of the {name}", *classes)
        ids[name] = await client(node).upload(irises.zip(*classes, id_=f"0000-{name}"), semantic)
    await changed(nodes[0], lambda: len(nodes[0].node.catalogue.alive(now_ms())) == 3)
    return client(nodes[0]), ids, nodes


def single(answer):
    assert answer["code"] == 0, answer
    return [each["learnware_id"] for each in answer["data"]["learnware_list_single"]]


async def test_words_find_what_any_member_lists(three, irises):
    ann, ids, _ = three
    assert set(single(await ann.search(irises.asking()))) == set(ids.values())
    assert single(await ann.search(irises.asking("of the SOUTH"))) == [ids["south"]]
    assert single(await ann.search(irises.asking("iriss off the sout")))[0] == ids["south"]
    assert single(await ann.search(irises.asking("volcanoes"))) == []
    assert single(await ann.search(irises.asking(data="Image"))) == []
    assert set(single(await ann.search(irises.asking(data="Table", task="Classification")))) == set(ids.values())
    either = irises.asking() | {"Task": {"Type": "Class", "Values": ["Regression", "Classification"]}}
    assert len(single(await ann.search(either))) == 3


async def test_an_entry_is_as_the_client_knows_it(three, irises):
    ann, ids, _ = three
    (found,) = (await ann.search(irises.asking("south")))["data"]["learnware_list_single"]
    assert (found["username"], found["matching"], found["alias"]) == ("south", None, "0000-south")
    semantic = irises.semantic("Irises of the south", 1, 2)
    told = {key: value for key, value in found["semantic_specification"].items() if key != "Input"}
    assert told == {key: value for key, value in semantic.items() if key != "Input"}
    assert found["semantic_specification"]["Input"]["Dimension"] == 4
    info = (await ann.info("0000-south"))["data"]["learnware_info"]
    assert info == found
    assert info["learnware_id"] == ids["south"]


async def test_what_is_not_in_the_listing_only_publishers_see(open_offers, federated, client, irises):
    (node,), federation = await federated("node")
    long = "x" * 1000
    semantic = irises.semantic("Two irises", 0, 1) | {"Description": {"Type": "String", "Values": long}}
    learnware_id = await client(node).upload(irises.zip(0, 1, id_="7"), semantic)
    user = client(node, (await node.client.create_token("user", ("read", "predict"), 1)).secret)
    for who, told in ((client(node), 1000), (user, 280)):
        (found,) = (await who.search(irises.asking()))["data"]["learnware_list_single"]
        assert found == (await who.info("7"))["data"]["learnware_info"]
        assert len(found["semantic_specification"]["Description"]["Values"]) == told
        assert bool(found["semantic_specification"]["Input"]["Description"]) == (told == 1000)
    news = node.node.publisher.withdraw(bytes.fromhex(learnware_id), bytes.fromhex(federation), now_ms())
    await node.node.network.announce(news)
    for given in ("7", learnware_id):
        assert (await user.info(given))["code"] == "not_found"
        assert (await client(node).info(given))["code"] == 0


async def test_words_come_in_pages(three, irises):
    ann, ids, _ = three
    pages = [(await ann.search(irises.asking(), limit=2, page=page))["data"] for page in range(3)]
    assert [len(page["learnware_list_single"]) for page in pages] == [2, 1, 0]
    assert {(page["total_pages"], page["limit"]) for page in pages} == {(2, 2)}
    assert [page["page"] for page in pages] == [0, 1, 2]
    assert {each["learnware_id"] for page in pages for each in page["learnware_list_single"]} == set(ids.values())
    for fields in ({"limit": 0}, {"page": "x"}, {"limit": "-1"}):
        assert (await ann.search(irises.asking(), **fields))["code"] == "request.invalid"


async def test_a_part_of_the_id_narrows(three, irises):
    ann, ids, _ = three
    for given in (ids["west"][:12], "0000-west", ids["west"]):
        asked = irises.asking() | {"learnware_id": {"Values": given}}
        assert single(await ann.search(asked)) == [ids["west"]]
        assert single(await ann.search(asked, irises.statistical(0, 1))) == [ids["west"]]
    assert single(await ann.search(irises.asking() | {"learnware_id": {"Values": "zz"}}, irises.statistical(0))) == []


async def test_kinds_of_models_that_nothing_here_has_find_nothing(three, irises):
    ann, *_ = three
    asked = irises.asking() | {"Model": {"Type": "Optional", "Values": ["PEFT Model"]}}
    assert single(await ann.search(asked)) == []
    assert len(single(await ann.search(asked | {"Model": {"Type": "Optional", "Values": ["Others"]}}))) == 3


@pytest.mark.parametrize("classes", PAIRS.values())
async def test_data_finds_the_nearest_first(three, irises, classes):
    ann, ids, _ = three
    answer = await ann.search(irises.asking(), irises.statistical(*classes))
    user = read_specification(irises.statistical(*classes)).rkme
    far = {ids[name]: mmd2(user, read_specification(irises.statistical(*of)).rkme) for name, of in PAIRS.items()}
    assert single(answer) == sorted(far, key=far.get)
    matching = [each["matching"] for each in answer["data"]["learnware_list_single"]]
    assert matching == sorted(matching, reverse=True)
    assert matching[0] == pytest.approx(1.0, abs=1e-3)
    assert answer["data"]["is_hetero"] is False


async def test_what_takes_several_is_a_mixture_of_them(three, irises):
    ann, ids, _ = three
    answer = await ann.search(irises.asking(), irises.statistical(0, 1, 2))
    members = answer["data"]["learnware_list_multi"]
    assert {each["learnware_id"] for each in members} == set(ids.values())
    (matching,) = {each["matching"] for each in members}
    assert 0.95 < matching <= 1.0
    alone = await ann.search(irises.asking(), irises.statistical(0, 1))
    assert alone["data"]["learnware_list_multi"] == []


async def test_words_narrow_what_data_finds(three, irises):
    ann, ids, _ = three
    answer = await ann.search(irises.asking("south"), irises.statistical(0, 1))
    assert single(answer) == [ids["south"]]
    assert answer["data"]["learnware_list_multi"] == []


async def test_all_of_one_owner_are_listed(federated, client, irises):
    (node,), _ = await federated("node")
    ann = client(node)
    ids = []
    for place in range(7):
        zipped = irises.zip(0, 1, code=f"# {place}\n{CODE}")
        ids.append(await ann.upload(zipped, irises.semantic(f"Irises {place}", 0, 1)))
    assert set(single(await ann.search(irises.asking()))) == set(ids)
    assert set(single(await ann.search(irises.asking(), irises.statistical(0, 1)))) == set(ids)


async def test_named_columns_find_what_was_published_here(federated, client, irises, ours):
    """A learnware of ours, in an island of scaled columns, is found by Beimingwu's specification of the same columns,
    in whatever order, if their names are told; by position alone never."""
    (node,), federation = await federated("node")
    await ours(node, federation)
    ann = client(node)
    order = (2, 0, 3, 1)
    shuffled = tuple(COLUMNS[place] for place in order)
    named = irises.asking() | {"Input": irises.semantic("x", 0, 1, columns=shuffled)["Input"]}
    statistical = irises.statistical(0, 1, columns=order)
    (found,) = (await ann.search(named, statistical))["data"]["learnware_list_single"]
    assert found["matching"] > 0.9
    assert found["semantic_specification"]["Input"]["Description"]["0"] == COLUMNS[0]
    answer = await ann.search(irises.asking(), statistical)
    assert single(answer) == []
    assert "island" in answer["msg"]
    wrong = irises.asking() | {"Input": {"Dimension": 2, "Description": {"0": "a", "1": "b"}}}
    assert (await ann.search(wrong, statistical))["code"] == "spec.dimension"


@pytest.mark.parametrize(
    ("statistical", "told"),
    [
        (b"no JSON", "statistical specification"),
        (b'{"z": [[1, 2]], "beta": [1], "gamma": 0.1, "num_points": 9, "type": "subprocess.Popen"}', "not known"),
        (b'{"z": [[1, 2]], "beta": [1], "gamma": 0.1, "type": "HeteroMapTableSpecification"}', "market"),
        (b'{"z": [[1, 2]], "beta": [1, 2], "gamma": 0.1, "num_points": 9, "type": "RKMETableSpecification"}', ""),
    ],
)
async def test_a_specification_that_cannot_be_searched_with_is_refused_with_the_reason(
    start, client, irises, statistical, told
):
    (node,) = await start("node")
    answer = await client(node).search(irises.asking(), statistical)
    assert str(answer["code"]).startswith("spec.")
    assert told in answer["msg"]


async def test_a_question_in_an_island_that_nobody_knows_is_answered_and_leaves_nothing(start, client, irises):
    (node,) = await start("node")
    answer = await client(node).search(irises.asking(), irises.statistical(0, 1))
    assert single(answer) == []
    assert node.node.catalogue.islands() == []
