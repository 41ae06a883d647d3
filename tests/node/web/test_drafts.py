"""Drafts on the disk: whose room they take, how long they are kept, how their files grow."""

import pytest
from atoll.engine.runtime.signature import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.node.errors import RequestInvalid
from atoll.node.web.publish import drafts as module
from atoll.node.web.publish.drafts import AT_A_TIME, FORGOTTEN, IN_ALL, Drafts
from atoll.node.web.reading.fitting import Packed
from atoll.protocol.errors import NotFound

PACKED = Packed(
    b"", False, 9, ("x",), "onnx", "model.onnx", Signature("regression", 1, 1), (), None, "", "", specification=b"x"
)  # fmt: skip


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
    drafts.change(fresh)
    now[0] += 1
    again = Drafts(tmp_path / "drafts", 1000, lambda: now[0])
    again.sweep()
    assert [each.id for each in again.all("mine")] == [fresh.id]
    assert not (tmp_path / "drafts" / fresh.id / "passing-left").exists()
    with pytest.raises(NotFound):
        again.change(old)


def test_a_draft_that_is_whole_stays_so_when_a_piece_comes_twice_and_lives_while_it_grows(tmp_path):
    now = [0]
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: now[0])
    draft = drafts.begin("mine", "package")
    drafts.append(draft, "k", "x", 10, 0, bytes(5))
    now[0] = FORGOTTEN
    drafts.append(draft, "k", "x", 10, 5, bytes(5))
    now[0] += FORGOTTEN - 1
    drafts.sweep()
    drafts.change(draft, whole=True)
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


def test_what_two_pages_change_of_one_draft_is_there_in_the_end(tmp_path):
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: 0)
    here = there = drafts.begin("mine", "package")  # both have read it before either writes
    words = SemanticSpec("Wards", scenario=("Business",))
    drafts.reword(there, words, there.worded)
    drafts.append(here, "k", "x", 10, 0, bytes(10))
    (tmp_path / "given").write_bytes(bytes(20))
    drafts.take(here, tmp_path / "given", "other.zip")
    drafts.keep_parts(here, PACKED, "label")
    found = drafts.change(here, whole=True)
    assert (found.words, found.name, found.whole, found.target) == (words, "other.zip", True, "label")
    assert drafts.get(here.id, "mine") == found


def test_words_do_not_take_the_place_of_words_that_their_writer_has_not_seen(tmp_path):
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: 0)
    draft = drafts.begin("mine", "package")
    first, second = (SemanticSpec(name, scenario=("Business",)) for name in ("First", "Second"))
    kept = drafts.reword(draft, first, "")
    assert kept.words == first
    assert drafts.reword(draft, second, "") is None
    assert drafts.get(draft.id, "mine").words == first
    assert drafts.reword(draft, first, "").words == first  # they are the same
    assert drafts.reword(draft, second, kept.worded).words == second
    assert drafts.reword(draft, first, None).words == first


def test_no_token_and_not_all_of_them_fill_a_node_with_drafts(tmp_path):
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: 0)
    for number in range(IN_ALL):
        drafts.begin(f"token {number // AT_A_TIME}", "package")
    with pytest.raises(RequestInvalid, match=f"you have {AT_A_TIME} drafts") as mine:
        drafts.begin("token 0", "package")
    assert "delete one of them" in mine.value.hint
    with pytest.raises(RequestInvalid, match="takes no more") as others:
        drafts.begin("somebody", "package")
    assert "an administrator can delete some" in others.value.hint


def test_an_administrator_sees_what_each_takes_and_removes_any(tmp_path):
    now = [0]
    drafts = Drafts(tmp_path / "drafts", 1000, lambda: now[0])
    small, large = drafts.begin("one", "package"), drafts.begin("two", "model")
    now[0] = 7
    drafts.append(large, "k", "x", 900, 0, bytes(10))
    (tmp_path / "drafts" / small.id / "model").write_bytes(bytes(30))
    assert [(each.id, each.owner, each.bytes, each.touched_at) for each in drafts.takings()] == [
        (large.id, "two", 900, 7), (small.id, "one", 30, 0),
    ]  # fmt: skip
    assert drafts.remove(large.id).owner == "two"
    assert [each.id for each in drafts.takings()] == [small.id]
    for nothing in (large.id, "..", ""):
        with pytest.raises(NotFound):
            drafts.remove(nothing)
