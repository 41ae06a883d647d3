"""What `atoll config` says: every key with its origin and its meaning, and everything that is wrong, at once."""

import json

import certificates
import pytest
from atoll.node import settings
from atoll.node.config import Config
from atoll.node.given import lines_of, sections

WRONG = """\
colour = "blue"

[http]
prot = 1
port = "x"

[htp]
port = 2
[serving]
match_queue = 99999999
[beimingwu]
download = "anyone"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOLL_HOME", str(tmp_path))
    return tmp_path


def test_every_fault_is_named_at_once_with_file_and_line(home, atoll, monkeypatch):
    (home / "atoll.toml").write_text(WRONG)
    monkeypatch.setenv("ATOLL__SEARCH__ANONYMOUS", "maybe")
    monkeypatch.setenv("ATOLL__SEARCH__DEADLINE", "10")
    code, out, _ = atoll("config", "check", "--json")
    found = {each["key"]: each for each in json.loads(out)}
    lines = {"colour": 1, "http.prot": 4, "http.port": 5, "htp": 7, "serving.match_queue": 10, "beimingwu": 12}
    assert code == 20
    assert {key: each["line"] for key, each in found.items() if each["line"]} == lines
    assert found["http.prot"]["hint"] == "did you mean 'port'?"
    assert found["search.anonymous"]["where"] == "ATOLL__SEARCH__ANONYMOUS"
    assert found["search.deadline"]["hint"] == "did you mean 'deadline_ms'?"
    assert len(found) == 8
    code, out, _ = atoll("config", "check")
    assert (code, len(out.splitlines())) == (20, 8)
    assert f"{home / 'atoll.toml'}, line 5: http.port: Expected `int`, got `str`" in out


def test_other_commands_name_the_first_fault_and_say_how_to_see_the_others(home, atoll):
    (home / "atoll.toml").write_text(WRONG)
    code, _, err = atoll("config", "show")
    assert code == 20
    assert "unknown key 'colour' (and 5 more: `atoll config check` names all)" in err


@pytest.mark.parametrize(("text", "line"), [("[http]\nport = \n", 2), ("[http\n", 1), ("a = 1\na = 2\n", 2)])
def test_what_is_no_toml_is_named_by_line(home, atoll, text, line):
    (home / "atoll.toml").write_text(text)
    code, out, _ = atoll("config", "check", "--json")
    (fault,) = json.loads(out)
    assert (code, fault["line"], fault["key"]) == (20, line, "")


@pytest.mark.parametrize(
    ("text", "key", "line", "words"),
    [
        ('[p2p]\nlisten = "8471"\n', "p2p.listen", 2, "cannot be listened on"),
        ('[p2p]\nannounce = ["atoll.example.org:8471"]\n', "p2p.announce", 2, "no address of a peer"),
        ('[p2p]\nbootstrap = [\n"/ip4/1.2.3.4/tcp/1",\n]\n', "p2p.bootstrap", 2, "is not the address of a peer"),
        ('[p2p]\n\nrelay = "x"\n', "p2p.relay", 3, "is not the address of a peer"),
        ("[http]\nport = 8471\n", "http.port", 2, "8471 is also the port of p2p.listen"),
        ('[http]\ntls_key = "key.pem"\n', "http.tls_key", 2, "without http.tls_certificate"),
        ('[http]\ntls_key = "key.pem"\ntls_certificate = "none.pem"\n', "http.tls_certificate", 3, "cannot be read"),
        ("http = 3\n", "http", 1, "http is a section, not a value"),
    ],
)
def test_what_contradicts_itself_is_named(home, atoll, text, key, line, words):
    (home / "atoll.toml").write_text(text)
    (home / "key.pem").touch(0o600)
    code, out, _ = atoll("config", "check", "--json")
    (fault,) = json.loads(out)
    assert (code, fault["key"], fault["line"]) == (20, key, line)
    assert words in fault["words"]


def test_a_certificate_that_is_not_of_its_key_is_named(home):
    for name in ("one", "two"):
        certificates.write(home, name)
    (home / "atoll.toml").write_text('[http]\ntls_certificate = "one.pem"\ntls_key = "two.key"\n')
    (fault,) = settings.faults(home, {})
    assert (fault.key, fault.line) == ("http.tls_key", 3)
    assert "is not the key of the certificate" in fault.words
    (home / "atoll.toml").write_text('[http]\ntls_certificate = "one.pem"\ntls_key = "one.key"\n')
    assert settings.faults(home, {}) == ()
    (home / "one.key").chmod(0o644)
    (fault,) = settings.faults(home, {})  # the node would not start with it
    assert "anybody on this machine can read" in fault.words


def test_a_configuration_without_faults_is_fine(home, atoll):
    assert atoll("config", "check") == (0, "The configuration is fine.\n", "")
    code, out, _ = atoll("config", "check", "--json")
    assert (code, json.loads(out)) == (0, [])


def test_each_key_says_where_it_comes_from_and_what_it_means(home, atoll, monkeypatch):
    (home / "atoll.toml").write_text('[http]\nhost = "0.0.0.0"\nport = 1\n')
    monkeypatch.setenv("ATOLL__HTTP__PORT", "2")
    _, out, _ = atoll("config", "show", "--origin", "--json")
    found = {each["key"]: each for each in json.loads(out)}
    host, port, name = (found[key] for key in ("http.host", "http.port", "node.name"))
    assert (host["origin"], host["where"]) == ("file", f"{home / 'atoll.toml'}, line 2")
    assert (port["origin"], port["where"], port["value"], port["default"]) == (
        "environment",
        "ATOLL__HTTP__PORT",
        2,
        8470,
    )
    assert (name["origin"], name["where"]) == ("default", "")
    _, out, _ = atoll("config", "show", "--origin")
    assert f'host = "0.0.0.0"\n    # address to listen on for HTTP; {home / "atoll.toml"}, line 2\n' in out
    _, out, _ = atoll("config", "show")
    assert '[http]\nhost = "0.0.0.0"\nport = 2\n' in out
    _, out, _ = atoll("config", "show", "--json")
    assert json.loads(out)["http"]["port"] == 2


def test_no_password_is_shown(home, atoll):
    (home / "atoll.toml").write_text('[sandbox]\npackage_index = "https://me:pass@example.org/simple"\n')
    for arguments in ((), ("--origin",), ("--json",), ("--origin", "--json")):
        _, out, _ = atoll("config", "show", *arguments)
        assert "pass@" not in out
        assert "https://(hidden)@example.org/simple" in out


def test_every_key_has_a_meaning_and_a_kind():
    for section, keys in sections(Config).items():
        for key, field in keys.items():
            meaning = settings.meaning(field.type)
            assert meaning, f"{section}.{key}"
            assert not meaning.endswith("."), meaning
            assert settings.describe(field.type)


def test_lines_are_those_on_which_statements_begin():
    text = 'top = 1\n# a comment\n\n[a]\nx = [\n  "y = 3",\n]\nb = """\nz = 1\n"""\n[c]\n"q" = 1\nd.e = 2\n'
    assert lines_of(text) == {
        ("top", ""): 1, ("a", ""): 4, ("a", "x"): 5, ("a", "b"): 8, ("c", ""): 11, ("c", "q"): 12, ("c", "d"): 13,
    }  # fmt: skip
