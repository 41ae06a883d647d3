"""What a package goes through before a dock takes it: a list of steps with their outcome in words.

Pure: the model is called through ``run``, which sandboxes it, and time is read from ``clock``. What a model does wrong,
lying, hanging or crashing, ends in a refusing report and never in an exception. Advisory findings do not refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from atoll.engine.errors import AtollError, ModelError, SpecificationError
from atoll.engine.islands import CLIP, Island
from atoll.engine.packages import belonging, outputs, quality
from atoll.engine.packages.archive import Package
from atoll.engine.packages.duplicates import Known, duplicates
from atoll.engine.packages.manifest import SpecEntry
from atoll.engine.packages.quality import Measured
from atoll.engine.packages.runnable import TEXT, why_not_run
from atoll.engine.packages.samples import Samples, draw, in_columns
from atoll.engine.runtime.environments import Environment
from atoll.engine.specs.noised import Specification
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.rows import Progress
from numpy.typing import NDArray

Outcome = Literal["passed", "failed", "advisory"]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Prepare = Callable[[], Environment | None]
ROWS_ASKED_AGAIN = 64
FARTHEST = 2 * CLIP  # points are means of rows, moved a little


class Step(msgspec.Struct, frozen=True):
    """One check; ``advisory`` is worth a look and does not refuse."""

    name: str
    outcome: Outcome
    words: str
    milliseconds: int


class AcceptanceReport(msgspec.Struct, frozen=True):
    """``figures`` are those of the steps by name; ``duplicates`` names learnwares; ``quality`` is what was measured."""

    accepted: bool
    steps: tuple[Step, ...]
    figures: dict[str, float] = {}
    duplicates: tuple[str, ...] = ()
    quality: tuple[Measured, ...] = ()

    @property
    def words(self) -> str:
        """The verdict in one line: what failed, else what is advisory."""
        failed = [f"{step.name}: {step.words}" for step in self.steps if step.outcome == "failed"]
        advice = [f"{step.name}: {step.words}" for step in self.steps if step.outcome == "advisory"]
        verdict = "accepted" if self.accepted else "refused"
        return "; ".join([verdict, *(failed or advice)])


def check(
    package: Package, islands: Mapping[str, Island], run: Run, progress: Progress = lambda stage, done, total: None, *,
    clock: Callable[[], int], known: Sequence[Known] = (), labelled: tuple[Any, Sequence[object]] | None = None,
    prepare: Prepare = lambda: None, seed: int = 0, told: Callable[[Step], None] = lambda step: None,
) -> AcceptanceReport:  # fmt: skip
    """Check an opened package. ``islands`` are by id in hex; ``run`` maps float32 (n, inputs) to float32 (n, outputs),
    in the sandbox; ``prepare`` builds the environment that a model of code runs in; ``clock`` gives milliseconds;
    ``progress`` is told ("acceptance", step, steps), and ``told`` each step with its outcome.

    ``known`` are the learnwares to look for duplicates among; ``labelled`` is a sample (rows, labels or targets) in raw
    units, to measure quality on. The first failing step is the last one. Errors of Atoll's tree that ``run`` and
    ``prepare`` raise are findings; others are not caught.
    """
    trial = _Trial(package, islands, run, prepare, known, labelled, seed)
    steps: list[Step] = []
    for place, (name, step) in enumerate(STEPS):
        progress("acceptance", place, len(STEPS))
        started = clock()
        try:
            outcome, words = step(trial)
        except AtollError as error:
            outcome, words = "failed", f"{error.message} [{error.code}]" + (f" ({error.hint})" if error.hint else "")
        if outcome is not None:
            steps.append(Step(name, outcome, words, max(0, clock() - started)))
            told(steps[-1])
        if outcome == "failed":
            break
    progress("acceptance", len(STEPS), len(STEPS))
    accepted = all(step.outcome != "failed" for step in steps)
    return AcceptanceReport(accepted, tuple(steps), trial.figures, tuple(trial.duplicates), tuple(trial.quality))


def refused(error: AtollError) -> AcceptanceReport:
    """The report on what could not even be opened as a package."""
    return AcceptanceReport(False, (Step("package", "failed", f"{error.message} [{error.code}]", 0),))


@dataclass
class _Trial:
    """What is given, and what the steps leave for later ones."""

    package: Package
    islands: Mapping[str, Island]
    run: Run
    prepare: Prepare
    known: Sequence[Known]
    labelled: tuple[Any, Sequence[object]] | None
    seed: int
    specifications: list[tuple[SpecEntry, Island, Specification]] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    quality: list[Measured] = field(default_factory=list)


Found = tuple[Outcome | None, str]


def _words(trial: _Trial) -> Found:
    """Step 1: tags are of the vocabulary, and agree with what the model does."""
    manifest = trial.package.manifest
    semantic = manifest.semantic.check()
    if semantic.task.lower() != manifest.signature.task:
        return "advisory", f"the words say {semantic.task}, the signature {manifest.signature.task}"
    if not semantic.description.strip():
        return "advisory", "there is no description, so nobody will find it by words"
    return "passed", f"{semantic.name!r}: {semantic.data}, {semantic.task}, {', '.join(semantic.scenario)}"


def _files(trial: _Trial) -> Found:
    """Step 2a: every file is what the manifest says."""
    total = sum(trial.package.verify(entry.path) for entry in trial.package.manifest.files)
    trial.figures["bytes"] = float(total)
    return "passed", f"{len(trial.package.manifest.files)} files, {total} bytes, as the manifest lists them"


def _specifications(trial: _Trial) -> Found:
    """Step 2b: there is one, each reads, is of an island that is known, and of the columns that the model takes."""
    manifest = trial.package.manifest
    read = {island.hex(): specification for island, (specification, _) in trial.package.specifications().items()}
    if not read and why_not_run(manifest) and manifest.semantic.data == TEXT:
        return "advisory", "there is none: it is found by its words only"
    if not read:
        raise SpecificationError("the package has no statistical specification")
    for entry in manifest.specifications:
        island, specification = trial.islands.get(entry.island), read[entry.island]
        if island is None:
            raise SpecificationError(f"island {entry.island[:8]} is not known here", hint="add the island first")
        if isinstance(specification, Rkme) and not specification.comparable(island):
            raise SpecificationError(
                f"the specification has {specification.dimension} dimensions and gamma {specification.gamma:g}, "
                f"island {entry.island[:8]} has {island.dimension} and {island.gamma:g}"
            )
        if island.kind == "table":
            island.places(manifest.columns)
        if isinstance(specification, Rkme) and island.kind == "table":
            _check_points(specification, island)
        trial.specifications.append((entry, island, specification))
    points = [str(len(each.weights)) for _, _, each in trial.specifications if isinstance(each, Rkme)]
    of = f"of {' and '.join(points)} points" if points else "by noised sketches alone"
    return "passed", f"{len(read)} {'specification' if len(read) == 1 else 'specifications'}, {of}"


def _check_points(rkme: Rkme, island: Island) -> None:
    farthest = float(np.abs(rkme.points[:, ~island.raw]).max(initial=0.0))
    if farthest > FARTHEST:
        raise SpecificationError(f"a point lies at {farthest:.3g} island units, where rows are cut at {CLIP:g}")


def _environment(trial: _Trial) -> Found:
    """Step 2c: what a model of code needs can be had; not a step where nothing is needed, or nothing is run."""
    built = None if why_not_run(trial.package.manifest) else trial.prepare()
    if built is None:
        return None, ""
    return ("advisory" if built.left_out else "passed"), built.words


def _runs(trial: _Trial) -> Found:
    """Step 3: the model answers on rows of its own specification with what it promises."""
    manifest = trial.package.manifest
    if reason := why_not_run(manifest):
        return "advisory", f"not tried: {reason}"
    for place, (_, island, specification) in enumerate(trial.specifications):
        samples = draw(manifest, specification, island, trial.seed + place)
        trial.samples.append(samples)
        answers = _answered(trial, samples.rows)
        advice = outputs.advice(answers, manifest.signature)
        if advice is None and (again := samples.rows[:ROWS_ASKED_AGAIN][::-1].copy()).size:
            advice = outputs.steadiness(answers[: len(again)], _answered(trial, again)[::-1])
        if advice is not None:
            return "advisory", f"{advice} (asked: {samples.words})"
    return "passed", f"right shapes, finite, steady on {trial.samples[0].words}"


def _belongs(trial: _Trial) -> Found:
    """Step 4: the model's certainty speaks of the same rows as the specification. Never refuses."""
    manifest = trial.package.manifest
    for (_, island, specification), samples in zip(trial.specifications, trial.samples, strict=False):  # asked so far
        if samples.units is None or not isinstance(specification, Rkme):
            continue

        def answers(units: NDArray[np.floating], island: Island = island) -> NDArray[np.float32]:
            return _answered(trial, in_columns(units, island, manifest.columns))

        many = manifest.signature.task == "classification" and manifest.signature.outputs > 1
        tell = belonging.of_classifier if many else belonging.of_regressor
        found = tell(answers, specification, island, trial.seed)
        trial.figures |= found.figures
        if found.belongs is None:
            return "advisory", found.words
        if not found.belongs:
            return "advisory", f"the model does not look as if made of the specification's rows: {found.words}"
        return "passed", found.words
    return "advisory", "not checked: there are no points to ask the model about"


def _is_new(trial: _Trial) -> Found:
    """Step 5: nothing known has the same model or a specification of the same rows."""
    manifest = trial.package.manifest
    own = {entry.island: specification for entry, _, specification in trial.specifications}
    found = duplicates(manifest.file(manifest.model).sha256, own, trial.known)
    trial.duplicates += [each.name for each in found]
    if found:
        return "advisory", "; ".join(each.words for each in found[:8])
    return "passed", f"like none of {len(trial.known)} known learnwares"


def _is_good(trial: _Trial) -> Found:
    """Step 6: quality on the publisher's labelled rows; not a step where there are none."""
    if trial.labelled is None or why_not_run(trial.package.manifest):
        return None, ""
    rows, truth = trial.labelled
    values, labels = quality.sample(rows, truth, trial.package.manifest)
    measured = quality.measure(_answered(trial, values), labels, trial.package.manifest)
    trial.quality += measured
    trial.figures |= {each.metric: each.value for each in measured}
    return "passed", ", ".join(f"{each.metric} {each.value:.4g} on {each.rows} rows" for each in measured)


def _answered(trial: _Trial, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The model's answer, distrusted: ModelError unless it is finite float32 (n, outputs)."""
    answers: object = trial.run(rows)
    expected = (len(rows), trial.package.manifest.signature.outputs)
    if not isinstance(answers, np.ndarray) or answers.dtype != np.float32 or answers.shape != expected:
        given = f"{answers.dtype} {answers.shape}" if isinstance(answers, np.ndarray) else type(answers).__name__
        raise ModelError(f"the model answered with {given}, promised is float32 {expected}")
    if not np.isfinite(answers).all():
        raise ModelError("the model answered with NaN or infinite values")
    return answers


STEPS: tuple[tuple[str, Callable[[_Trial], Found]], ...] = (
    ("semantic specification", _words),
    ("files", _files),
    ("statistical specification", _specifications),
    ("environment", _environment),
    ("model runs", _runs),
    ("model and specification", _belongs),
    ("duplicates", _is_new),
    ("quality", _is_good),
)
NAMES = tuple(name for name, _ in STEPS)
