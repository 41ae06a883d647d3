"""The image encoder on scikit-learn's digits, 8 x 8 pixels of real handwriting."""

import subprocess
import sys

import numpy as np
import pytest
from atoll.engine.encoders.images import DIMENSION, ENCODER, GAMMA, encode
from atoll.engine.errors import NotFinite, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.specs import fit_rkme, mmd2, sketch


@pytest.fixture(scope="module")
def images(digits):
    """The digits as uint8 (n, 8, 8)."""
    return np.rint(digits[0].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)


@pytest.fixture(scope="module")
def colours(images):
    """200 digits, each in a colour of its own on black: uint8 (n, 8, 8, 3)."""
    tints = np.random.default_rng(0).uniform(0.2, 1.0, (200, 1, 1, 3))
    return (images[:200, ..., None] * tints).astype(np.uint8)


def close(left, right, tolerance=1e-5):
    np.testing.assert_allclose(left, right, rtol=0, atol=tolerance)


def test_vectors_are_float32_with_a_mean_square_of_about_one(images):
    vectors = encode(images)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(images), DIMENSION)
    assert np.square(vectors).mean() == pytest.approx(1.0, abs=0.05)


def test_the_same_images_give_the_same_bytes(colours):
    assert encode(colours).tobytes() == encode(colours.copy()).tobytes()


def test_a_row_depends_on_its_image_alone(images):
    together = encode(images)
    close(together[:50], np.concatenate([encode(image[None]) for image in images[:50]]))
    close(together[700:], encode(images[700:]))


def test_rows_follow_their_images_in_any_order(images):
    order = np.random.default_rng(0).permutation(len(images))
    close(encode(images[order]), encode(images)[order])


def test_batches_change_neither_order_nor_values(colours, monkeypatch):
    whole = encode(colours)
    monkeypatch.setattr("atoll.engine.encoders.images.BATCH_VALUES", 7 * colours[0].size)
    told = []
    close(encode(colours, lambda done, total: told.append((done, total))), whole)
    assert told == [*((done, 200) for done in range(7, 200, 7)), (200, 200)]


def test_grey_equals_three_equal_channels(images):
    grey = encode(images[:100])
    close(encode(images[:100, ..., None]), grey)
    close(encode(images[:100, None]), grey)
    close(encode(np.repeat(images[:100, None], 3, axis=1)), grey)


def test_the_place_of_the_channels_makes_no_difference(colours):
    close(encode(np.moveaxis(colours, 3, 1)), encode(colours))


def test_colours_are_told_apart(colours):
    assert np.abs(encode(colours) - encode(colours[..., ::-1])).max() > 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_equal_floats_divided_by_255(colours, dtype):
    close(encode(colours.astype(dtype) / dtype(255)), encode(colours))


def test_views_and_read_only_arrays_are_read_and_left_as_they_are(colours):
    frozen = colours.copy()
    frozen.setflags(write=False)
    close(encode(frozen[::-2]), encode(colours)[::-2])
    np.testing.assert_array_equal(frozen, colours)


def test_an_image_enlarged_pixel_by_pixel_is_nearly_the_same(images):
    vectors = encode(images[:100])
    large = encode(images[:100].repeat(12, axis=1).repeat(12, axis=2))
    cosines = (vectors * large).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(large, axis=1)
    assert cosines.min() > 0.85
    nearest = ((large[:, None] - vectors[None]) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(nearest, np.arange(100))


def test_a_pattern_too_fine_for_32_pixels_averages_out(images):
    large = images[:20].repeat(16, axis=1).repeat(16, axis=2) / 255 * 0.8
    checks = np.indices((128, 128)).sum(0) % 2 * 0.2
    assert np.sqrt(np.square(encode(large + checks) - encode(large + 0.1)).mean()) < 0.1


def test_images_need_not_be_square(images):
    wide = images[:20].repeat(5, axis=2)
    assert encode(wide).shape == (20, DIMENSION)
    close(encode(wide.swapaxes(1, 2)), encode(images[:20].repeat(5, axis=2).swapaxes(1, 2)))


def test_images_without_content_have_finite_vectors():
    vectors = encode(np.stack([np.full((8, 8), value) for value in (0.0, 0.5, 1.0)]))
    close(vectors[1], 0.0)
    close(vectors[0], -vectors[2])
    assert np.square(vectors[0]).mean() > 0.5


def test_noise_on_an_even_grey_is_not_made_an_image():
    noise = np.random.default_rng(0).normal(0, 0.001, (20, 32, 32))
    assert np.square(encode(0.5 + noise)).mean() < 0.05


def test_no_images_have_no_vectors():
    assert encode(np.empty((0, 28, 28), np.uint8)).shape == (0, DIMENSION)


@pytest.mark.parametrize("shape", [(8, 8), (5,), (2, 8, 8, 3, 1), (4, 8, 8, 4), (4, 2, 8, 8), (4, 7, 8), (4, 8, 7, 3)])
def test_other_shapes_are_refused_with_those_accepted(shape):
    with pytest.raises(SpecificationError) as error:
        encode(np.zeros(shape, np.uint8))
    assert str(shape) in error.value.message or "too small" in error.value.message
    assert "(n, H, W, C)" in error.value.hint


def test_a_shape_that_can_be_read_in_two_ways_is_refused():
    with pytest.raises(SpecificationError, match=r"channels of shape \(4, 3, 9, 3\) could be axis 1 or 3"):
        encode(np.zeros((4, 3, 9, 3), np.uint8))


@pytest.mark.parametrize("dtype", [bool, np.int64, np.uint16, complex, object, "U1"])
def test_other_types_are_refused_with_those_accepted(dtype):
    with pytest.raises(SpecificationError, match="have no known range") as error:
        encode(np.zeros((2, 8, 8), dtype))
    assert "uint8" in error.value.hint


@pytest.mark.parametrize(("value", "span"), [(255.0, "0 to 255"), (-1.0, "-1 to 0"), (1.01, "0 to 1.01")])
def test_values_out_of_range_are_refused_with_what_to_do(value, span):
    images = np.zeros((2, 8, 8))
    images[1, 3, 3] = value
    with pytest.raises(SpecificationError, match=f"span {span}") as error:
        encode(images)
    assert "divide by 255" in error.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_that_are_not_finite_are_refused_by_place(value, dtype):
    images = np.zeros((3, 8, 8, 3), dtype)
    images[2, 0, 0, 1] = value
    with pytest.raises(NotFinite, match="image 2"):
        encode(images)


RAMP = np.arange(3 * 8 * 8, dtype=np.float64).reshape(1, 3, 8, 8) ** 3 % 191 / 190
ENCODER_SHA256 = "8e514efab52ce5db9033a1ff030e12bc0eed564c3e5ca30768624bc99f30d237"
VECTOR = [
    -0.012928,
    -0.389269,
    1.842799,
    -0.516936,
    -1.421078,
    1.614634,
    -0.625159,
    1.555507,
    -0.389269,
    -0.244511,
    0.275648,
    0.158454,
    -1.035083,
    -0.803287,
    0.335098,
    0.406201,
]


def test_the_encoder_is_the_one_that_was_published():
    """A change here makes every image island of the network another one: give it a new version."""
    assert (ENCODER.name, ENCODER.version, DIMENSION) == ("low-frequencies", "1", 96)
    assert ENCODER.sha256.hex() == ENCODER_SHA256
    close(encode(RAMP)[0, ::6], VECTOR, 1e-4)


def test_rkmes_of_the_same_digits_are_the_nearest(images, digits):
    island = Island("image", DIMENSION, GAMMA, (), ENCODER)
    groups = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    seen = [encode(images[np.isin(digits[1], group)]) for group in groups]
    owners = [fit_rkme(part[::2], size=20, gamma=GAMMA) for part in seen]
    users = [fit_rkme(part[1::2], size=20, gamma=GAMMA) for part in seen]
    distances = np.array([[mmd2(user, owner) for owner in owners] for user in users])
    np.testing.assert_array_equal(distances.argmin(1), np.arange(5))
    assert (np.diag(distances) < 0.8 * np.sort(distances, axis=1)[:, 1]).all()
    assert all(0.03 < owner.norm2 < 0.3 for owner in owners)
    assert sketch(owners[0], island).values.shape == (512,)


def test_a_shift_of_the_same_digits_stays_visible(images, digits):
    zeros, ones = (images[digits[1] == digit] for digit in (0, 1))
    plain, again, inverted, other = (
        fit_rkme(encode(part), size=15, gamma=GAMMA) for part in (zeros[::2], zeros[1::2], 255 - zeros[1::2], ones)
    )
    assert mmd2(plain, again) < 0.5 * min(mmd2(plain, inverted), mmd2(plain, other))


def test_importing_and_encoding_load_no_torch():
    code = (
        "import sys, numpy; from atoll.engine.encoders.images import encode; encode(numpy.zeros((1, 8, 8)));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
