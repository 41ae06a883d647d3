import io
import stat
import struct
import zipfile

import pytest
from atoll.engine.beimingwu.contents import ALWAYS, open_contents
from atoll.engine.errors import PackageError

from .conftest import files_of, zipped


def entry(name, mode=0):
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = mode << 16
    return info


def archive(*entries):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for info, data in entries:
            file.writestr(info, data)
    return target


@pytest.mark.parametrize("top", ["", "my learnware/"])
def test_a_zip_reads_the_same_with_and_without_a_folder_around_it(top):
    with open_contents(zipped(files_of(), top)) as contents:
        assert set(contents.names) == set(files_of())
        assert contents.read("stat.json", 1 << 20) == files_of()["stat.json"]
        assert (contents.top, contents.original) == (top.strip("/"), not top)


def test_a_folder_reads_like_its_zip_and_is_written_the_same_each_time(tmp_path):
    for name, data in files_of(**{"weights/a.bin": b"w" * 5000}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "old.pyc").write_bytes(b"cached")
    written = [io.BytesIO(), io.BytesIO()]
    with open_contents(tmp_path) as contents:
        assert not contents.original
        assert "weights/a.bin" in contents.names
        for target in written:
            contents.write(target)
    assert written[0].getvalue() == written[1].getvalue()
    with open_contents(written[0]) as again:
        assert again.original
        assert {name: again.read(name, 1 << 20) for name in again.names} == files_of(**{"weights/a.bin": b"w" * 5000})


def test_what_macs_put_into_archives_is_left_out():
    litter = {"__MACOSX/top/._learnware.yaml": b"x", "top/.DS_Store": b"x"}
    files = {f"top/{name}": data for name, data in files_of().items()}
    with open_contents(zipped(files | litter)) as contents:
        assert (contents.top, set(contents.names), contents.original) == ("top", set(files_of()), False)


@pytest.mark.parametrize(("one", "other"), [("Net.py", "net.py"), ("\u00e9.py", "e\u0301.py")])
def test_names_that_some_disks_take_for_one_are_refused(one, other):
    with pytest.raises(PackageError, match="two files differ in nothing but"):
        open_contents(archive((entry(one), b"a"), (entry(other), b"b")))


@pytest.mark.parametrize("name", ["../evil.py", "/etc/passwd", "a/../../b", "a\\b", "C:/x", "a//b", "./a", "a\nb"])
def test_paths_that_lead_outside_are_refused(name):
    with pytest.raises(PackageError, match="no plain path"):
        open_contents(archive((entry("ok"), b""), (entry(name), b"x")))


@pytest.mark.parametrize(("mode", "words"), [(stat.S_IFLNK | 0o777, "symbolic link"), (stat.S_IFIFO, "no plain file")])
def test_links_and_devices_are_refused(mode, words):
    with pytest.raises(PackageError, match=words):
        open_contents(archive((entry("learnware.yaml", mode), b"/etc/passwd")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a", "a"), "twice"),
        (("a", "a/b"), "file and a folder"),
        (("a/", "a"), "file and a folder"),
        (("a", "A"), "case"),
    ],
)
def test_one_name_for_two_things_is_refused(names, words):
    with pytest.raises(PackageError, match=words):
        open_contents(archive(*((entry(name), b"") for name in names)))


def test_a_bomb_is_refused_before_anything_of_it_is_unpacked():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file, file.open("zeros", "w") as member:
        for _ in range(ALWAYS // (1 << 20) + 1):
            member.write(bytes(1 << 20))
    with pytest.raises(PackageError, match="far more than its size"):
        open_contents(target)


def test_a_member_that_lies_about_its_size_is_not_read_beyond_it():
    data = bytearray(zipped({"a": b"x" * 1000}).getvalue())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(mark) + place, 10)
    with open_contents(io.BytesIO(bytes(data))) as contents, pytest.raises(PackageError, match="cannot be read"):
        contents.read("a", 100)


def test_encrypted_members_are_refused_with_what_to_do():
    data = bytearray(zipped({"a": b"x"}).getvalue())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    with pytest.raises(PackageError, match="encrypted") as caught:
        open_contents(io.BytesIO(bytes(data)))
    assert "password" in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"no zip at all", zipped({"a": b"x"}).getvalue()[:-30]])
def test_what_is_no_zip_is_said_to_be_none(data):
    with pytest.raises(PackageError, match="not a zip"):
        open_contents(io.BytesIO(data))


def test_a_link_in_a_folder_is_refused(tmp_path):
    (tmp_path / "learnware.yaml").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match="link"):
        open_contents(tmp_path)


def test_files_are_read_only_up_to_the_limit():
    with open_contents(zipped({"a": b"x" * 100})) as contents:
        with pytest.raises(PackageError, match="at most 99"):
            contents.read("a", 99)
        with pytest.raises(PackageError, match="no file"):
            contents.read("b", 99)
