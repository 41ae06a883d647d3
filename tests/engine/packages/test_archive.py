import hashlib
import io
import warnings
import zipfile

import msgspec
import numpy as np
import pytest
from atoll.engine.errors import AtollError, IntegrityError, PackageError
from atoll.engine.packages import open_package
from atoll.engine.packages.archive import write
from atoll.engine.packages.manifest import NAME, FileEntry, Manifest, SpecEntry
from atoll.engine.runtime.signature import Signature
from atoll.engine.semantic import SemanticSpec

MODEL = b"model " * 100


@pytest.fixture
def files(owners):
    return {"model.onnx": MODEL, "specifications/a.rkme": owners[1]["o0"].to_bytes()}


@pytest.fixture
def manifest(files, island):
    entries = tuple(FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items())
    return Manifest(
        "owner", 1, SemanticSpec("Digits"), Signature("regression", 64, 1), island.names, "model.onnx", "onnx",
        entries, (SpecEntry(island.id, "specifications/a.rkme", "00" * 16),),
    )  # fmt: skip


def archive(manifest, files):
    target = io.BytesIO()
    write(target, manifest.to_bytes(), files)
    return target


def test_a_package_round_trips_and_its_bytes_are_deterministic(manifest, files, island, owners):
    with open_package(archive(manifest, files)) as package:
        assert package.manifest == manifest
        assert package.learnware_id == package.revision
        assert {path: package.read(path) for path in files} == files
        assert package.specifications()[island.digest][0].to_bytes() == owners[1]["o0"].to_bytes()
    again = archive(manifest, dict(reversed(files.items())))
    assert again.getvalue() == archive(manifest, files).getvalue()


def test_a_tampered_file_is_an_integrity_mismatch(manifest, files):
    with open_package(archive(manifest, {**files, "model.onnx": MODEL[::-1]})) as package:
        with pytest.raises(IntegrityError) as caught:
            package.read("model.onnx")
        assert caught.value.code == "integrity.mismatch"


@pytest.mark.parametrize("extra", ["more.txt", "../evil", "/etc/passwd", "model.onnx/"])
def test_an_entry_the_manifest_does_not_list_is_refused(manifest, files, extra):
    with pytest.raises(PackageError):
        open_package(archive(manifest, {**files, extra: b"x"}))


def test_a_missing_entry_is_refused(manifest, files):
    del files["model.onnx"]
    with pytest.raises(PackageError):
        open_package(archive(manifest, files))


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../evil", "a\\evil", "", ".hidden", "a//b", NAME, "x" * 201])
def test_a_path_that_is_not_plain_is_refused_even_if_listed(manifest, files, path):
    listed = msgspec.structs.replace(manifest, files=(*manifest.files, FileEntry(path, 0, "0" * 64)))
    with pytest.raises(PackageError):
        open_package(archive(listed, files))


def test_sizes_beyond_the_limit_or_the_promise_are_refused(manifest, files):
    with pytest.raises(PackageError, match="more than"):
        open_package(archive(manifest, files), limit=100)
    with pytest.raises(IntegrityError, match="another size"):
        open_package(archive(manifest, {**files, "model.onnx": b"\0" * 10_000_000}))


def test_a_huge_manifest_is_refused(manifest, files):
    target = io.BytesIO()
    write(target, b" " * 5_000_000, files)
    with pytest.raises(PackageError, match="larger"):
        open_package(target)


def test_a_duplicated_entry_is_refused(manifest, files):
    target = archive(manifest, files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(target, "a") as again:
            again.writestr("model.onnx", MODEL)
    with pytest.raises(PackageError):
        open_package(target)


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip" * 100])
def test_what_is_not_a_zip_is_refused(data):
    with pytest.raises(PackageError, match="not a package"):
        open_package(io.BytesIO(data))


def test_the_served_form_opens_only_without_specifications(manifest, files):
    served = archive(manifest, {"model.onnx": MODEL})
    with pytest.raises(PackageError):
        open_package(served)
    with open_package(served, specifications=False) as package:
        assert package.read("model.onnx") == MODEL


def test_damaged_archives_only_raise_errors_of_the_tree(manifest, files):
    good, random = archive(manifest, files).getvalue(), np.random.default_rng(0)
    for _ in range(1500):
        bad = bytearray(good)
        bad[random.integers(len(bad))] = random.integers(256)
        try:
            with open_package(io.BytesIO(bad)) as package:
                for path in files:
                    package.read(path)
        except AtollError:
            pass
