"""``atoll search`` as people use it, on a federation of two real nodes."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from atoll.engine.island_file import write_island
from atoll.engine.islands import Island
from atoll.node.cli import found
from atoll.node.search import merge
from atoll.node.search.query import Holder, SearchResult
from atoll.protocol.listings import Offers
from rich.console import Console

PAGE = Path(__file__).parents[3] / "node" / "docs" / "search.md"
SHOWN = Offers(disclose="members", predict="members")
ALSO_DOWNLOAD = Offers(disclose="members", predict="members", download="members")


@pytest.fixture
async def two(federated, publish, changed):
    """A node that is asked and another one, each with a learnware."""
    (asked, other), federation = await federated("asked", "other")
    ids = [await publish(asked, federation, SHOWN, 0, 1), await publish(other, federation, ALSO_DOWNLOAD, 2, 3)]
    catalogue, owner = asked.node.catalogue, other.node.identity.public
    await changed(asked, lambda: len(catalogue.of_owner(bytes.fromhex(federation), owner)) == 1)
    return asked, other, federation, ids


@pytest.fixture
def search(two, atoll, monkeypatch):
    """``await search("digits", "--limit", 1)``: exit code, output, errors, from a thread beside the node's loop."""
    asked = two[0]
    monkeypatch.setenv("ATOLL_URL", asked.url)
    monkeypatch.setenv("ATOLL_TOKEN", asked.token)

    async def run(*arguments):
        return await asyncio.to_thread(atoll, "search", *arguments)

    return run


@pytest.fixture
def rows(digits, tmp_path):
    """A CSV of zeros and twos."""
    table = digits.of(0, 2)
    path = tmp_path / "rows.csv"
    pd.DataFrame(table.values, columns=table.columns).to_csv(path, index=False)
    return path


async def test_by_words_a_table_shows_what_there_is(two, search):
    *_, ids = two
    code, out, err = await search("digits")
    assert code == 0
    for words in ("Digits 0 1", "Digits 2 3", "asked", "other", "predict", *ids, "words and filters need no owner"):
        assert words in out
    assert "MMD" not in out
    assert 'the words "digits".' in err
    assert "Nothing leaves this node." in err


async def test_by_data_it_shows_owners_distances_and_mixture_and_says_before_what_leaves(two, search, rows):
    code, out, err = await search("--data", rows)
    assert code == 0
    for words in (
        "similarity",
        "MMD²",
        "exact",
        "Mixture",
        "All 2 owners asked have answered (asked, other)",
        "are certain",
    ):
        assert words in out
    sent, onward = err.strip().splitlines()
    assert sent.startswith(f"To the node at {two[0].url}: ")
    assert "points that stand for the 355 rows of" in sent
    assert "The rows stay on this machine." in sent
    assert onward.startswith("From there: The reduced set (")
    assert "goes to other" in onward


async def test_json_is_the_whole_answer_and_nothing_else(two, search, rows):
    code, out, _ = await search("--data", rows, "--json")
    answer = msgspec.json.decode(out, type=SearchResult)
    assert (code, answer.complete, answer.final) == (0, True, True)
    assert {hit.learnware_id for hit in answer.hits} == set(two[3])


async def test_every_form_of_rows_finds_the_same(two, search, rows, digits, tmp_path):
    table = digits.of(0, 2)
    frame = pd.DataFrame(table.values, columns=table.columns)
    frame[frame.columns[::-1]].to_parquet(tmp_path / "turned.parquet")
    frame.to_feather(tmp_path / "rows.feather")
    np.save(tmp_path / "rows.npy", table.values)
    answers = []
    for path in (rows, tmp_path / "turned.parquet", tmp_path / "rows.feather", tmp_path / "rows.npy"):
        code, out, err = await search("--data", path, "--json")
        assert code == 0
        assert ("have no names; they are taken as pixel_00, pixel_01" in err) == (path.suffix == ".npy")
        answers.append([(hit["learnware_id"], round(hit["mmd2"], 9)) for hit in json.loads(out)["hits"]])
    assert answers.count(answers[0]) == len(answers)


async def test_filters_leave_what_they_name(two, search, rows):
    asked, other, federation, (own, foreign) = two
    peer = other.node.identity.peer
    for options, expected in (
        (("--owner", peer), {foreign}),
        (("--owner", peer, "--owner", asked.node.identity.peer), {own, foreign}),
        (("--federation", federation), {own, foreign}),
        (("--federation", federation[:8]), {own, foreign}),
        (("--federation", "test"), {own, foreign}),
        (("--federation", "00" * 32), set()),
        (("--id", own), {own}),
        (("--dimensions", 64), {own, foreign}),
        (("--dimensions", 3), set()),
        (("--may", "download"), {own, foreign}),  # its own users may do everything with what is a node's own
        (("--may", "predict", "--may", "disclose"), {own, foreign}),
        (("--task", "classification", "--data-type", "table", "--library", "scikit-learn"), {own, foreign}),
        (("--task", "regression"), set()),
        (("--scenario", "Others", "--license", "Others"), {own, foreign}),
        (("--license", "MIT"), set()),
        (("--limit", 1, "--local"), None),
    ):
        for asking in (("digits",), ("--data", rows)):
            code, out, err = await search(*asking, *options, "--json")
            hits = {hit["learnware_id"] for hit in json.loads(out)["hits"]}
            assert code == 0
            assert hits == expected if expected is not None else len(hits) == 1, options
            assert ("your filters" in err) == (expected is not None)
    code, _, err = await search("digits", "--federation", "ours")
    assert code == 2
    assert "there is no federation 'ours' here" in " ".join(err.split())


async def test_privacy_is_the_users_choice(two, search, rows):
    code, out, err = await search("--data", rows, "--local", "--json")
    assert code == 0
    assert json.loads(out)["peers_asked"] == []
    assert "Nothing leaves this node." in err
    code, out, err = await search("--data", rows, "--privacy", "sketch", "--json")
    assert len(json.loads(out)["peers_asked"]) == 2
    assert "A sketch of your data (512 numbers) goes to other" in err
    code, out, err = await search("--data", rows, "--dp-epsilon", 1, "--json", "--verify")
    assert code == 0
    assert "noised (differential privacy, epsilon 1)" in err
    assert err.index("their SHA-256, for its ledger") < err.index("noised")
    assert [each.epsilon for each in await two[0].client.privacy_spendings()] == [1.0]


async def test_a_ready_specification_is_searched_by(two, search, atoll, rows, digits, tmp_path):
    write_island(digits.island(), tmp_path / "digits.json")
    for more in (("--new-island",), ("--island", tmp_path / "digits.json")):
        path = tmp_path / f"{len(more)}.rkme"
        assert (await asyncio.to_thread(atoll, "spec", "fit", rows, "-o", path, *more))[0] == 0
    whole = json.loads((await search("--data", rows, "--json"))[1])["hits"]
    for spec in (("1.rkme",), ("2.rkme",), ("2.rkme", "--island", digits.island().id[:10])):
        code, out, err = await search("--spec", tmp_path / spec[0], *spec[1:], "--json", "--verify")
        assert code == 0, err
        hits = json.loads(out)["hits"]
        assert [hit["learnware_id"] for hit in hits] == [hit["learnware_id"] for hit in whole]
        assert hits[0]["mmd2"] == pytest.approx(whole[0]["mmd2"], abs=0.01)
    code, _, err = await search("--spec", tmp_path / "2.rkme", "--island", "ffff")
    assert code == 15
    assert "begins with 'ffff'" in err


async def test_a_saved_answer_is_verified_offline_and_a_lie_in_it_is_named(search, atoll, rows, tmp_path, monkeypatch):
    path = tmp_path / "answer.json"
    code, _, err = await search("--data", rows, "--save", path, "--verify")
    assert code == 0
    assert "Verified: all 2 hits are what their owners have signed." in err
    monkeypatch.setenv("ATOLL_URL", "http://127.0.0.1:9")
    code, out, _ = await asyncio.to_thread(atoll, "verify", path)
    assert code == 0
    assert out.startswith("Verified: all 2 hits are what their owners have signed; distances and their order are not")
    path.write_text(path.read_text().replace("Digits 2 3", "Digits 2 9"))
    code, out, err = await asyncio.to_thread(atoll, "verify", path)
    assert code == 18
    assert "does not hold: Digits 2 9" in out
    assert "Digits 2 9 of" in err
    code, out, _ = await asyncio.to_thread(atoll, "verify", path, "--json")
    assert code == 18
    assert sorted(len(each["faults"]) for each in json.loads(out)) == [0, 1]
    for nonsense in ('{"hits": 3}', "{", '{"a": ' * 500):
        path.write_text(nonsense)
        code, _, err = await asyncio.to_thread(atoll, "verify", path)
        assert code == 18
        assert "is not the answer of a search" in err


async def test_an_answer_that_cannot_be_written_leaves_the_old_one(search, tmp_path):
    code, _, err = await search("digits", "--save", tmp_path / "none" / "answer.json")
    assert code == 1
    assert "was not written" in err


async def test_a_node_that_lies_is_found_out(two, search, rows, monkeypatch):
    hits = merge.hits

    def nearer(*arguments):
        return tuple(msgspec.structs.replace(hit, mmd2=0.9, name="Best") for hit in hits(*arguments))

    monkeypatch.setattr(merge, "hits", nearer)
    code, out, err = await search("--data", rows, "--verify")
    assert code == 18
    assert "Hits" in out
    assert err.count("does not hold: Best") == 2
    assert "not as signed: name; its MMD² of 0.9000 is not that to the signed sketch" in err
    assert "integrity.mismatch" in err


async def test_who_does_not_answer_is_named_and_the_exit_code_says_so(two, search, rows, monkeypatch):
    _, other, *_ = two
    let, may = threading.Event(), other.node.gate.may

    def late(*arguments):
        let.wait(30)
        return may(*arguments)

    monkeypatch.setattr(other.node.gate, "may", late)
    try:
        code, out, err = await search("--data", rows, "--deadline-ms", 700, "--limit", 1)
    finally:
        let.set()
    assert code == 14
    assert "1 of 2 owners did not answer: other (p2p.timeout: no answer within the deadline)" in err
    assert "1 of 2 owners did not answer: other (p2p.timeout" in out.replace("\n", " ")
    assert "Digits 2 3" not in out.partition("Mixture")[0]  # it is named though no hit tells its name


async def test_rows_that_fit_nowhere_or_have_gaps_are_told_so(search, rows, tmp_path):
    frame = pd.read_csv(rows)
    frame.assign(label=1).to_csv(tmp_path / "labelled.csv", index=False)
    code, _, err = await search("--data", tmp_path / "labelled.csv")
    assert code == 15
    assert "1 columns are unexpected: label" in err
    frame.iloc[::9, 20] = np.nan
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    code, _, err = await search("--data", tmp_path / "gaps.csv")
    assert code == 15
    assert "40 cells are empty, NaN or infinite, in columns pixel_20" in err
    assert (await search("--data", tmp_path / "gaps.csv", "--impute"))[0] == 0


async def test_columns_are_told_in_their_units(two, search, rows, digits):
    features = list(Island.mint(pd.read_csv(rows)).features)
    for unit in ("cm", "m"):
        measured = tuple(
            msgspec.structs.replace(each, unit=unit) if each.name == "pixel_20" else each for each in features
        )
        await two[0].client.add_island(Island("table", 64, 1 / 64, measured))
    code, _, err = await search("--data", rows)
    assert code == 0
    assert "note: pixel_20 is in" in err
    code, out, err = await search("--data", rows, "--unit", "pixel_20=mm")
    assert code == 0
    assert "Searched 3 islands: " in out
    assert digits.island().id[:8] in out
    assert "note:" not in err
    assert err.count("points that stand for the 355 rows") == 3
    code, _, err = await search("--data", rows, "--unit", "colour=mm")
    assert code == 15
    assert "units of columns that are not there: colour" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--local", "--privacy", "rkme"), "contradict"),
        (("--data", "ROWS", "--spec", "ROWS"), "not both"),
        (("--impute",), "are of --data"),
        (("--island", "abc"), "of what island --spec is"),
        (("--data", "ROWS", "--dp-epsilon", "1", "--impute"), "column means"),
        (("--data", "ROWS", "--unit", "kg"), "expected COLUMN=UNIT"),
        (("--owner", "me"), "--owner: 'me' is not the PeerId"),
        (("--id", "12"), "--id: '12' is not an id"),
        (("--license", "free"), "'free' is not one of 'mit'"),
        (("--limit", "0"), "--limit"),
    ],
)
def test_what_contradicts_itself_is_refused_before_a_node_is_asked(atoll, tmp_path, options, words):
    path = tmp_path / "rows.csv"
    path.write_text("a\n1\n")
    code, _, err = atoll("search", *(path if each == "ROWS" else each for each in options))
    assert code == 2
    assert words in err.replace("\n", " ")


def test_the_command_line_loads_no_network_stack():
    asked = "import sys, atoll.node.cli.main; print(sorted({'libp2p', 'trio', 'torch'} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_no_node_is_said_to_be_none(atoll):
    code, _, err = atoll("search", "digits")
    assert code == 10
    assert "is `atoll serve` running?" in err


async def test_on_a_terminal_hits_are_shown_as_they_come(two, search, rows, monkeypatch, tmp_path):
    with (tmp_path / "screen").open("w+") as file:
        terminal = Console(file=file, force_terminal=True, width=120)
        monkeypatch.setattr("atoll.node.cli.search.console", terminal)
        monkeypatch.setattr(found, "console", terminal)
        assert (await search("--data", rows))[0] == 0
        file.seek(0)
        screen = file.read()
    assert "Hits so far" in screen
    assert "0 of 2 owners have answered" in screen
    assert "2 of 2 owners have answered" in screen


async def test_nothing_that_others_write_moves_the_cursor(two, capsys, digits):
    asked = two[0]
    answer = await asked.client.search_rows(digits.of(0, 2))
    evil = "\x1b[2J\r\nevil [red]"
    hits = tuple(msgspec.structs.replace(hit, name=evil, owner_name=evil, license=evil) for hit in answer.hits)
    failed = {answer.peers_asked[0]: evil}
    found.show(
        msgspec.structs.replace(answer, hits=hits, advice=evil, peers_failed=failed, peers_doubted=answer.peers_asked)
    )
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out
    assert "[red]" in out


async def test_what_the_documentation_says_runs_as_it_stands(two, search, atoll, rows, monkeypatch, capsys):
    monkeypatch.chdir(rows.parent)
    rows.rename("my_rows.csv")
    section = PAGE.read_text("utf-8")
    commands = re.findall(r"^atoll (.+?)(?:  +#.*)?$", section, re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        code, _, err = await asyncio.to_thread(atoll, *shlex.split(command))
        assert code == 0, (command, err)
    (script,) = re.findall(r"```python\n(.+?)```", section, re.DOTALL)
    monkeypatch.setenv("ATOLL_URL", two[0].url)
    await asyncio.to_thread(exec, script, {})
    out = capsys.readouterr().out
    assert "Digits 0 1 asked 0." in out
    assert "plan SearchPlan(" in out


async def test_other_owners_of_the_same_and_doubts_are_shown(two, capsys, digits, monkeypatch):
    asked, *_ = two
    monkeypatch.setattr("atoll.node.cli.output.console", Console(width=200))
    answer = await asked.client.search_rows(digits.of(0, 2))
    first, second = answer.hits
    holder = Holder(first.learnware_id, second.owner, "third", first.federation)
    hits = (
        msgspec.structs.replace(first, holders=(holder,), band=0.02),
        msgspec.structs.replace(second, hub=True, suspect=True, estimated=True),
    )
    names = {first.owner: first.owner_name, second.owner: "third"}
    found.show(msgspec.structs.replace(answer, hits=hits, peers_doubted=(second.owner,), topk_exact=False), names)
    out = capsys.readouterr().out
    doubts = "sketch, contradicts its listing, near to everything"
    for words in ("and 1 more", "± 0.02", doubts, "have signed: third.", "may differ from this"):
        assert words in out
