"""Labelled rows choose how the members are used, say what that is worth, and may name classes in other ways."""

import numpy as np
import pytest
from atoll.engine.tables import Table
from atoll.node.client import RemoteError
from atoll.node.reuse import words
from atoll.node.reuse.team import as_class_names, number
from atoll.node.search.query import Filters


def of(scene, places):
    return Table(scene.rows.values[places], scene.rows.columns), scene.labels[places]


@pytest.fixture
def split(here):
    """(labelled rows, labels), (other rows, labels)."""
    order = np.random.default_rng(0).permutation(len(here.labels))
    return of(here, order[:120]), of(here, order[120:])


async def test_labels_choose_a_method_and_say_what_it_is_worth(here, split):
    (few, labels), (rows, truth) = split
    search_id = await here.search(rows)

    reused = await here.client.reuse(search_id, rows, labelled=(few, labels))

    report, error = reused.report, np.mean(reused.labels.astype(int) != truth)
    loss, standard_error = report.validation[report.method]
    assert {"routing", "averaging", "vote", "single", "pruning", "augmentation"} == report.validation.keys()
    assert report.labelled == len(labels)
    assert report.validation[report.method][0] <= report.validation["routing"][0]
    assert abs(loss - error) < 3 * standard_error + 0.03
    assert f"Cross-validated on 120 labelled rows: error rate {words.loss(loss, report.task)}" in report.expected
    assert report.baseline == 1 - np.bincount(labels).max() / len(labels)
    assert f"of {len(report.validation)} methods" in report.chosen_because
    assert all(member.rows_asked >= len(labels) for member in report.members)


async def test_of_methods_that_are_alike_none_is_called_the_best(here, split):
    (few, labels), (rows, _) = split
    found = await here.client.search_rows(rows, filters=Filters(learnware_id=(here.low,)))

    report = (await here.client.reuse(found.search_id, rows, labelled=(few, labels), force=True)).report

    assert len(report.validation) > 2
    assert len({mean for mean, _ in report.validation.values()}) == 1
    assert report.chosen_because.startswith(f"all {len(report.validation)} methods")
    assert "optimistic" not in report.expected


async def test_with_labels_a_plan_tells_the_most_that_can_happen(here, split):
    (few, labels), (rows, _) = split

    plan = (await here.client.plan_reuse(await here.search(rows), rows, labelled=(few, labels))).plan

    assert (plan.method, plan.labelled) == ("auto", len(labels))
    assert [member.rows for member in plan.members] == [len(rows.values)] * 2


async def test_a_method_that_is_asked_for_is_validated_too(here, split):
    (few, labels), (rows, _) = split

    reused = await here.client.reuse(await here.search(rows), rows, labelled=(few, labels), method="pruning")

    assert reused.report.method == "pruning"
    assert list(reused.report.validation) == ["pruning"]
    assert reused.report.chosen_because == "it was asked for"


async def test_labels_that_came_as_numbers_are_the_classes(here, split):
    (few, labels), (rows, truth) = split

    reused = await here.client.reuse(
        await here.search(rows), rows, labelled=(few, [f"{label:.1f}" for label in labels])
    )

    assert reused.class_names == ("0", "1", "2", "3", "4")
    assert np.mean(reused.labels.astype(int) == truth) > 0.9


def test_a_label_is_another_name_only_as_software_writes_whole_numbers():
    known = frozenset({"0", "1", "10", "-1"})
    same = ("1.0", "10.00", "-1.0", "1", 0.0)
    other = ("1_0", "01", "1e1", " 1", "+1", "1.", "1.5", "01.0", "\u0661.0", "2.0", "true")

    assert as_class_names(same, known) == ("1", "10", "-1", "1", "0")
    assert as_class_names(other, known) == other
    assert [number(label) for label in ("1.5", "1e1", "1_0", "nan", "a")] == [1.5, 10.0, None, None, None]


async def test_labels_that_no_member_knows(here, split):
    (few, labels), (rows, _) = split
    search_id = await here.search(rows)

    with pytest.raises(
        RemoteError, match=r"no model knows any of your classes no, yes; they know 0, 1, 2, 3, 4"
    ) as refused:
        await here.client.plan_reuse(search_id, rows, labelled=(few, ["yes", "no"] * 60))
    assert refused.value.code == "request.invalid"
    one = ["ten" if label == 4 else str(label) for label in labels]
    reused = await here.client.reuse(search_id, rows, labelled=(few, one))
    assert "No member knows the classes ten of your labels" in reused.report.warnings
    assert "ten" in reused.class_names


async def test_what_needs_labels_or_is_too_little_of_them_says_so(here, split):
    (few, _), (rows, _) = split
    search_id = await here.search(rows)

    with pytest.raises(RemoteError, match="pruning learns from labelled rows"):
        await here.client.plan_reuse(search_id, rows, method="pruning")
    with pytest.raises(RemoteError, match="3 labels for 120 labelled rows"):
        await here.client.plan_reuse(search_id, rows, labelled=(few, ["1", "2", "3"]))


async def test_without_labels_the_report_is_honest_about_what_is_known(here):
    reused = await here.client.reuse(await here.search(), here.rows)

    assert "nobody can say how good this is" in reused.report.expected
    assert "have signed no measured quality" in reused.report.expected
    assert reused.report.validation == {}
    assert reused.report.chosen_because == "it is what does best without labels"
