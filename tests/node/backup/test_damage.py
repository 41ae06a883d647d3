"""A damaged or hostile backup is refused, and leaves nothing behind."""

import hashlib
import io
import random
import tarfile

import msgspec
import pytest
from atoll.engine.errors import AtollError, IntegrityError
from atoll.node.errors import StoreTooNew
from atoll.node.store import backup_file, restoring
from atoll.node.store.backup_file import Manifest, Member
from backups import NOW, contents, restore, silent


@pytest.fixture
def refused(tmp_path):
    """``refused(data)``: the error with which a restore of ``data`` ends, having left nothing; None if it succeeds."""

    def attempt(data, home=tmp_path / "restores" / "home"):
        (tmp_path / "attempt.tar").write_bytes(data)
        before = sorted(tmp_path.rglob("*"))
        try:
            restore(tmp_path / "attempt.tar", home)
        except AtollError as error:
            assert sorted(tmp_path.rglob("*")) == before
            return error
        return None

    return attempt


def read_tar(data):
    """(manifest, {name: bytes}, {name: offset of its header}) of a backup, by the standard library."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        manifest = msgspec.json.decode(tar.extractfile("manifest.json").read(), type=Manifest)
        files = {member.name: tar.extractfile(member.name).read() for member in manifest.members}
        return manifest, files, {name: tar.getmember(name).offset for name in files}


def sound(files, *, like=None):
    """A backup of {name: bytes} that is laid out soundly, whatever it holds."""
    found = tuple(Member(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    manifest = msgspec.structs.replace(like or Manifest(1, NOW, "somebody", "0", ()), members=found)
    return b"".join(backup_file.write(manifest, [[data] for data in files.values()]))


@pytest.mark.parametrize(("first", "count"), [(0, 40), pytest.param(40, 1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_detected_or_changes_nothing(home, whole, refused, tmp_path, first, count):
    expected = contents(home)
    detected = 0
    for seed in range(first, first + count):
        place = random.Random(seed).randrange(len(whole) * 8)
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        new = tmp_path / f"restored-{seed}"
        if refused(flipped, new) is not None:
            detected += 1
        else:
            assert contents(new) == expected, f"seed {seed}"
    print(f"{detected} of {count} flips detected, the others changed nothing")
    assert detected > count * 0.9


def test_verifying_names_every_member_that_is_damaged(whole, tmp_path):
    _, files, offsets = read_tar(whole)
    names = [name for name in files if name.startswith("blobs/")]
    damaged = bytearray(whole)
    for name in names:
        damaged[offsets[name] + 512] ^= 1
    (tmp_path / "b.tar").write_bytes(damaged)
    report = restoring.verify(tmp_path / "b.tar", silent)
    assert len(report.damage) == len(names) == 2
    assert all(any(name in words for words in report.damage) for name in names)


def test_a_backup_cut_short_or_prolonged_is_refused(whole, refused):
    for length in (0, 1, 511, 512, 600, 1024, len(whole) // 2, len(whole) - 1025, len(whole) - 1):
        assert isinstance(refused(whole[:length]), IntegrityError), length
    for more in (b"\0", bytes(512), bytes(9216), whole):
        assert isinstance(refused(whole + more), IntegrityError)


@pytest.mark.parametrize(
    "name",
    ["../../outside", "/tmp/outside", "store/../../outside", "store/lock.mdb", "blobs/sha256/aa/../x", "running", "",
     "manifest.json", "blobs/sha256/" + "ab/" + "cd" * 32, "./atoll.toml", "atoll.toml/", "identity.key\0"],
)  # fmt: skip
def test_a_member_that_does_not_belong_into_a_home_is_refused(refused, name):
    error = refused(sound({"store/data.mdb": b"x", name: b"evil"}))
    assert isinstance(error, IntegrityError)
    assert "does not belong" in error.message


@pytest.mark.parametrize(
    "change",
    [
        *({"type": kind.encode(), "linkname": "/etc/passwd"} for kind in "123567SLKxg"),
        {"name": "/etc/passwd"}, {"name": "../outside"}, {"size": 1 << 40}, {"size": 0}, {"mode": 0o4777}, {"uid": 1},
    ],
)  # fmt: skip
def test_links_and_other_members_than_announced_are_refused(whole, refused, change):
    _, files, offsets = read_tar(whole)
    for name in files:
        at = offsets[name]
        header = tarfile.TarInfo.frombuf(whole[at : at + 512], "ascii", "strict")
        for key, value in change.items():
            setattr(header, key, value)
        error = refused(whole[:at] + header.tobuf(tarfile.GNU_FORMAT)[:512] + whole[at + 512 :])
        assert isinstance(error, IntegrityError)
        assert f"where {name} should begin" in error.message


def test_extra_missing_and_endless_members_are_refused(whole, refused):
    manifest, files, offsets = read_tar(whole)
    first, last = min(offsets.values()), max(offsets.values())
    extra = tarfile.TarInfo("extra").tobuf(tarfile.GNU_FORMAT)
    endless = msgspec.structs.replace(manifest, members=(*manifest.members[:-1], Member("atoll.toml", 2**52, "0" * 64)))
    twice = msgspec.structs.replace(manifest, members=(*manifest.members, manifest.members[0]))
    for data in (
        whole[:-1024] + extra + bytes(1024),
        whole[:-1024] + extra + bytes(512),
        whole[:last] + bytes(1024),
        whole[:first] + whole[last:-1024] + whole[first:last] + bytes(1024),
        b"".join(backup_file.write(twice, [[data] for data in (*files.values(), files["atoll.toml"])])),
        sound(files, like=manifest).replace(msgspec.json.encode(manifest), msgspec.json.encode(endless)),
        sound({name: data for name, data in files.items() if name != "store/data.mdb"}, like=manifest),
    ):
        assert isinstance(refused(data), IntegrityError)
    assert refused(sound(files, like=manifest)) is None


@pytest.mark.parametrize("damage", [
    lambda store: store[: 3 * 4096], lambda store: bytes(len(store)), lambda store: b"",
    lambda store: store[: 2 * 4096] + b"\xff" * (len(store) - 2 * 4096),
])  # fmt: skip
def test_a_sound_backup_of_an_unsound_store_is_refused(whole, refused, damage):
    manifest, files, _ = read_tar(whole)
    files["store/data.mdb"] = damage(files["store/data.mdb"])
    assert isinstance(refused(sound(files, like=manifest)), IntegrityError)


def test_a_backup_that_lacks_a_blob_is_refused(whole, refused):
    manifest, files, _ = read_tar(whole)
    gone = manifest.members[-1]
    del files[gone.name]
    error = refused(sound(files, like=manifest))
    assert isinstance(error, IntegrityError)
    assert gone.sha256 in error.message


def test_a_backup_of_a_newer_atoll_or_another_key_is_refused(whole, refused):
    manifest, files, _ = read_tar(whole)
    newer = refused(sound(files, like=msgspec.structs.replace(manifest, format=2)))
    assert isinstance(newer, StoreTooNew)
    foreign = refused(sound(files, like=msgspec.structs.replace(manifest, peer_id="another")))
    assert "not that of another" in foreign.message


@pytest.mark.parametrize("change", [
    {"peer_id": "\x1b[2J"}, {"peer_id": ""}, {"atoll": "0\n"}, {"created_at": -1}, {"created_at": 2**60},
])  # fmt: skip
def test_a_manifest_with_impossible_values_is_refused(whole, refused, change):
    manifest, files, _ = read_tar(whole)
    error = refused(sound(files, like=msgspec.structs.replace(manifest, **change)))
    assert isinstance(error, IntegrityError)
    assert error.message.isprintable()
