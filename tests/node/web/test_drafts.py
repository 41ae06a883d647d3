"""Drafts on the disk: whose room they take, how long they are kept, how their files grow."""

import msgspec
import pytest
from atoll.node.errors import RequestInvalid
from atoll.node.web.publish import drafts as module
from atoll.node.web.publish.drafts import AT_A_TIME, FORGOTTEN, Drafts
from atoll.protocol.errors import NotFound


def test_a_draft_is_swept_when_nobody_has_touched_it_for_a_day(tmp_path):
    now = [0]
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: now[0])
    old, fresh = drafts.begin("mine", "model"), drafts.begin("mine", "package")
    with pytest.raises(RequestInvalid, match="this node takes 1000"):
        drafts.append(fresh, "k", "x", 1001, 0, b"")
    drafts.append(fresh, "k", "x", 1000, 0, bytes(900))
    with pytest.raises(RequestInvalid, match="more has come"):
        drafts.append(fresh, "k", "x", 1000, 900, bytes(101))
    with pytest.raises(RequestInvalid, match="stands at 900"):
        drafts.append(fresh, "k", "x", 1000, 0, b"")
    with pytest.raises(RequestInvalid, match="of a file that had 1000"):
        drafts.append(fresh, "k", "x", 999, 900, b"")
    third, fourth = drafts.begin("mine", "package"), drafts.begin("mine", "package")
    drafts.append(third, "k", "x", 1000, 0, bytes(1000))
    with pytest.raises(RequestInvalid, match="too many bytes"):
        drafts.append(fourth, "k", "x", 1000, 0, b"")
    (tmp_path / "drafts" / fresh.id / "passing-left").mkdir()
    drafts.delete(third)
    drafts.delete(fourth)
    now[0] = FORGOTTEN
    drafts.save(fresh)
    now[0] += 1
    again = Drafts(tmp_path / "drafts", 1000, lambda: now[0])
    again.sweep()
    assert [each.id for each in again.all("mine")] == [fresh.id]
    assert not (tmp_path / "drafts" / fresh.id / "passing-left").exists()
    with pytest.raises(NotFound):
        again.save(old)


def test_a_draft_that_is_whole_stays_so_when_a_piece_comes_twice_and_lives_while_it_grows(tmp_path):
    now = [0]
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: now[0])
    draft = drafts.begin("mine", "package")
    drafts.append(draft, "k", "x", 10, 0, bytes(5))
    now[0] = FORGOTTEN
    drafts.append(draft, "k", "x", 10, 5, bytes(5))
    now[0] += FORGOTTEN - 1
    drafts.sweep()
    drafts.save(msgspec.structs.replace(drafts.get(draft.id, "mine"), whole=True))
    with pytest.raises(RequestInvalid, match="stands at 10"):
        drafts.append(draft, "k", "x", 10, 5, bytes(5))
    assert drafts.get(draft.id, "mine").whole


def test_forms_that_come_have_room_before_anything_of_them_is_written(tmp_path, monkeypatch):
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: 0)
    one, two, other = (
        drafts.begin("mine", "package"),
        drafts.begin("mine", "package"),
        drafts.begin("theirs", "package"),
    )
    drafts.reserve(one, 1000)
    drafts.reserve(two, 600)
    with pytest.raises(RequestInvalid, match="too many bytes"):
        drafts.reserve(two, 401)
    drafts.reserve(other, 1000)
    drafts.release(two, 600)
    with monkeypatch.context() as patch:
        patch.setattr(module, "LEFT_FREE", 1 << 60)
        with pytest.raises(RequestInvalid, match="no room for the file"):
            drafts.reserve(two, 1)
    for _ in range(AT_A_TIME - 1):
        drafts.reserve(two, 1)
    with pytest.raises(RequestInvalid, match="too many forms"):
        drafts.reserve(two, 1)
