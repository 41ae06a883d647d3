import json

import pytest
from atoll.engine.beimingwu.semantic import VOCABULARY, query, read_semantic, write_semantic
from atoll.engine.errors import SpecificationError
from atoll.engine.semantic import SemanticQuery

from .conftest import NAMES, words_json


def test_words_come_in_and_go_out_as_they_were():
    words = read_semantic(words_json())
    assert (words.spec.data, words.spec.task, words.spec.scenario) == (
        "Table",
        "Classification",
        ("Nature", "Education"),
    )
    assert (words.inputs, words.input_names, words.outputs, words.output_names) == (4, NAMES, 2, ("small", "large"))
    assert words.notes == ()
    written = write_semantic(words.spec, inputs=4, input_names=NAMES, outputs=2, output_names=words.output_names)
    assert written == json.loads(words_json())


def test_what_lies_outside_our_bounds_is_put_right_and_noted():
    words = read_semantic(
        words_json(
            Name="n" * 200, Description="d" * 20_000, Scenario=["Space", "Health", "Sports"], License=["WTFPL"],
            Library=["JAX"], Task=["Clustering"],
        )
    )  # fmt: skip
    assert (len(words.spec.name), len(words.spec.description)) == (80, 10_000)
    assert (words.spec.scenario, words.spec.license, words.spec.library) == (("Others", "Health"), "Others", "Others")
    assert words.spec.task == "Others"
    assert len(words.notes) == 6
    assert any("'WTFPL' is not in the vocabulary, it is taken as Others" in note for note in words.notes)


def test_inputs_that_are_not_all_named_are_told_by_position():
    half = read_semantic(words_json(Input={"Dimension": 3, "Description": {"0": "a"}}))
    twice = read_semantic(words_json(names=("a", "a", "b")))
    none = read_semantic(words_json(Input={"Dimension": "3", "Description": {}}))
    assert (half.input_names, twice.input_names, none.input_names) == ((), (), ())
    assert (half.inputs, none.inputs) == (3, 3)
    assert "position" in half.notes[0]
    assert none.notes == ()


def test_names_hold_nothing_that_steers_a_terminal():
    words = read_semantic(words_json(names=("a\x1b[2Jb", "c\n\u2028d"), Name="x\x1b]0;y\x07 z", Scenario=["\x1b[31m"]))
    assert all(note.isprintable() for note in words.notes)
    assert (words.spec.name, words.input_names) == ("x ]0;y z", ("a [2Jb", "c d"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "does not read"),
        (b"[]", "does not read"),
        (b'{"a": NaN}', "does not read"),
        (words_json(Data=["Sound"]), "Data is 'Sound'"),
        (words_json(Data=[]), "has no Data"),
        (words_json(Task=[]), "has no Task"),
        (words_json(Name=""), "no Name"),
        (words_json(Name=["a"]), "not a text"),
        (words_json(Scenario=[1]), "not a list of words"),
        (words_json(Input={"Dimension": -1}), "no number from 1"),
        (words_json(Input={"Dimension": 2, "Description": {"2": "beyond"}}), "none of its 2 dimensions"),
        (words_json(Input={"Dimension": 2, "Description": {"x": "named"}}), "none of its 2 dimensions"),
        (json.dumps(json.loads(words_json()) | {"License": "MIT"}).encode(), "License is no mapping"),
    ],
)
def test_what_is_wrong_is_named(data, words):
    with pytest.raises(SpecificationError, match=words):
        read_semantic(data)


def test_a_query_asks_for_what_has_values():
    asked = query(words_json(Name="iris", Description="", License=[], Output={}))
    assert asked.query == SemanticQuery(
        "iris", data=("Table",), task=("Classification",), library=("Scikit-learn",), scenario=("Nature", "Education")
    )
    assert (asked.input_names, asked.models, asked.learnware_id) == (NAMES, ("Others",), "")
    assert query(b'{"learnware_id": {"Values": "00000123"}}').learnware_id == "00000123"
    assert query(b"{}").query == SemanticQuery()


def test_the_vocabulary_is_ours_and_says_what_may_be_chosen():
    assert VOCABULARY["Task"]["Type"] == "Class"
    assert VOCABULARY["Name"] == {"Values": None, "Type": "String"}
    assert VOCABULARY["Model"]["Values"][-1] == "Others"
