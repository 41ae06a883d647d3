"""``atoll predict`` as people use it: what it refuses before anything is sent, and from rows to predictions."""

import asyncio
import csv
import io
import os
import shlex
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.cli.predict import Predicted
from atoll.node.cli.task import read_task
from atoll.node.clock import now_ms
from atoll.protocol.errors import PolicyDenied
from atoll.protocol.listings import Offers
from sklearn.linear_model import LinearRegression

PAGE = Path(__file__).parents[3] / "node" / "docs" / "reuse.md"
PREDICTS = Offers(disclose="members", predict="members")
DOWNLOADED = Offers(disclose="members", predict="members", download="members")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """``files(name=text, ...)`` writes CSV files into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.csv").write_text(text)

    return write


ROWS = "a,b\n1,2\n3,4\n"


@pytest.mark.parametrize(
    ("few", "arguments", "code", "words"),
    [
        (
            "a,b,y\n1,2,yes\n",
            (),
            2,
            ("--labelled needs --target", "few.csv has y, which rows.csv has not: --target y?"),
        ),
        ("a,b,y\n1,2,yes\n", ("--target", "z"), 15, ("few.csv: there is no column z", "its columns are a, b, y")),
        ("a,c,y\n1,2,yes\n", ("--target", "y"), 15, ("few.csv has other columns than rows.csv: b missing",)),
        ("a,b,y\n1,2,\n", ("--target", "y"), 15, ("few.csv: row 1 has no y", "leave out rows without a target")),
        ("a,b,y\n", ("--target", "y"), 15, ("few.csv: there are no rows",)),
        ("a,b,y\n1,,yes\n", ("--target", "y"), 15, ("few.csv: 1 cells are empty", "in columns b", "--impute")),
    ],
)
def test_labelled_rows_that_cannot_be_used_are_refused_with_what_to_do(atoll, files, few, arguments, code, words):
    files(rows=ROWS, few=few)
    found, out, err = atoll("predict", "rows.csv", "--labelled", "few.csv", *arguments)
    assert (found, out) == (code, "")
    for each in words:
        assert each in err
    assert "To the node" not in err


@pytest.mark.parametrize(
    ("rows", "arguments", "code", "words"),
    [
        ("a,b\n", (), 15, "rows.csv: there are no rows"),
        ("a,b\n1,\n", (), 15, "in columns b"),
        ("a,b\n1,\n2,\n", ("--impute",), 15, "no row has a finite value in columns b"),
        (ROWS, ("--yes", "--no-send"), 2, "contradict"),
        (ROWS, ("--search-id", "s", "--privacy", "local"), 2, "it is over"),
        (ROWS, ("-o", "none/predictions.csv"), 2, "there is no folder none"),
        (ROWS, ("--report", "none/report.html"), 2, "there is no folder none"),
        (ROWS, ("--unit", "a"), 2, "expected COLUMN=UNIT"),
        (ROWS, (), 10, "is `atoll serve` running?"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(atoll, files, rows, arguments, code, words):
    files(rows=rows)
    found, out, err = atoll("predict", "rows.csv", *arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_what_leaves_this_machine_is_said_first_and_the_target_is_not_among_it(atoll, files):
    files(rows="a,y,b\n1,yes,2\n3,,4\n", few="y,b,a\nyes,2,1\nno,4,3\n")
    code, _, err = atoll("predict", "rows.csv", "--target", "y", "--labelled", "few.csv")
    assert code == 10
    left_out, rough, sent, *_ = err.splitlines()
    assert left_out == "note: the column y of rows.csv is left out: it is what is predicted"
    assert rough == "note: few.csv has 2 labelled rows: what is measured on so few is rough"
    assert "the 2 rows of rows.csv, and 2 labelled rows with their y." in sent


def test_labelled_columns_may_come_in_any_order_and_means_of_the_data_fill_both(files):
    files(rows="a,b\n1,2\n3,\n", few="b,y,extra,a\n,yes,9,7\n")
    task = read_task(Path("rows.csv"), "y", Path("few.csv"), impute=True)
    assert task.rows.values.tolist() == [[1, 2], [3, 2]]
    assert task.labelled.rows.columns == ("a", "b")
    assert task.labelled.rows.values.tolist() == [[7, 2]]
    assert task.labelled.target == ("yes",)
    np.save("rows.npy", np.ones((3, 3)))
    nameless = read_task(Path("rows.npy"), "y", Path("few.csv"), impute=True)
    assert nameless.labelled.rows.values.tolist() == [[1, 9, 7]]


@pytest.fixture
async def two(federated, publish, changed, digits):
    """``await two(offers)``: a node that is asked, with zeros and ones of its own (or not), and another, with twos and
    threes on offer."""

    async def start(offers, *, own=True):
        (asked, other), federation = await federated("Asked House", "Harbour Clinic")
        await asked.client.add_island(digits.island())
        ids = [await publish(asked, federation, PREDICTS, 0, 1)] if own else [None]
        ids.append(await publish(other, federation, offers, 2, 3))
        owned = bytes.fromhex(federation), other.node.identity.public
        await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
        return asked, other, ids

    return start


@pytest.fixture
def predict(atoll, monkeypatch):
    """``await predict(running, "rows.csv", ...)``: exit code, output, errors, from a thread beside the node's loop."""

    async def run(running, *arguments):
        monkeypatch.setenv("ATOLL_URL", running.url)
        monkeypatch.setenv("ATOLL_TOKEN", running.token)
        return await asyncio.to_thread(atoll, "predict", *arguments)

    return run


@pytest.fixture
def digit_files(digits, tmp_path, monkeypatch):
    """``rows.csv`` of zeros to threes, their classes in the column digit, and ``few.csv``, other rows of them."""
    monkeypatch.chdir(tmp_path)
    table = digits.of(0, 1, 2, 3)
    frame = pd.DataFrame(table.values, columns=table.columns).assign(digit=digits.labels_of(0, 1, 2, 3))
    frame = frame.sample(frac=1, random_state=0)
    frame[60:].to_csv("rows.csv", index=False)
    frame[:60].to_csv("few.csv", index=False)
    return frame[60:].digit.astype(str).tolist()


async def test_one_line_goes_from_rows_to_predictions_and_a_report(two, predict, digit_files):
    asked, other, (_, foreign) = await two(PREDICTS)
    code, out, err = await predict(asked, "rows.csv", "--target", "digit", "--labelled", "few.csv", "--yes")
    assert code == 0, err
    header, *lines = csv.reader(io.StringIO(out))
    assert header == ["label", "0", "1", "2", "3"]
    assert len(lines) == len(digit_files)
    assert np.mean([line[0] == digit for line, digit in zip(lines, digit_files, strict=True)]) > 0.9
    assert all(sum(map(float, line[1:])) == pytest.approx(1, abs=1e-3) for line in lines)
    order = ["the column digit of rows.csv is left out", "To the node at", "Search: ", "Plan: 2 models",
             "From the node: To Harbour Clinic", "Method: ", "Cross-validated", "Report: rows.report.html"]  # fmt: skip
    places = [err.find(words) for words in order]
    assert -1 not in places, (order[places.index(-1)], err)
    assert places == sorted(places)
    text = Path("rows.report.html").read_text()
    for words in ("Predictions of <bdi>digit</bdi>", "Digits 2 3", "Harbour Clinic", foreign,
                  "atoll predict rows.csv --target digit --labelled few.csv --yes"):  # fmt: skip
        assert words in text
    assert asked.token not in text
    assert not asked.node.reuser._sessions
    assert [use.act for use in await other.client.usage(foreign)].count("predict") == 1


async def test_no_row_leaves_without_a_yes(two, predict, digit_files, monkeypatch):
    asked, other, (_, foreign) = await two(PREDICTS)
    arguments = ("rows.csv", "--target", "digit")
    code, out, err = await predict(asked, *arguments)
    assert (code, out) == (12, "")
    assert "Plan: 2 models" in err
    assert "--yes lets them go" in err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    code, out, err = await predict(asked, *arguments)
    assert (code, out) == (12, "")
    assert "no row has left the node" in err
    code, out, err = await predict(asked, *arguments, "--no-send")
    assert code == 0, err
    assert "No row leaves this node" in err
    assert set(out.splitlines()[0].split(",")) == {"label", "0", "1"}
    assert "predict" not in [use.act for use in await other.client.usage(foreign)]
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    code, out, err = await predict(asked, *arguments)
    assert code == 0, err
    assert "predict" in [use.act for use in await other.client.usage(foreign)]


async def test_who_fails_is_named_and_the_others_answer(two, predict, digit_files, monkeypatch):
    asked, other, _ = await two(PREDICTS)
    require = other.node.gate.require

    def refuse(act, *arguments):
        if act == "predict":
            raise PolicyDenied("closed today")
        return require(act, *arguments)

    monkeypatch.setattr(other.node.gate, "require", refuse)
    code, out, err = await predict(asked, "rows.csv", "--target", "digit", "--yes")
    assert code == 14, err
    assert len(out.splitlines()) == len(digit_files) + 1
    assert "Digits 2 3 of Harbour Clinic is left out after 0 rows: " in err
    assert "warning: Harbour Clinic" in err
    text = Path("rows.report.html").read_text()
    assert "1 of them not to the end" in text
    assert "closed today" in text


@pytest.fixture
async def prices(start):
    """A node with one learnware, which predicts a value of two columns: twice the first less the second."""
    (node,) = await start("Price House")
    federation = (await node.client.create_federation("test")).id
    rows = Table(np.random.default_rng(0).normal(size=(400, 2)), ("size", "age"))
    model = LinearRegression().fit(rows.values, rows.values @ [2.0, -1.0])
    island, package = Island.mint(rows), io.BytesIO()
    await node.client.add_island(island)
    pack(
        package, to_onnx(model, 2), rows, island, SemanticSpec("Prices"), Signature("regression", 2, 1),
        owner=node.node.identity.peer, created_at=now_ms(), salt=bytes(16), size=20,
    )  # fmt: skip
    learnware = await node.client.add_learnware(package.getvalue())
    await node.client.publish(learnware.learnware_id, federation, PREDICTS)
    return node


async def test_values_are_predicted_and_their_truth_has_to_be_numbers(prices, predict, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(1).normal(size=(300, 2))
    frame = pd.DataFrame(rows, columns=["size", "age"])
    frame[["age", "size"]].to_csv("rows.csv", index=False)
    frame.assign(price=rows @ [2.0, -1.0])[:50].to_csv("few.csv", index=False)
    asking = ("rows.csv", "--target", "price", "--labelled", "few.csv")
    code, out, err = await predict(prices, *asking, "--method", "routing")
    assert code == 0, err
    header, *values = out.splitlines()
    assert header == "value"
    assert np.allclose(np.array(values, float), rows @ [2.0, -1.0], atol=1e-3)
    assert "mean squared error" in err
    text = Path("rows.report.html").read_text()
    assert "Histogram of the predicted values" in text
    frame.assign(price="dear")[:50].to_csv("few.csv", index=False)
    code, _, err = await predict(prices, *asking)
    assert code == 2
    assert "what was found predicts values, and your labels are no single numbers: dear" in err


async def test_files_json_and_an_earlier_search(two, predict, digit_files, digits):
    asked, *_ = await two(DOWNLOADED)
    found = await asked.client.search_rows(digits.of(0, 1, 2, 3))
    code, out, err = await predict(
        asked, "rows.csv", "--target", "digit", "--search-id", found.search_id, "-o", "made.csv", "--report", "r.html",
        "--json", "--method", "averaging", "--members", 2,
    )  # fmt: skip
    assert code == 0, err
    told = msgspec.json.decode(out, type=Predicted)
    assert (told.page, told.output, told.values) == ("r.html", "made.csv", ())
    assert (told.report.method, told.report.rows_remote, told.report.labelled) == ("averaging", 0, 0)
    assert told.report.search_id == found.search_id
    assert len(Path("made.csv").read_text().splitlines()) == len(digit_files) + 1
    assert "not measured" in Path("r.html").read_text()
    assert not Path("rows.report.html").exists()
    code, out, _ = await predict(asked, "rows.csv", "--target", "digit", "--json")
    told = msgspec.json.decode(out, type=Predicted)
    assert len(told.labels) == len(told.values) == len(digit_files)


async def test_who_may_predict_with_nothing_is_told_whom_to_ask(two, predict, digit_files):
    asked, _, (_, foreign) = await two(Offers(predict="ask"), own=False)
    code, _, err = await predict(asked, "rows.csv", "--target", "digit", "--force")
    assert code == 12
    assert f"atoll learnware ask {foreign} --for predict" in err


async def test_rows_that_nobody_covers_are_not_predicted(two, predict, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked, *_ = await two(DOWNLOADED)
    noise = np.random.default_rng(0).integers(0, 17, (300, 64))
    pd.DataFrame(noise, columns=digits.of(0).columns).to_csv("rows.csv", index=False)
    code, out, err = await predict(asked, "rows.csv")
    assert (code, out) == (13, "")
    assert "no learnware covers" in err
    assert "force it" in err


async def test_an_owner_that_does_not_answer_the_search_is_named(two, predict, digit_files, held):
    asked, other, _ = await two(PREDICTS)
    held(other)
    code, _, err = await predict(asked, "rows.csv", "--target", "digit", "--no-send")
    assert code == 0, err
    assert "note: 1 of 2 owners did not answer: Harbour Clinic" in err


async def test_labels_that_no_model_knows_are_refused(two, predict, digit_files):
    asked, *_ = await two(DOWNLOADED)
    frame = pd.read_csv("few.csv")
    frame.assign(digit="cat").to_csv("few.csv", index=False)
    code, _, err = await predict(asked, "rows.csv", "--target", "digit", "--labelled", "few.csv")
    assert code == 2
    assert "no model knows" in err


async def test_a_column_too_many_is_named_with_what_to_do(two, predict, digit_files):
    asked, *_ = await two(DOWNLOADED)
    code, _, err = await predict(asked, "rows.csv")
    assert code == 15
    assert "1 columns are unexpected: digit" in err
    assert "--target" in err


async def test_ctrl_c_ends_it_at_the_node_too(two, digit_files, monkeypatch):
    asked, other, _ = await two(PREDICTS)
    let, predicting, require = threading.Event(), threading.Event(), other.node.gate.require

    def late(act, *arguments):
        if act == "predict":
            predicting.set()
            let.wait(60)
        return require(act, *arguments)

    monkeypatch.setattr(other.node.gate, "require", late)
    environment = os.environ | {"ATOLL_URL": asked.url, "ATOLL_TOKEN": asked.token}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atoll.node.cli", "predict", "rows.csv", "--target", "digit", "--yes",
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored in what a shell runs beside itself
    )  # fmt: skip
    try:
        assert await asyncio.to_thread(predicting.wait, 60)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        let.set()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, out) == (130, b"")
    assert "ended; the node has forgotten the rows" in err.decode()
    assert not Path("rows.report.html").exists()
    assert not asked.node.reuser._sessions


async def test_the_commands_of_the_documentation_run_as_they_stand(two, predict, digit_files):
    asked, *_ = await two(DOWNLOADED)
    for name, target in (("rows", "my_rows"), ("few", "few")):
        pd.read_csv(f"{name}.csv").rename(columns={"digit": "outcome"}).to_csv(f"{target}.csv", index=False)
    section = PAGE.read_text("utf-8")
    block = section.partition("```\n")[2].partition("```")[0].strip().splitlines()
    assert len(block) == 3
    install, export, command = block
    assert install.startswith("pip install")
    assert "ATOLL_URL" in export
    assert "ATOLL_TOKEN" in export
    code, _, err = await predict(asked, *shlex.split(command)[2:])
    assert code == 0, err
    assert Path("predictions.csv").read_text().startswith("label,0,1,2,3\n")
    assert "Predictions of <bdi>outcome</bdi>" in Path("report.html").read_text()


class Terminal(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self):
        return True
