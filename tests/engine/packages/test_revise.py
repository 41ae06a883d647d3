"""A revision of words only: the id stays, every file its bytes; a package can hold a model of any format."""

import io

import msgspec
import numpy as np
import pytest
from atoll.engine.errors import PackageError, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.pack import pack
from atoll.engine.packages.revise import only_words_differ, revise
from atoll.engine.runtime.signature import Signature
from atoll.engine.semantic import SemanticSpec

WORDS = SemanticSpec("Numbers", task="Regression")


@pytest.fixture(scope="module")
def package():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    made = io.BytesIO()
    pack(
        made, b"tree\n", rows, Island.mint(rows), WORDS, Signature("regression", 3, 1), owner="o", created_at=1,
        salt=b"s" * 16, size=10, model_format="lightgbm", model_path="model.txt",
    )  # fmt: skip
    return made.getvalue()


def opened(data):
    return open_package(io.BytesIO(data))


def revised(data, words):
    made = io.BytesIO()
    revise(io.BytesIO(data), made, semantic=words)
    return made.getvalue()


def test_a_package_holds_a_model_of_any_format_under_its_own_name(package):
    with opened(package) as found:
        assert (found.manifest.model, found.manifest.model_format) == ("model.txt", "lightgbm")
        assert found.read("model.txt") == b"tree\n"


def test_a_revision_keeps_id_and_files_through_further_revisions(package):
    first = revised(package, SemanticSpec("More numbers", task="Regression"))
    second = revised(first, SemanticSpec("Most numbers", task="Regression"))
    with opened(package) as old, opened(first) as one, opened(second) as two:
        assert old.learnware_id == one.learnware_id == two.learnware_id
        assert len({old.revision, one.revision, two.revision}) == 3
        for entry in old.manifest.files:
            assert old.read(entry.path) == one.read(entry.path) == two.read(entry.path)
        assert two.manifest.semantic.name == "Most numbers"
        assert only_words_differ(old.manifest, two.manifest)


def test_more_than_words_is_told_from_words(package):
    with opened(package) as old:
        changed = msgspec.structs.replace(old.manifest, signature=Signature("regression", 3, 2))
        assert not only_words_differ(old.manifest, changed)


def test_the_same_words_and_unknown_tags_make_no_revision(package):
    with pytest.raises(PackageError, match="already"):
        revised(package, WORDS)
    with pytest.raises(SpecificationError, match="nearest is 'MIT'"):
        revised(package, SemanticSpec("Numbers", license="mit"))
