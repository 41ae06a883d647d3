"""Requirements are names and versions; an environment holds what was locked, and says what cannot be had."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import wheels
from atoll.engine.errors import ModelError, ModelRefused, SandboxBusy
from atoll.engine.runtime import ModelPool, Rung, Sandbox, Signature
from atoll.engine.runtime.environments import LOCK, Environments, Needs
from atoll.engine.runtime.requirements import MAX_BYTES, read
from hypothesis import given
from hypothesis import strategies as st

ROW = Signature("regression", 2, 1)
ONE = np.ones((1, 2), np.float32)
CODE = b"import coral\ndef predict(rows):\n    return rows.sum(axis=1) * coral.FACTOR\n"


@pytest.fixture
def environments(tmp_path, monkeypatch):
    wheels.set_up(tmp_path, monkeypatch)
    return Environments(tmp_path / "environments")


@pytest.fixture
def pool(environments):
    made = ModelPool(2, environments=environments)
    yield made
    made.close()


def requirements(*lines):
    return Needs("requirements.txt", "\n".join(lines).encode())


def test_a_model_finds_the_versions_that_it_asked_for_and_two_environments_are_apart(pool, tmp_path):
    path = tmp_path / "model.py"
    path.write_bytes(CODE)
    for version, expected in (("1.0", 20.0), ("2.0", 40.0), ("1.0", 20.0)):
        needs = requirements(f"coral=={version}")
        assert pool.predict("m", path, ROW, ONE, trust="own", needs=needs)[0, 0] == expected
    with pytest.raises(ModelRefused, match="No module named 'coral'"):
        pool.predict("m", path, ROW, ONE, trust="own")


def test_the_environment_cannot_be_written_to(pool, tmp_path):
    path = tmp_path / "model.py"
    path.write_bytes(
        b"import coral\ndef predict(rows):\n    open(coral.__file__, 'a').write('FACTOR = 0')\n    return rows\n"
    )
    with pytest.raises(ModelError, match=r"PermissionError|OSError"):
        pool.predict("m", path, ROW, ONE, trust="own", needs=requirements("coral"))


def test_it_is_locked_and_built_once(environments, monkeypatch):
    needs = requirements("# what it takes", "coral>=1  # any", "")
    built = environments.built(needs)
    assert built.locked == ("coral==2.0",)
    lock = (environments._root / needs.key / LOCK).read_text()
    assert "--hash=sha256:" in lock
    monkeypatch.setattr("subprocess.Popen", None)
    assert environments.built(needs) == built


def test_what_cannot_be_had_is_named(environments):
    needs = requirements("coral==3.0", "reef", "coral", "pearl")
    with pytest.raises(ModelRefused, match="cannot be had as wheels") as caught:
        environments.built(needs)
    assert caught.value.message.endswith("coral==3.0, reef, pearl")
    with pytest.raises(ModelRefused, match="cannot be had together"):
        environments.built(requirements("coral==1.0", "coral==2.0"))
    assert not list(environments._root.iterdir())


def test_of_conda_what_is_no_python_package_is_left_out_and_named(environments):
    text = b"""
name: base
channels: [conda-forge]
dependencies:
  - python=%d.%d
  - _libgcc_mutex=0.1=main
  - conda-forge::coral=1.0=py_0
  - pip:
    - coral<2
""" % sys.version_info[:2]
    built = environments.built(Needs("environment.yaml", text))
    assert (built.locked, built.left_out) == (("coral==1.0",), ("_libgcc_mutex==0.1",))
    assert "_libgcc_mutex" in built.words


def test_another_python_cannot_be_had(environments):
    with pytest.raises(ModelRefused, match=r"Python 3\.7 cannot be had: this node runs on"):
        environments.built(Needs("environment.yml", b"dependencies: [python=3.7, coral]"))


def test_one_that_nobody_needs_any_more_is_deleted(environments):
    old, new = requirements("coral==1.0"), requirements("coral==2.0")
    for each in (old, new):
        environments.built(each)
    environments.keep_only([new.key])
    assert [each.name for each in environments._root.iterdir()] == [new.key]


def test_without_uv_the_refusal_says_what_to_install(environments, monkeypatch):
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ModelRefused) as caught:
        environments.built(requirements("coral"))
    assert caught.value.hint == "pip install 'atoll[environments]'"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-r /etc/passwd", "is no requirement"),
        ("--index-url http://127.0.0.1/", "is no requirement"),
        ("./coral-1.0.whl", "is no requirement"),
        ("git+https://127.0.0.1/coral", "is no requirement"),
        ("coral @ http://127.0.0.1/coral.whl", "by an address"),
        ("coral==1.0 evil", "is no requirement"),
    ],
)
def test_a_line_that_is_more_than_a_name_and_a_version_is_refused(line, said):
    with pytest.raises(ModelRefused, match=said):
        read("requirements.txt", line.encode())
    for entries in (f"[{line!r}]", f"[{{pip: [{line!r}]}}]"):
        if "==" not in line:
            with pytest.raises(ModelRefused):
                read("environment.yaml", f"dependencies: {entries}".encode())


SMUGGLED = (
    "coral; os_name != 'a\"\\n--index-url http://127.0.0.1/\\n#'",
    "coral; os_name != 'a\\n--no-binary :all:'",
    "coral; python_version > '3\\nreef'",
)


@pytest.mark.parametrize("line", SMUGGLED)
def test_a_condition_smuggles_nothing_to_uv(line):
    try:
        wanted = read("requirements.txt", line.encode()).wanted
    except ModelRefused:
        return
    assert wanted in (("coral",), ())


def test_conditions_are_judged_here():
    text = b"coral==1.0; python_version >= '3'\nreef; sys_platform == 'win32'\nshoal[a,b]>1\n"
    assert read("requirements.txt", text).wanted == ("coral==1.0", "shoal[a,b]>1")


@pytest.mark.parametrize(
    "text",
    [
        "dependencies:\n- &a [x, x]\n- pip: [*a, *a]\n",
        "a: &a [x]\nb: &b [*a, *a]\ndependencies: *b\n",
        "dependencies: [{pip: [[a]]}]",
        "dependencies: [[a]]",
        "dependencies: " + "[" * 5000,
        "dependencies: ['python=3.x.y z']",
        "? [a]\n: b",
    ],
)
def test_yaml_that_is_more_than_a_list_of_words_is_refused(text):
    with pytest.raises(ModelRefused):
        read("environment.yaml", text.encode())


@pytest.mark.parametrize("tagged", ["!!int ''", "!!bool x", "!!timestamp x", "!!python/object/apply:os.system [id]"])
def test_tags_of_yaml_make_nothing(tagged):
    with contextlib.suppress(ModelRefused):
        assert read("environment.yaml", f"dependencies: [{tagged}]".encode()).native in (("x",), ())


@pytest.mark.parametrize("version", ["python<3.8", "python>=4", "python!=3.*", "python=3.7.9=h1_0"])
def test_a_range_of_pythons_counts_too(environments, version):
    with pytest.raises(ModelRefused, match="cannot be had: this node runs on"):
        environments.built(Needs("environment.yaml", f"dependencies: ['{version}', coral]".encode()))


def test_what_failed_is_not_tried_again_at_once(environments, monkeypatch):
    needs = requirements("pearl")
    with pytest.raises(ModelRefused) as first:
        environments.built(needs)
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(ModelRefused) as second:
        environments.built(needs)
    assert second.value is first.value


def test_whoever_does_not_want_to_wait_hears_that_it_is_being_built(environments):
    needs = requirements("coral")
    environments._locks[needs.key].acquire()
    with pytest.raises(SandboxBusy, match="is being built"):
        environments.built(needs, wait=False)
    environments._locks[needs.key].release()
    environments.built(needs)
    environments._locks[needs.key].acquire()
    assert environments.built(needs, wait=False).locked  # built ones cost no lock


def test_one_deadline_holds_for_a_whole_build(tmp_path, environments):
    hasty = Environments(tmp_path / "hasty", seconds=0.0)
    with pytest.raises(ModelRefused, match="not built in 0 s"):
        hasty.built(requirements("coral"))


def test_closed_it_builds_nothing_any_more(environments):
    environments.close()
    with pytest.raises(ModelRefused, match="closing"):
        environments.built(requirements("coral"))


def test_a_home_may_be_named_relatively(environments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    near = Environments(Path("near"))
    assert Path(near.built(requirements("coral")).packages).is_absolute()


def test_an_environment_needs_the_strong_sandbox(tmp_path):
    """Below it, what is imported from there would run before the worker has confined itself."""
    path = tmp_path / "model.py"
    path.write_bytes(CODE)
    box = Sandbox(rung=Rung("limited", (), "bubblewrap is not installed", "apt install bubblewrap"))
    with pytest.raises(ModelRefused, match="environments need the strong sandbox: bubblewrap"):
        box.start(path, ROW, trust="own", environment=str(tmp_path))
    box.close()


def test_a_warm_parent_with_a_worker_does_not_give_way(pool, tmp_path, monkeypatch):
    monkeypatch.setattr("atoll.engine.runtime.sandbox.WITH_FOLDERS", 1)
    path = tmp_path / "model.py"
    path.write_bytes(b"calls = 0\ndef predict(rows):\n    global calls\n    calls += 1\n    return rows * 0 + calls\n")
    both = Signature("regression", 2, 2)
    lists = [requirements("coral==1.0"), requirements("coral==2.0"), requirements("coral")]
    first, second, _ = [int(pool.predict("m", path, both, ONE, trust="own", needs=needs)[0, 0]) for needs in lists]
    assert (first, second) == (1, 1)
    assert len(pool._sandbox._parents) == 2  # as many as workers
    assert pool.predict("m", path, both, ONE, trust="own", needs=lists[1])[0, 0] == 2


def test_a_locked_list_is_read_without_its_hashes():
    text = b"coral==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nreef==2  # via coral\n"
    assert read("requirements.txt", text).wanted == ("coral==1.0", "reef==2")


@pytest.mark.parametrize(
    ("entry", "read_as"),
    [
        ("coral", "coral"), ("coral=1.2", "coral==1.2.*"), ("coral=1.2.3=py_0", "coral==1.2.3"), ("coral ==1.2",
        "coral==1.2"), ("coral>=1,<2", "coral>=1,<2"), ("coral=1.*", "coral==1.*"), ("defaults::coral", "coral"),
    ],
)  # fmt: skip
def test_versions_of_conda_are_read_as_pythons(entry, read_as):
    assert read("environment.yaml", f"dependencies: ['{entry}']".encode()).native == (read_as,)


@given(st.sampled_from(["requirements.txt", "environment.yaml"]), st.binary(max_size=300) | st.text().map(str.encode))
def test_any_bytes_are_either_read_or_refused(name, data):
    with contextlib.suppress(ModelRefused):
        read(name, data)


def test_what_is_too_long_or_is_called_otherwise_is_refused():
    for name, data in (("requirements.txt", b"a" * (MAX_BYTES + 1)), ("setup.py", b"coral")):
        with pytest.raises(ModelRefused, match="is called"):
            read(name, data)
