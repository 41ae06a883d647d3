"""The same catalogue and questions as the ``learnware`` package's own searchers have answered (0.4.0.post1).

``parity.json`` holds what they have found; ``examples/interop/beimingwu.py --record`` asks them anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from atoll.engine.beimingwu.legacy import table_island
from atoll.engine.beimingwu.semantic import query, read_semantic
from atoll.engine.beimingwu.specifications import read_specification
from atoll.engine.matching import RkmeIndex, mixture_of_rkmes
from atoll.engine.specs.rkme import mmd2

KNOWN = json.loads(Path(__file__).with_name("parity.json").read_text("utf-8"))
ROUNDING = 1e-6  # points are single precision here


def dumped(tree) -> bytes:
    return json.dumps(tree).encode()


@pytest.fixture(scope="module")
def words():
    return {each["id"]: read_semantic(dumped(each["semantic"])).spec for each in KNOWN["learnwares"]}


@pytest.fixture(scope="module")
def rkmes():
    return {each["id"]: read_specification(dumped(each["rkme"])) for each in KNOWN["learnwares"]}


@pytest.mark.parametrize("question", KNOWN["semantic"], ids=lambda question: json.dumps(question["asked"])[:80])
def test_words_and_tags_find_what_the_package_finds_best_first(question, words):
    asked = query(dumped(question["asked"])).query
    admitted = [id_ for id_, spec in words.items() if asked.admits(spec)]
    specs = [words[id_] for id_ in admitted]
    exact = {id_ for id_, score in zip(admitted, asked.scores(specs), strict=True) if score == 100}
    assert exact == set(question["exact"])
    found = {id_: score for id_, score in zip(admitted, asked.foremost(specs), strict=True) if score > 0}
    assert found.keys() == set(question["fuzzy"])
    assert [found[id_] for id_ in question["fuzzy"]] == sorted(found.values(), reverse=True)


def test_the_questions_are_of_all_kinds():
    answers = [(len(each["exact"]), len(each["fuzzy"])) for each in KNOWN["semantic"]]
    assert len(KNOWN["learnwares"]) >= 40
    assert sum(exact == fuzzy > 0 for exact, fuzzy in answers) > 20
    assert sum(exact == 0 < fuzzy for exact, fuzzy in answers) >= 10
    assert sum(fuzzy == 0 for _, fuzzy in answers) > 5


@pytest.mark.parametrize("question", KNOWN["statistical"], ids=lambda question: question["order"][0])
def test_specifications_are_ranked_as_the_package_ranks_them(question, rkmes):
    asked = read_specification(dumped(question["asked"])).rkme
    island = table_island(asked.dimension)
    alike = {id_: each.rkme for id_, each in rkmes.items() if each.island.id == island.id}
    index = RkmeIndex(alike)
    distances = dict(zip(index.ids, index.distances(asked).tolist(), strict=True))
    theirs = dict(zip(question["order"], question["distances"], strict=True))
    assert distances == pytest.approx(theirs, abs=ROUNDING)
    ranked = sorted(distances, key=distances.__getitem__)
    told_apart = np.diff(question["distances"], prepend=-1, append=9) > 2 * ROUNDING
    places = np.flatnonzero(told_apart[:-1] & told_apart[1:])
    assert len(places) > 0.8 * len(ranked)
    assert [ranked[place] for place in places] == [question["order"][place] for place in places]
    assert ranked[: len(question["single"])] == question["single"]  # what it shows of them


def test_mixtures_are_no_worse_than_the_packages(rkmes):
    asked = [(read_specification(dumped(each["asked"])).rkme, each["multiple"]) for each in KNOWN["statistical"]]
    mixed = [(user, [rkmes[id_].rkme for id_ in ids]) for user, ids in asked if ids]
    assert len(mixed) > 5
    for user, theirs in mixed:
        alike = [each.rkme for each in rkmes.values() if each.rkme.dimension == user.dimension]
        ours = mixture_of_rkmes(user, alike, max_members=5)
        best_of_theirs = mixture_of_rkmes(user, theirs, max_members=5)
        assert ours.mmd2 <= best_of_theirs.mmd2 + ROUNDING
        assert ours.mmd2 <= min(mmd2(user, each) for each in alike) + ROUNDING
