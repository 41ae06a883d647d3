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
from atoll.engine.packages.manifest import NAME, FileEntry, Manifest, SpecEntry, read_manifest
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


@pytest.mark.parametrize("names", [("a", "a"), ("a", "b\x1b]0;x\x07"), ("a", "b\n=1+1")])
def test_names_of_classes_that_mislead_are_refused(manifest, files, names):
    changed = msgspec.structs.replace(manifest, signature=Signature("classification", 64, 2), class_names=names)
    with pytest.raises(PackageError, match="control characters"):
        open_package(archive(changed, files))


@pytest.mark.parametrize("alias", ["a b", "x" * 65, "../etc", "é", "..", "-rf", "a" * 64, "a\n"])
def test_an_alias_is_a_plain_word_or_nothing(manifest, files, alias):
    plain = msgspec.structs.replace(manifest, alias="00000123")
    assert open_package(archive(plain, files)).manifest.alias == "00000123"
    with pytest.raises(PackageError, match="is no alias"):
        open_package(archive(msgspec.structs.replace(manifest, alias=alias), files))


def test_a_manifest_from_before_there_were_aliases_reads(manifest):
    tree = msgspec.to_builtins(manifest)
    del tree["alias"]
    assert read_manifest(msgspec.json.encode(tree)) == manifest


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
    with pytest.raises(PackageError, match="at most 100"):
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


def zipped(manifest, files, method):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for path, data in [(NAME, manifest.to_bytes()), *files.items()]:
            archive.writestr(path, data)
    return target


def test_files_are_stored_as_they_are_and_deflated_ones_read_too(manifest, files):
    target = archive(manifest, files)
    assert all(info.compress_type == zipfile.ZIP_STORED for info in zipfile.ZipFile(target).infolist())
    with open_package(zipped(manifest, files, zipfile.ZIP_DEFLATED)) as package:
        assert {path: package.read(path) for path in files} == files


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_to_any_size_at_once_is_refused(manifest, files, method):
    with pytest.raises(PackageError, match="compressed by method"):
        open_package(zipped(manifest, files, method))


def test_a_table_of_contents_of_any_length_is_not_read(manifest, files):
    target = zipped(manifest, files | {f"{number:05}{'x' * 1000}": b"" for number in range(2200)}, zipfile.ZIP_STORED)
    with pytest.raises(PackageError, match="table of contents"):
        open_package(target)


def test_a_large_file_comes_in_pieces_and_is_not_read_at_once(manifest, files, tmp_path):
    model = tmp_path / "model"
    model.write_bytes(bytes(20 << 20))
    with model.open("rb") as file:
        large = FileEntry("model.onnx", 20 << 20, hashlib.file_digest(file, "sha256").hexdigest())
    listed = msgspec.structs.replace(manifest, files=(large, manifest.files[1]))
    write(tmp_path / "package", listed.to_bytes(), files | {"model.onnx": model})
    with open_package(tmp_path / "package") as package:
        assert max(map(len, package.pieces("model.onnx"))) == 1 << 20
        assert package.verify("model.onnx") == 20 << 20
        with pytest.raises(PackageError, match="at most 16777216 are read at once"):
            package.read("model.onnx")
        write(tmp_path / "copy", package.manifest_bytes, dict.fromkeys(files, package))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "package").read_bytes()


def test_an_archive_that_unpacks_to_more_than_it_says_ends_at_what_it_says(manifest, files):
    short = FileEntry("model.onnx", len(MODEL) - 1, hashlib.sha256(MODEL[:-1]).hexdigest())
    listed = msgspec.structs.replace(manifest, files=(short, manifest.files[1]))
    raw = zipped(listed, files, zipfile.ZIP_DEFLATED).getvalue()
    size = len(MODEL).to_bytes(4, "little")
    target = io.BytesIO(raw.replace(size, (len(MODEL) - 1).to_bytes(4, "little")))
    with open_package(target) as package, pytest.raises((IntegrityError, PackageError)):
        package.verify("model.onnx")
