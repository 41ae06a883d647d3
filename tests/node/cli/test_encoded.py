"""Images and texts in files: what is read, what is refused, and that only the vectors of the encoder go on."""

import numpy as np
import pytest
from atoll.engine.encoders import island_of
from atoll.engine.errors import TableError
from atoll.node.cli import encoded


class Spelling:
    """An encoder for tests: the length and the first character of a text, or the mean and largest of an image."""

    DIMENSION, GAMMA = 2, 1.0

    @staticmethod
    def encode(rows, progress):
        progress(len(rows), len(rows))
        if isinstance(rows, list):
            return np.array([(len(row), ord(row[0])) for row in rows], np.float32)
        return np.array([(row.mean(), row.max()) for row in rows], np.float32)


@pytest.fixture(autouse=True)
def spelling(monkeypatch):
    monkeypatch.setattr(encoded, "encode", lambda island, rows, progress: Spelling.encode(rows, progress))


def told(*_):
    return None


def test_a_text_file_holds_one_text_a_line(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\ufeffone\r\n\n  \nthree\u2028four\n", "utf-8")
    assert encoded.read(path, "text", told)[:, 0].tolist() == [3, 10]


def test_a_jsonl_file_holds_strings_or_objects_with_a_text(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('"one"\n{"text": "two\\nlines", "label": 1}\n')
    assert encoded.read(path, "text", told)[:, 0].tolist() == [3, 9]


@pytest.mark.parametrize("line", ["{", "1", '{"words": "x"}', "null"])
def test_a_line_that_holds_no_text_is_named(tmp_path, line):
    path = tmp_path / "texts.jsonl"
    path.write_text(f'"one"\n\n{line}\n')
    with pytest.raises(TableError, match="line 3"):
        encoded.read(path, "text", told)


def test_text_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(TableError, match="UTF-8"):
        encoded.read(path, "text", told)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 4, 4, 3)])
def test_images_are_bytes_in_an_array(tmp_path, shape):
    path, heard = tmp_path / "images.npy", []
    np.save(path, np.full(shape, 7, np.uint8))
    assert encoded.read(path, "image", lambda *told: heard.append(told)).tolist() == [[7, 7]] * 3
    assert heard == [("encoding images", 3, 3)]


@pytest.mark.parametrize("array", [np.ones((3, 4, 4)), np.ones((3, 16), np.uint8), np.array([{}], object)])
def test_other_arrays_are_no_images(tmp_path, array):
    path = tmp_path / "images.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(TableError, match="images"):
        encoded.read(path, "image", told)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_island_is_that_of_the_encoder(kind):
    island = island_of(kind)
    assert (island.kind, island.features) == (kind, ())
    assert island.encoder is not None
