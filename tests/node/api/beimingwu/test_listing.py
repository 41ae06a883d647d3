"""Where uploads are listed and for whom, and which words leave a model as it is."""

import msgspec
import pytest
from atoll.engine.beimingwu.semantic import Words
from atoll.engine.packages import Manifest
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.node.api.beimingwu.listing import federation_of, offers_of, require_listable, require_same_shape
from atoll.node.config import BeimingwuSection, load
from atoll.node.errors import ConfigError, RequestInvalid
from atoll.node.store.federations import Federation
from atoll.protocol.membership import Charter

OPEN = BeimingwuSection(disclose="members", predict="members", download="members")
MANIFEST = Manifest(
    "owner", 1, SemanticSpec("Irises"), Signature("classification", 2, 2), ("a", "b"), "learnware.zip", "beimingwu",
    (), (), ("setosa", "a rather long na…"),
)  # fmt: skip
WORDS = Words(SemanticSpec("Others"), 2, ("a", "b"), 2, ("setosa", "a rather long name"))


def federation(number, name, *, open_=False):
    return Federation(bytes([number]) * 32, Charter(name, (), 1, open_), None, None)


COMMONS, WARD, CLINIC = federation(1, "Commons", open_=True), federation(2, "Ward"), federation(3, "Clinic")


@pytest.mark.parametrize(
    ("known", "configured", "expected"),
    [
        ([WARD], "", WARD),
        ([COMMONS], "", COMMONS),
        ([COMMONS, WARD], "", WARD),
        ([COMMONS, WARD, CLINIC], "Clinic", CLINIC),
        ([COMMONS, WARD, CLINIC], WARD.id.hex(), WARD),
        ([COMMONS, WARD], "Commons", COMMONS),
    ],
)
def test_uploads_go_to_the_one_that_is_meant(known, configured, expected):
    assert federation_of(known, configured) == expected.id


@pytest.mark.parametrize(
    ("known", "configured"),
    [
        ([], ""), ([WARD, CLINIC], ""), ([COMMONS, federation(4, "Other", open_=True)], ""), ([WARD], "Clinic"),
        ([WARD, federation(5, "Ward")], "Ward"),
    ],
)  # fmt: skip
def test_where_it_is_not_one_uploads_are_refused_with_a_hint(known, configured):
    with pytest.raises(RequestInvalid) as refused:
        federation_of(known, configured)
    assert refused.value.hint


def test_offers_are_those_configured_without_what_is_not_run():
    assert {getattr(offers_of(OPEN, MANIFEST), act) for act in ("disclose", "predict", "download")} == {"members"}
    text = msgspec.structs.replace(MANIFEST, semantic=SemanticSpec("Letters", data="Text"), columns=("text",))
    offers = offers_of(OPEN, text)
    assert (offers.predict, offers.disclose, offers.download) == ("nobody", "members", "members")
    assert offers_of(BeimingwuSection(), MANIFEST).download == "nobody"


def test_a_configuration_that_no_upload_could_keep_is_refused_at_once(tmp_path):
    (tmp_path / "atoll.toml").write_text('[beimingwu]\ndownload = "members"\n')
    with pytest.raises(ConfigError, match="disclose"):
        load(tmp_path, {})
    assert load(tmp_path, {"ATOLL__BEIMINGWU__DISCLOSE": "anyone"}).beimingwu.download == "members"


@pytest.mark.parametrize(
    "change",
    [
        {}, {"inputs": None, "input_names": ()}, {"input_names": ()}, {"outputs": None, "output_names": ()},
        {"output_names": ("", "")},
    ],
)  # fmt: skip
def test_words_may_leave_out_what_they_do_not_change(change):
    require_same_shape(msgspec.structs.replace(WORDS, **change), MANIFEST)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": 3}, {"input_names": ("b", "a")}, {"outputs": 3, "output_names": ("setosa", "b", "c")},
        {"output_names": ("setosa", "other")},
    ],
)  # fmt: skip
def test_other_shapes_need_the_zip(change):
    with pytest.raises(RequestInvalid, match=r"Input|Output"):
        require_same_shape(msgspec.structs.replace(WORDS, **change), MANIFEST)


def test_more_classes_than_a_listing_names_are_refused_at_once():
    require_listable(msgspec.structs.replace(WORDS, outputs=32))
    require_listable(Words(SemanticSpec("Yields", task="Regression"), outputs=33))
    with pytest.raises(RequestInvalid, match="33 classes"):
        require_listable(msgspec.structs.replace(WORDS, outputs=33))
