import pytest
from atoll.engine.beimingwu.config import MAX_BYTES, read_config
from atoll.engine.errors import PackageError

from .conftest import YAML


def test_what_a_package_says_of_itself():
    config = read_config(YAML.encode())
    assert (config.name, config.id, config.semantic_file) == ("Iris", "00000123", "semantic_specification.json")
    assert (config.model.class_name, config.model.module_path, config.model.kwargs) == ("Model", "__init__.py", {})
    assert [(each.class_name, each.file_name) for each in config.stat_specifications] == [
        ("RKMETableSpecification", "stat.json")
    ]


def test_ids_keep_their_zeros_and_arguments_their_types():
    config = read_config(
        b"id: 00000662\nmodel: {kwargs: {n: 3, rate: 0.5, path: a.pkl, flag: yes, none: null, day: 2020-01-01}}"
    )
    assert config.id == "00000662"
    assert config.model.kwargs == {
        "n": 3,
        "rate": 0.5,
        "path": "a.pkl",
        "flag": True,
        "none": None,
        "day": "2020-01-01",
    }


def test_the_tuples_that_the_package_itself_writes_are_taken():
    config = read_config(b"model:\n  kwargs:\n    input_shape: !!python/tuple\n    - 64\n")
    assert config.model.kwargs == {"input_shape": (64,)}


def test_nothing_but_a_name_is_needed():
    config = read_config(b"name: x")
    assert (config.model.class_name, config.model.module_path, config.stat_specifications) == (
        "Model",
        "__init__.py",
        (),
    )


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + level, 98 + level, b", ".join([b"*%c" % (97 + level)] * 9)) for level in range(8)
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"model: {module_path: subprocess, class_name: Popen, kwargs: {args: [touch, /tmp/x]}}", "must be a .py file"),
        (b"model: {module_path: os}", "must be a .py file"),
        (b"model: {module_path: ../../evil.py}", "no plain path"),
        (b"model: {module_path: /tmp/evil.py}", "no plain path"),
        (b"model: {class_name: 'os.system'}", "no name of a class"),
        (b"a: &x 1\nb: *x", "anchors or aliases"),
        (BOMB, "anchors or aliases"),
        (b"a: !!python/object/apply:os.system [id]", "has a tag"),
        (b"model: {kwargs: {a: !!binary aGk=}}", "has a tag"),
        (b"model: {kwargs: {a: !!python/tuple {b: 1}}}", "has a tag"),
        (b"model: {kwargs: {a: !!python/name:os.system }}", "has a tag"),
        (b"model: {kwargs: {'a b': 1}}", "no name of an argument"),
        (b"model: {kwargs: {a: 123456789012345678901234567890}}", "only plain values"),
        (b"model: {kwargs: {a: {1: 2}}}", "keys are no text"),
        (b"name: x\nname: y", "twice"),
        (b'id: "\\ud800"', "control characters"),
        (b'model: {required_learnware_ids: ["\\e[31m"]}', "control characters"),
        (b"other: =", "no plain value"),
        (b"other: {? [a, b] : 1}", "no plain value"),
        (b"other: " + b"1" * 5000, "no plain value"),
        (b"model: [1]", "not a mapping"),
        (b"stat_specifications: {a: 1}", "not a list"),
        (b"stat_specifications: [{class_name: RKMETableSpecification}]", "no file_name"),
        (b"stat_specifications: [{file_name: /etc/passwd}]", "no plain path"),
        (b"name: [", "no YAML"),
        (b"--- a\n--- b", "no YAML"),
        (b"\xff\xfe", "no YAML"),
        (b"", "is empty"),
        (b"[" * 100 + b"]" * 100, "nested deeper"),
        (b"[" + b"1," * 20_000 + b"]", "more than"),
        (b"#" * (MAX_BYTES + 1), "are read"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(data, words):
    with pytest.raises(PackageError, match=words):
        read_config(data)
