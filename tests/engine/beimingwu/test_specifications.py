import json

import numpy as np
import pytest
from atoll.engine.beimingwu.legacy import named_island, table_island, text_island
from atoll.engine.beimingwu.specifications import read_specification, write_specification
from atoll.engine.errors import AtollError, IslandError, SpecificationError
from atoll.engine.islands import Feature, Island
from atoll.engine.specs.moving import moved
from atoll.engine.specs.rkme import Rkme, mmd2

from .conftest import spec_json


def direct(left, right):
    """The distance as Beimingwu's package defines it: gamma ||x - y||^2 over the JSON's own numbers, MMD^2."""
    z, b = (np.array(each["z"]).reshape(len(each["z"]), -1) for each in (left, right)), (left["beta"], right["beta"])
    (p, q), gamma = z, left["gamma"]

    def inner(x, y, bx, by):
        return np.array(bx) @ np.exp(-gamma * ((x[:, None] - y[None]) ** 2).sum(-1)) @ np.array(by)

    return inner(p, p, b[0], b[0]) - 2 * inner(p, q, b[0], b[1]) + inner(q, q, b[1], b[1])


def test_table_specifications_of_one_width_and_gamma_share_an_island_and_keep_their_distance():
    data = [spec_json(seed=seed) for seed in (1, 2)]
    first, second = map(read_specification, data)
    assert first.island == second.island == table_island(4, 0.1)
    assert first.island.names == ("x0", "x1", "x2", "x3")
    assert first.island.raw.all()
    assert (first.rkme.count, first.original, first.notes) == (150, data[0], ())
    assert mmd2(first.rkme, second.rkme) == pytest.approx(direct(*map(json.loads, data)), rel=1e-6)


def test_points_far_out_are_not_clipped():
    far = read_specification(spec_json(z=[[1e4, -250.0]], beta=[1.0]))
    np.testing.assert_array_equal(far.rkme.points, np.array([[1e4, -250.0]], np.float32))
    np.testing.assert_array_equal(far.island.transform(far.rkme.points), far.rkme.points)


@pytest.mark.parametrize("kind", ["RKMETableSpecification", "RKMETextSpecification"])
def test_what_is_read_is_written_as_it_was(kind):
    width = 384 if "Text" in kind else 4
    given = read_specification(spec_json(kind, (5, width)))
    again = read_specification(write_specification(given.rkme, given.island))
    assert (again.island, again.rkme.to_bytes()) == (given.island, given.rkme.to_bytes())
    assert json.loads(write_specification(given.rkme, given.island))["type"] == kind


def test_the_old_name_of_tables_and_a_missing_type_are_understood():
    assert read_specification(spec_json("RKMEStatSpecification")).island == table_island(4)
    assert read_specification(spec_json(type=None), "RKMETableSpecification").island == table_island(4)
    assert read_specification(spec_json(shape=(3, 2, 2))).island == table_island(4)


def test_text_is_of_the_sentence_encoder_and_image_of_its_random_networks():
    assert read_specification(spec_json("RKMETextSpecification", (3, 384))).island == text_island(0.1)
    images = [read_specification(spec_json("RKMEImageSpecification", (2, 3, 32, 32), n_models=n)) for n in (16, 16, 8)]
    assert (images[0].island.kind, images[0].island.dimension) == ("image", 3072)
    assert images[0].island == images[1].island != images[2].island
    assert "of how many rows" in images[0].notes[0]


@pytest.mark.parametrize(
    ("kind", "shape", "rows", "words"),
    [
        ("RKMETextSpecification", (3, 384), ["a text"], "no part of Atoll"),
        ("RKMEImageSpecification", (2, 3, 32, 32), np.zeros((1, 32, 32)), "not shipped"),
    ],
)
def test_nobody_encodes_into_an_island_that_came_from_there(kind, shape, rows, words):
    given = read_specification(spec_json(kind, shape))
    with pytest.raises(IslandError, match=words):
        given.island.transform(rows)


@pytest.mark.parametrize(
    ("data", "class_name", "words"),
    [
        (spec_json("HeteroMapTableSpecification"), "", "one market's map, which is not shipped"),
        (b"\x80\x02 torch", "GenerativeModelSpecification", "found by words alone"),
        (b'{"type": "LLMGeneralCapabilitySpecification"}', "", "found by words alone"),
        (spec_json("subprocess.Popen"), "", "are not known"),
        (spec_json(), "subprocess.Popen", "are not known"),
        (spec_json(), "RKMETextSpecification", "it is announced as RKMETextSpecification"),
        (spec_json(type=None), "", "does not say of which type"),
        (b"not json", "", "not a statistical specification"),
        (spec_json(z=[[1.0, 2.0], [3.0]], beta=[0.5, 0.5]), "", "not all of one shape"),
        (spec_json(z=[["a"]], beta=[1.0]), "", "plain numbers"),
        (spec_json(z=[], beta=[]), "", "1 to 1000"),
        (spec_json(shape=(1001, 1)), "", "1 to 1000"),
        (spec_json(beta=[0.5] * 12), "", "sum to 6"),
        (spec_json(beta=[1.0]), "", r"expected \(m, d\)"),
        (spec_json(gamma=-1.0), "", "must be positive"),
        (spec_json(gamma="0.1"), "", "not a statistical specification"),
        (spec_json(z=[[1e300]], beta=[1.0]), "", "NaN or infinite"),
        (b'{"z": [' + b"[]," * 300_000 + b"[]]}", "", "too many"),
        (spec_json(z=["x" * 1_000_000, *[1.0] * 300], beta=[1.0]), "", "plain numbers"),
        (spec_json(z=[["x" * 1_000_000], *[[1.0]] * 300], beta=[1.0]), "", "plain numbers"),
        (spec_json(z=[[True]], beta=[1.0]), "", "plain numbers"),
        (spec_json(z=[[[[[1.0]]]]], beta=[1.0]), "", "plain numbers"),
        (spec_json(z=[[], []], beta=[0.5, 0.5]), "", "plain numbers"),
        (spec_json(z=[[10**400]], beta=[1.0]), "", "too large"),
        (spec_json(num_points=1.5), "", "not a statistical specification"),
        (spec_json("RKMETextSpecification", (3, 100)), "", "384 dimensions"),
        (spec_json("RKMEImageSpecification", (3, 5)), "", "channels, height and width"),
        (spec_json("RKMEImageSpecification", (1, 3, 64, 64)), "", "at most 4096"),
        (spec_json(shape=(1, 3000)), "", "at most 65536"),
    ],
)
def test_what_is_refused_is_named_with_its_reason(data, class_name, words):
    with pytest.raises(AtollError, match=words):
        read_specification(data, class_name)


def test_few_rows_behind_each_point_are_noted():
    assert "may be, or give away, rows" in read_specification(spec_json(num_points=20)).notes[0]


def test_what_beimingwu_cannot_compare_is_not_written():
    island = Island("table", 1, 1.0, (Feature("a", loc=3.0),))
    with pytest.raises(SpecificationError, match="mean nothing to Beimingwu"):
        write_specification(Rkme(np.zeros((1, 1), np.float32), np.ones(1, np.float32), 1.0, 9), island)


def test_raw_points_move_into_a_scaled_island_of_the_same_columns():
    target = Island("table", 2, 0.5, (Feature("a", loc=10.0, scale=2.0), Feature("b", "", "log1p")))
    points = np.array([[14.0, 0.0], [1e6, -5.0]], np.float32)
    rkme = moved(Rkme(points, np.full(2, 0.5, np.float32), 0.1, 9), named_island(("b", "a")), target)
    np.testing.assert_allclose(rkme.points, [[2.0, 0.0], [6.0, -6.0]])
    back = moved(rkme, target, named_island(("a", "b")))
    np.testing.assert_allclose(back.points[0], [14.0, 0.0])
