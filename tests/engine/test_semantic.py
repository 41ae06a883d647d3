import pytest
from atoll.engine.beimingwu.semantic import write_semantic
from atoll.engine.errors import SpecificationError
from atoll.engine.semantic import MAX_SUMMARY, SemanticQuery, SemanticSpec

SPEC = SemanticSpec("Bone age", "Predicts the age of a hand from lengths", scenario=("Health", "Nature"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("name", "n" * 81),
        ("description", "d" * 10_001),
        ("data", "Sound"),
        ("task", ""),
        ("library", "numpy"),
        ("license", "mine"),
        ("license", "LicenseRef-"),
        ("license", "LicenseRef-a b"),
        ("scenario", ()),
        ("scenario", ("Health", "Moon")),
    ],
)
def test_a_value_outside_the_vocabulary_is_named_with_its_field(field, value):
    with pytest.raises(SpecificationError, match=field):
        SemanticSpec(**{"name": "ok", field: value}).check()


def test_a_licence_of_ones_own_has_a_name_and_is_found_among_the_others():
    spec = SemanticSpec("a", license="LicenseRef-St-Anna-1.2").check()
    assert SemanticQuery(license=("Others",)).matches(spec)
    assert SemanticQuery(license=("LicenseRef-St-Anna-1.2",)).matches(spec)
    assert not SemanticQuery(license=("MIT",)).matches(spec)
    assert write_semantic(spec)["License"]["Values"] == ["Others"]


def test_the_summary_cuts_the_description():
    short = SemanticSpec("a", "d" * 1000).summary().description
    assert len(short) == MAX_SUMMARY
    assert short.endswith("…")
    assert SPEC.check().summary() == SPEC


def test_values_of_a_group_are_alternatives_and_groups_must_all_agree():
    assert SemanticQuery().matches(SPEC)
    assert SemanticQuery(scenario=("Health", "Traffic")).matches(SPEC)
    assert not SemanticQuery(scenario=("Traffic",)).matches(SPEC)
    assert not SemanticQuery(scenario=("Health",), data=("Image",)).matches(SPEC)


def test_text_is_found_exactly_then_fuzzily_then_not():
    assert SemanticQuery("BONE").score(SPEC) == 100.0
    assert 75 <= SemanticQuery("bone aeg").score(SPEC) < 100
    assert SemanticQuery("zebra crossing").score(SPEC) == 0.0
    assert not SemanticQuery("zebra crossing").matches(SPEC)


def test_what_is_only_alike_is_found_where_nothing_is_found_exactly():
    specs = [SemanticSpec("Age of bones"), SemanticSpec("Bone age"), SemanticSpec("Bones, aged"), SemanticSpec("Zebra")]
    assert SemanticQuery("bone age").foremost(specs) == [0.0, 100.0, 0.0, 0.0]
    alike = SemanticQuery("bone aeg").foremost(specs)
    assert alike[1] == max(alike) < 100
    assert alike[3] == 0.0
    assert SemanticQuery().foremost(specs) == [100.0] * 4


def test_a_name_that_is_part_of_the_text_is_alike_and_no_more():
    assert 75 <= SemanticQuery("the age of bones").score(SemanticSpec("age")) < 100
