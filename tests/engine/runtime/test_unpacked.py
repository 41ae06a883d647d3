"""Learnwares in Beimingwu's format are unpacked once, and stay for as long as somebody needs them."""

import io
import shutil

import numpy as np
import pytest
from atoll.engine.errors import ModelRefused
from atoll.engine.runtime import ModelPool, Signature
from atoll.engine.runtime.unpacked import Unpacked
from learnware_zip import WITH, archive


def held(unpacked, data, largest=1 << 20):
    with unpacked.holding(data, largest) as place:
        return place


def test_it_unpacks_to_a_few_times_the_largest_model_at_most(tmp_path):
    place = Unpacked(tmp_path / "unpacked")
    data = io.BytesIO(archive(WITH, {"weights": bytes(5000)}))
    with pytest.raises(ModelRefused, match=r"unpacks to 5\d\d\d bytes, at most 4000 are run"):
        held(place, data, 1000)
    assert held(place, data, 2000).files.is_dir()


def test_it_is_unpacked_once_and_again_if_somebody_has_deleted_it(tmp_path):
    unpacked = Unpacked(tmp_path / "unpacked")
    data = io.BytesIO(archive(WITH, {"a/b/c.txt": "deep"}))
    with unpacked.holding(data, 1 << 20) as place:
        assert (place.files / "a/b/c.txt").read_text() == "deep"
        unpacked.keep_only([])
        inode = place.files.stat().st_ino
    assert held(unpacked, data).files.stat().st_ino == inode
    digest = place.files.parent.name
    for kept in (lambda: unpacked.keep_only([digest]), lambda: unpacked.keep_only([], lambda: [digest])):
        kept()
        assert place.entry.is_file()
    unpacked.keep_only([])
    assert not place.files.exists()
    assert held(unpacked, data) == place


def test_what_an_interruption_has_left_is_no_learnware(tmp_path):
    unpacked, data = Unpacked(tmp_path / "unpacked"), io.BytesIO(archive(WITH))
    with unpacked.holding(data, 1 << 20) as place:
        folder = place.files.parent
    half = folder.with_name("new-" + folder.name)
    shutil.copytree(folder, half)
    place.entry.unlink()  # damaged
    (place.files / "__init__.py").write_text("other")
    assert (held(unpacked, data).files / "__init__.py").read_text() == WITH
    shutil.copytree(folder, half, dirs_exist_ok=True)
    unpacked.keep_only([folder.name])
    assert [each.name for each in (tmp_path / "unpacked").iterdir()] == [folder.name]


def test_files_in_use_stay_and_those_of_learnwares_that_are_gone_do_not(tmp_path):
    pool = ModelPool(2, unpacked=Unpacked(tmp_path / "unpacked"))
    one, two = (tmp_path / name for name in ("one", "two"))
    one.write_bytes(archive(WITH))
    two.write_bytes(archive(WITH, {"other": "x"}))
    rows, signature = np.ones((1, 4), np.float32), Signature("regression", 4, 1)
    try:
        for path in (one, two):
            pool.predict(path.name, path, signature, rows, trust="own")
        pool.keep_folders([])
        assert len(list((tmp_path / "unpacked").iterdir())) == 2
        pool.predict("one", one, signature, rows, trust="own", tenant="another")
    finally:
        pool.close()
    pool.keep_folders([])
    assert not list((tmp_path / "unpacked").iterdir())
