"""Acceptance: honest packages pass with every step told; what lies, hangs or crashes is refused, never an exception."""

import hashlib
import importlib.util
import io
import itertools
import re
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from atoll.engine.errors import ModelRefused, PackageError, SandboxLimit
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.acceptance import check, refused
from atoll.engine.packages.archive import write
from atoll.engine.packages.convert import from_estimator
from atoll.engine.packages.duplicates import Known
from atoll.engine.packages.manifest import FileEntry
from atoll.engine.packages.pack import pack
from atoll.engine.packages.samples import SAMPLES, near_points
from atoll.engine.runtime import ModelPool
from atoll.engine.runtime.signature import Limits, Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme, fit_rkme
from atoll.engine.specs.dp import Budget
from atoll.engine.tables import Table
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

COLUMNS = tuple(f"p{place:02d}" for place in reversed(range(64)))  # not the island's order
WORDS = SemanticSpec("Digits 0 to 3", "Handwritten digits.", scenario=("Computer",))
STEPS = ["semantic specification", "files", "statistical specification", "model runs", "model and specification",
         "duplicates"]  # fmt: skip


def trained(classes, values, labels):
    part = np.isin(labels, classes)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(values[part], labels[part])
    return model, Table(values[part], COLUMNS)


@pytest.fixture(scope="module")
def made():
    """An honest package of digits 0 to 3: its bytes, its model, its rows and labels, the island."""
    values, labels = load_digits(return_X_y=True)
    island = Island.mint(Table(values, COLUMNS))
    model, rows = trained((0, 1, 2, 3), values, labels)
    converted = from_estimator(model, rows)
    package = io.BytesIO()
    pack(
        package, converted.data, rows, island, WORDS, converted.signature, owner="owner", created_at=1, salt=b"s" * 16,
        class_names=converted.class_names, size=60,
    )  # fmt: skip
    other, _ = trained((4, 5, 6, 7), values, labels)
    return package.getvalue(), model, other, rows, labels[np.isin(labels, (0, 1, 2, 3))], island


@pytest.fixture
def opened(made):
    with open_package(io.BytesIO(made[0])) as package:
        yield package


def answering(model):
    return lambda rows: model.predict_proba(rows).astype(np.float32)


def asked(package, island, run, **options):
    ticks = itertools.count(0, 7)
    return check(package, {island.id: island}, run, clock=lambda: next(ticks), **options)


def outcomes(report):
    return {step.name: step.outcome for step in report.steps}


def last(report):
    return report.steps[-1]


def edited(package_bytes, **changes):
    """The same package with another manifest, as somebody who writes packages by hand would make it."""
    with open_package(io.BytesIO(package_bytes)) as old:
        manifest = msgspec.structs.replace(old.manifest, **changes)
        files = {entry.path: old.read(entry.path) for entry in old.manifest.files}
    target = io.BytesIO()
    write(target, manifest.to_bytes(), files)
    return open_package(target)


def test_an_honest_package_passes_every_step_and_the_clock_is_the_one_passed_in(opened, made):
    told = []
    report = asked(opened, made[5], answering(made[1]), progress=lambda *news: told.append(news))
    assert report.accepted
    assert [step.name for step in report.steps] == STEPS
    assert set(outcomes(report).values()) == {"passed"}
    assert {step.milliseconds for step in report.steps} == {7}
    assert report.figures["information"] > report.figures["information_mirrored"] + 0.2
    assert report.figures["explained"] > 0.6
    assert told[0][0] == "acceptance"
    assert told[-1][1] == told[-1][2]
    assert report.words == "accepted"


def test_the_model_is_asked_in_its_own_columns_and_raw_units(opened, made):
    seen = []

    def run(rows):
        seen.append(rows)
        return answering(made[1])(rows)

    asked(opened, made[5], run)
    first = seen[0]
    assert (first.shape, first.dtype) == ((SAMPLES, 64), np.float32)
    ((rkme, _),) = opened.specifications().values()
    units = made[5].transform(Table(first.astype(np.float64), COLUMNS))
    expected = near_points(rkme, made[5], SAMPLES, np.random.default_rng(0))
    assert np.abs(units - expected).max() < 1e-3


def test_an_honest_package_passes_in_the_sandbox(opened, made, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(opened.read("model.onnx"))
    with closing(ModelPool(limits=Limits(call_seconds=60))) as pool:
        run = partial(pool.predict, "a", path, opened.manifest.signature)
        report = asked(opened, made[5], run, labelled=(made[3], made[4]))
    assert report.accepted
    assert set(outcomes(report).values()) == {"passed"}
    (accuracy,) = report.quality
    assert (accuracy.metric, accuracy.rows) == ("accuracy", len(made[4]))
    assert accuracy.value > 0.97


def test_a_model_of_other_digits_is_flagged_and_not_refused(opened, made):
    report = asked(opened, made[5], answering(made[2]))
    assert report.accepted
    assert outcomes(report)["model and specification"] == "advisory"
    assert "does not look as if made of" in report.words


def nan(rows):
    return np.full((len(rows), 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (nan, "NaN"),
        (lambda rows: np.zeros((len(rows), 3), np.float32), r"\(400, 3\), promised is float32 \(400, 4\)"),
        (lambda rows: np.zeros((len(rows) - 1, 4), np.float32), r"\(399, 4\)"),
        (lambda rows: np.zeros((len(rows), 4)), "float64"),
        (lambda rows: None, "NoneType"),
    ],
)
def test_a_lying_model_is_refused_with_what_it_said(opened, made, run, words):
    report = asked(opened, made[5], run)
    assert not report.accepted
    assert last(report).name == "model runs"
    assert last(report).outcome == "failed"
    assert re.search(words, last(report).words)


@pytest.mark.parametrize("error", [SandboxLimit("no answer within 5 s"), ModelRefused("the model is quarantined")])
@pytest.mark.parametrize("calls", [0, 2])
def test_a_model_that_hangs_or_crashes_is_refused_whenever_it_does(opened, made, error, calls):
    """At once, or only once it has seen what it is asked."""
    answered = itertools.count()

    def run(rows):
        if next(answered) >= calls:
            raise error
        return answering(made[1])(rows)

    report = asked(opened, made[5], run)
    assert not report.accepted
    assert f"{error.message} [{error.code}]" in last(report).words
    assert report.words.startswith("refused; model")


def test_a_hanging_model_in_the_sandbox_is_refused(opened, made, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(opened.read("model.onnx"))
    with closing(ModelPool(limits=Limits(call_seconds=0.0))) as pool:
        report = asked(opened, made[5], partial(pool.predict, "a", path, opened.manifest.signature))
    assert not report.accepted
    assert "[sandbox.limit]" in last(report).words


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda rows: rows[:, :4] - rows[:, 4:8], "scores, no probabilities: the least is"),
        (lambda rows: np.abs(rows[:, :4]) + 1, "their sum misses 1"),
        (lambda rows: np.full((len(rows), 4), 0.25, np.float32), "the same for every row"),
        (lambda rows: np.eye(4, dtype=np.float32)[(np.arange(len(rows)) // 7) % 4], "asked again"),
    ],
)
def test_odd_answers_are_advisory(opened, made, run, words):
    report = asked(opened, made[5], run)
    assert report.accepted
    assert outcomes(report)["model runs"] == "advisory"
    assert words in report.words


def test_a_tampered_file_is_refused_before_the_model_is_asked(made):
    def never(rows):
        raise AssertionError("the model was run")

    with open_package(io.BytesIO(made[0])) as old:
        files = {entry.path: old.read(entry.path) for entry in old.manifest.files}
        target = io.BytesIO()
        write(target, old.manifest_bytes, {**files, "model.onnx": files["model.onnx"][::-1]})
    report = asked(open_package(target), made[5], never)
    assert not report.accepted
    assert (last(report).name, "[integrity.mismatch]" in last(report).words) == ("files", True)


def test_an_unknown_island_and_foreign_columns_are_refused(opened, made):
    strange = Island.mint(np.random.default_rng(0).normal(size=(50, 64)))
    report = asked(opened, strange, answering(made[1]))
    assert (report.accepted, "is not known here" in last(report).words) == (False, True)
    renamed = edited(made[0], columns=("other", *COLUMNS[1:]))
    report = asked(renamed, made[5], answering(made[1]))
    assert not report.accepted
    assert "other" in last(report).words


def test_points_where_no_row_can_be_are_refused(opened, made):
    ((rkme, _),) = opened.specifications().values()
    far = Rkme(rkme.points + np.float32(1e30), rkme.weights, rkme.gamma, rkme.count)
    manifest, path = opened.manifest, opened.manifest.specifications[0].path
    files = {entry.path: opened.read(entry.path) for entry in manifest.files} | {path: far.to_bytes()}
    entries = tuple(FileEntry(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    target = io.BytesIO()
    write(target, msgspec.structs.replace(manifest, files=entries).to_bytes(), files)
    report = asked(open_package(target), made[5], answering(made[1]))
    assert not report.accepted
    assert "island units" in last(report).words


def test_words_that_contradict_the_model_are_advisory(made):
    package = edited(made[0], semantic=SemanticSpec("Digits", "Handwritten.", task="Regression"))
    report = asked(package, made[5], answering(made[1]))
    assert report.accepted
    assert outcomes(report)["semantic specification"] == "advisory"


def test_what_cannot_be_opened_has_a_report_too():
    report = refused(PackageError("not a package"))
    assert not report.accepted
    assert "not a package" in report.words


def test_the_same_model_and_a_specification_of_the_same_rows_are_named(opened, made):
    _, model, _, rows, _, island = made
    values, labels = load_digits(return_X_y=True)
    again = fit_rkme(island.transform(rows), 60, island.gamma, seed=9)
    others = fit_rkme(island.transform(Table(values[labels == 8], COLUMNS)), 60, island.gamma)
    known = [
        Known("twin", hashlib.sha256(opened.read("model.onnx")).hexdigest()),
        Known("refit", "0" * 64, {island.id: again}),
        Known("stranger", "1" * 64, {island.id: others, "f" * 64: again}),
    ]
    report = asked(opened, island, answering(model), known=known)
    assert report.accepted
    assert report.duplicates == ("twin", "refit")
    assert "twin has the same model" in report.words


def test_independent_rows_of_the_same_kind_are_no_duplicates(made):
    from atoll.engine.packages.duplicates import duplicates

    _, _, _, rows, _, island = made
    units = island.transform(rows)
    order = np.random.default_rng(0).permutation(len(units))
    one, other = (fit_rkme(units[part], 60, island.gamma) for part in (order[::2], order[1::2]))
    assert duplicates("0", {island.id: one}, [Known("other", "1", {island.id: other})]) == []


def test_under_differential_privacy_the_model_is_tried_and_its_belonging_not_judged(made):
    _, model, _, rows, _, island = made
    converted = from_estimator(model, rows)
    package = io.BytesIO()
    pack(
        package, converted.data, rows, island, WORDS, converted.signature, owner="owner", created_at=1, salt=b"s" * 16,
        class_names=converted.class_names, budget=Budget(1.0, 1e-6, b"x" * 32),
    )  # fmt: skip
    report = asked(open_package(package), island, answering(model))
    assert report.accepted
    assert outcomes(report)["model runs"] == "passed"
    assert outcomes(report)["model and specification"] == "advisory"
    assert "no points" in report.words


def test_a_regressor_is_measured_by_r2_and_rmse():
    values, target = load_diabetes(return_X_y=True)
    island, model = Island.mint(values), Ridge(0.1).fit(values, target)
    words = SemanticSpec("Diabetes", "Progression.", task="Regression")
    package = io.BytesIO()
    pack(
        package,
        b"model",
        values,
        island,
        words,
        Signature("regression", 10, 1),
        owner="o",
        created_at=1,
        salt=b"s" * 16,
    )
    report = asked(
        open_package(package), island, lambda rows: model.predict(rows).astype(np.float32)[:, None],
        labelled=(values, target),
    )  # fmt: skip
    assert report.accepted, report.words
    assert outcomes(report)["model and specification"] == "passed"
    assert report.figures["R2"] == pytest.approx(model.score(values, target), abs=1e-3)
    assert report.figures["RMSE"] == pytest.approx(np.sqrt(np.mean((model.predict(values) - target) ** 2)), rel=1e-3)


def test_labels_that_are_no_class_of_the_model_are_refused(opened, made):
    report = asked(opened, made[5], answering(made[1]), labelled=(made[3], ["9"] * len(made[4])))
    assert not report.accepted
    assert "no class of: 9" in last(report).words


def benchmark():
    path = Path(__file__).parents[3] / "examples" / "benchmarks" / "acceptance.py"
    spec = importlib.util.spec_from_file_location("acceptance_benchmark", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_models_of_other_classes_are_flagged_and_honest_ones_are_not():
    measure = benchmark()
    row = measure.compared("digits", measure.of_other_classes(*load_digits(return_X_y=True), 12, 1))
    assert row.honest_flagged == 0
    assert row.swapped_flagged >= 9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_table_keeps_its_promise():
    rows = {row.name: row for row in benchmark().table(40)}
    swapped = [row for row in rows.values() if "other classes" in row.name]
    assert swapped
    for row in swapped:
        assert row.swapped_flagged >= 0.8 * row.swapped, row
    assert sum(row.honest_flagged for row in rows.values()) <= 0.05 * sum(row.honest for row in rows.values())
