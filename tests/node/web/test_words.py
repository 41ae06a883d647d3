"""What the page says of hits and of answers, whatever they hold."""

import re
from types import SimpleNamespace

import msgspec
import pytest
from atoll.node.reuse.query import PlannedMember
from atoll.node.search.query import Hit, Holder, Member, MixtureView, SearchResult
from atoll.node.web.predict import words as planned
from atoll.node.web.rendering import render
from atoll.node.web.search import words
from atoll.protocol.errors import NotFound
from atoll.protocol.listings import Offers

OWNER, OTHER = (
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
    "12D3KooWGjfPc5wmHm33wCgL8afNLDHCuh24ojhW2mSQQou9Wsai",
)
HIT = Hit(
    learnware_id="ab" * 32, revision="00" * 32, federation="cd" * 32, owner=OWNER, owner_name="", name="Wine",
    description="", task="Classification", class_names=(), island="ef" * 32, similarity=0.5, mmd2=0.25, estimated=False,
    band=0.0, offers=Offers(),
)  # fmt: skip
ANSWER = SearchResult(
    search_id="1", hits=(HIT,), mixture=None, islands=("ef" * 32,), peers_asked=(OWNER, OTHER), peers_answered=(OWNER,),
    peers_failed={OTHER: "late"}, complete=False, advice="", elapsed_ms=1234,
)  # fmt: skip


def none_known(_):
    raise NotFound("left since")


NODE = SimpleNamespace(peers=SimpleNamespace(name=lambda peer: ""), federations=SimpleNamespace(get=none_known))


def shown(**changes):
    html = render("search/_hit.html", NODE, hit=msgspec.structs.replace(HIT, **changes), rank=1, search="1")
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


def test_whatever_has_no_name_is_called_by_its_id():
    assert f"by …{OWNER[-8:]} in cdcdcdcd" in shown()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "MMD² 0.25000 exact"),
        ({"band": 0.01}, "exact to ± 0.01"),
        ({"estimated": True, "band": 0.15}, "estimated from its sketch, ± 0.15"),
        ({"suspect": True}, "doubtful: its owner contradicts what it has signed"),
        ({"hub": True}, "hub: near to everything"),
        ({"may": ("match",)}, "nothing else is offered to you"),
        ({"may": ("match", "predict", "download")}, "You may have its owner predict your rows, download the model."),
        ({"offers": Offers(download="ask")}, "On request: download the model."),
        ({"holders": (Holder("aa" * 32, OTHER, "", "bb" * 32),)}, f"The same is listed by …{OTHER[-8:]}"),
        ({"class_names": tuple("abcdefghijklmnop")}, "Classesa, b, c, d, e, f, g, h, i, j, k, l, …"),
    ],
)
def test_a_hit_says_what_is_to_be_known_of_it(changes, said):
    assert said in shown(**changes)


@pytest.mark.parametrize(
    ("explained", "main", "warned"), [(0.9, True, False), (0.75, True, False), (0.7, False, True), (0.4, False, False)]
)
def test_predicting_is_the_thing_to_do_only_where_enough_is_explained(explained, main, warned):
    member = Member(HIT.learnware_id, OWNER, "Wine", 1.0)
    mixed = MixtureView((member,), 0.1, 0.0, explained, explained >= 0.5, "rkme")
    answer = msgspec.structs.replace(ANSWER, mixture=mixed)
    html = render(
        "search/_results.html", NODE, result=answer, peers={}, picture=None, search="1", leaves="Nothing leaves."
    )
    assert ('<a class="button main" href="/searches/1/predict">' in html) == main
    assert ("rely on nothing that you have not tried" in html) == warned
    assert 'href="/searches/1/predict"' in html
    assert f"explains {'' if main else 'only '}<b>{explained:.1%}</b>" in html
    assert html.count("What these figures say") == 1


def test_a_hit_by_words_has_no_distance():
    assert "similar" not in shown(similarity=None, mmd2=None, band=None, estimated=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "The list is not certain"),
        ({"topk_exact": True}, "The list and its order are certain"),
        ({"islands": ()}, "By words and tags"),
    ],
)
def test_an_answer_says_how_far_it_can_be_relied_on(changes, said):
    assert words.certainty(msgspec.structs.replace(ANSWER, **changes)).startswith(said)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (("local",), "it runs here"),
        (("remote",), "it runs at its owner"),
        (("local", "local"), "all run here"),
        (("remote", "remote"), "all run at their owners"),
        (("local", "remote"), "1 runs here, 1 at its owner"),
        (("local", "local", "remote", "remote"), "2 run here, 2 at their owners"),
    ],
)
def test_a_plan_says_where_models_run_and_to_whom_rows_go(places, said):
    members = tuple(
        PlannedMember("00", "00", "00", OWNER, "House", "Wine", "MIT", 0.5, place, 10, False, "") for place in places
    )
    plan = SimpleNamespace(members=members)
    assert planned.places(plan) == said
    assert planned.leaving(plan) == 10 * places.count("remote")
    assert planned.receivers(plan, None) == ["House"] * ("remote" in places)


def test_who_is_late_is_not_yet_called_silent():
    assert words.silent(ANSWER) == "1 owner did not answer"
    assert words.silent(msgspec.structs.replace(ANSWER, final=False)) == "1 owner has not answered yet"
    assert words.silent(msgspec.structs.replace(ANSWER, peers_failed={})) == ""
    assert words.answered(ANSWER) == "1 of 2 owners answered in 1.2 s"
    assert words.answered(msgspec.structs.replace(ANSWER, peers_asked=())) == "found in 1.2 s, nobody was asked"
