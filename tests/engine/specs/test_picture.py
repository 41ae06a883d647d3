"""The picture of a specification: main directions, areas by weight, the same bytes each time."""

from xml.etree import ElementTree

import numpy as np
import pytest
from atoll.engine.errors import SpecificationError
from atoll.engine.specs import Rkme
from atoll.engine.specs.picture import draw, projected

SVG = "{http://www.w3.org/2000/svg}"


def spread(m=40, widths=(3.0, 1.0, 0.1), seed=0):
    random = np.random.default_rng(seed)
    points = (random.standard_normal((m, len(widths))) * widths).astype(np.float32)
    weights = random.uniform(0.1, 1, m)
    return Rkme(points, (weights / weights.sum()).astype(np.float32), 1 / len(widths), 500)


def test_the_axes_are_the_main_directions_of_the_weighted_points():
    rkme = spread()
    shown = projected(rkme)
    weights = rkme.weights.astype(float) / rkme.weights.sum()
    covariance = np.cov(rkme.points.T, aweights=weights, bias=True)
    values = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    assert shown.shares == pytest.approx(tuple(values[:2] / values.sum()), rel=1e-4)
    assert weights @ shown.places**2 == pytest.approx(values[:2], rel=1e-4)
    assert weights @ shown.places == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("rkme", [spread(1), spread(5, (1.0,)), spread(2)])
def test_little_can_be_projected_too(rkme, tmp_path):
    shown = projected(rkme)
    assert np.isfinite(shown.places).all()
    assert 0 <= sum(shown.shares) <= 1 + 1e-9
    draw(rkme, tmp_path / "picture.svg")


def test_an_svg_says_what_it_shows_and_is_the_same_each_time(tmp_path):
    for name in ("one.svg", "two.svg"):
        draw(spread(), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    tree = ElementTree.parse(tmp_path / "one.svg")
    words = " ".join("".join(node.itertext()) for node in tree.iter(f"{SVG}text"))
    assert "m = 40, n = 500, d = 3, gamma = 0.3333" in words
    assert "first component" in words
    assert "% of the variance" in words


def test_a_png_is_drawn(tmp_path):
    draw(spread(), tmp_path / "picture.PNG")
    assert (tmp_path / "picture.PNG").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecificationError) as error:
        draw(spread(), tmp_path / "picture.svg")
    assert "atoll[draw]" in error.value.hint


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(SpecificationError, match=r"\.svg"):
        draw(spread(), tmp_path / "picture.pdf")


def test_several_are_shown_on_common_axes():
    one, other = spread(), spread(seed=1)
    shown = projected(one, other)
    assert len(shown.places) == 80
    weights = np.concatenate([one.weights, other.weights]) / 2
    assert weights @ shown.places == pytest.approx([0, 0], abs=1e-6)
    assert projected(one, one).places[:40] == pytest.approx(projected(one).places, abs=1e-4)
