"""The report of a session after its end: who did what, what came out, and what is known of how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from atoll.engine.reuse import Choice, Method
from atoll.node.language import gettext
from atoll.node.reuse import measured, words
from atoll.node.reuse.ensemble import task_of
from atoll.node.reuse.execution import Execution
from atoll.node.reuse.query import PlannedMember
from atoll.node.reuse.result import BINS, MemberReport, ReuseReport, tied
from atoll.node.reuse.running import Reusing
from atoll.node.reuse.team import Team
from atoll.node.reuse.warning import warnings
from atoll.node.reuse.workers import Worker
from atoll.protocol.listings import Quality
from numpy.typing import NDArray

CHUNK = 65_536  # rows


class Counts(NamedTuple):
    """What was predicted, in counts."""

    classes: dict[str, int]
    histogram: tuple[tuple[float, ...], tuple[int, ...]] | None
    confidence: tuple[int, ...]


def report(reusing: Reusing, execution: Execution, found: Counts, elapsed_ms: int) -> ReuseReport:
    """In the language in force."""
    plan, team, count = reusing.planned, reusing.brief.team, reusing.brief.rows.count
    members = tuple(
        _member(planned, worker, float(share) / count, _quality(member.listing.quality), taught)
        for planned, worker, share, member, taught in zip(
            plan.members, execution.workers, execution.shares, team.members, execution.taught, strict=True
        )
    )
    choice = execution.choice
    routed = execution.method not in ("averaging", "vote", "single")
    return ReuseReport(
        reuse_id=reusing.id,
        search_id=plan.search_id,
        method=execution.method,
        chosen_because=_because(plan.method, execution.method, choice),
        form=team.form if routed else None,
        task=task_of(team),
        class_names=team.class_names,
        rows=count,
        rows_local=sum(each.rows_answered for each in members if each.place == "local"),
        rows_remote=sum(each.rows_asked for each in members if each.place == "remote"),
        abstained=execution.unanswered,
        labelled=plan.labelled,
        uncovered=execution.uncovered / count,
        members=members,
        leaves=_left(members),
        validation={name: (loss.mean, loss.error) for name, loss in choice.validation.items()} if choice else {},
        expected=_expected(reusing, execution, members),
        warnings=warnings(reusing, execution, members),
        class_counts=found.classes,
        histogram=found.histogram,
        confidence=found.confidence,
        elapsed_ms=elapsed_ms,
        baseline=_baseline(reusing) if choice else None,
        explained=team.explained,
    )


def _member(
    planned: PlannedMember, worker: Worker, weight: float, quality: str, taught: tuple[int, int]
) -> MemberReport:  # fmt: skip
    return MemberReport(
        planned.learnware_id, planned.owner, planned.owner_name, planned.name, planned.license, planned.place, weight,
        worker.asked, worker.answered, worker.seconds, worker.failed.message if worker.failed else "", quality,
        planned.revision, *taught,
    )  # fmt: skip


def _quality(quality: Quality | None) -> str:
    if quality is None:
        return ""
    told = gettext("{metric} {value} on {rows} rows")
    return told.format(metric=quality.metric, value=words.quality(quality.metric, quality.value), rows=quality.rows)


def _because(planned: str, method: Method, choice: Choice | None) -> str:
    if planned != "auto":
        asked = planned != "routing" or choice
        return gettext("it was asked for") if asked else gettext("it is what does best without labels")
    assert choice is not None
    if _alike(choice):
        told = gettext("all {count} methods that were tried on your labelled rows do equally well there")
        return told.format(count=len(choice.validation))
    return gettext(
        "of {count} methods that were tried on your labelled rows, {method} does best, or no worse than noise explains"
    ).format(count=len(choice.validation), method=words.method(method))


def _alike(choice: Choice) -> bool:
    """Whether several methods were tried and none lost less than another, as where there is one model."""
    return tied([loss.mean for loss in choice.validation.values()])


def _left(members: Sequence[MemberReport]) -> tuple[str, ...]:
    """What has left this node, in sentences."""
    told = gettext("To {owner} ({id}), for {name}: {rows}, under a pseudonym of yours.")
    sent = [each for each in members if each.place == "remote" and each.rows_asked]
    sentences = [
        told.format(
            owner=each.owner_name, id=each.owner, name=repr(each.name),
            rows=words.rows(each.rows_asked, each.labelled_asked),
        )
        for each in sent
    ]  # fmt: skip
    return tuple(sentences) or (gettext("No row has left this node."),)


def _expected(reusing: Reusing, execution: Execution, members: Sequence[MemberReport]) -> str:
    team, count, choice = reusing.brief.team, reusing.brief.rows.count, execution.choice
    near = gettext("The models explain {explained} of your data; {share} of the rows are unlike all that they know.")
    near = near.format(explained=words.percent(team.explained), share=words.percent(execution.uncovered / count))
    if choice is None:
        unknown = gettext("Without labelled rows nobody can say how good this is.")
        return f"{unknown} {near} {_signed(team, members)}"
    loss = choice.validation[choice.method]
    told = [measured.expected((loss.mean, loss.error), reusing.plan.labelled, task_of(team), _baseline(reusing))]
    if len(choice.validation) > 1 and not _alike(choice):
        told.append(gettext("It is the best of what was tried, and so a little optimistic."))
    return " ".join([*told, near])


def _baseline(reusing: Reusing) -> float:
    assert reusing.brief.target is not None  # there were labels to choose by
    return measured.baseline(reusing.brief.target, task_of(reusing.brief.team))


def _signed(team: Team, members: Sequence[MemberReport]) -> str:
    """What owners have signed, weighted by share; each of it was measured on data of their own."""
    told: dict[str, list[tuple[float, float]]] = {}
    for member, report_ in zip(team.members, members, strict=True):
        quality = member.listing.quality
        if quality is not None and report_.weight > 0:
            told.setdefault(quality.metric, []).append((report_.weight, quality.value))
    if not told:
        return gettext("Their owners have signed no measured quality.")
    said, parts = gettext("{metric} {mean} (members with {weight} of the say)"), []
    for metric, values in sorted(told.items()):
        weight = sum(share for share, _ in values)
        mean = sum(share * value for share, value in values) / weight
        parts.append(said.format(metric=metric, mean=words.quality(metric, mean), weight=words.percent(weight)))
    signed = gettext("Their owners have signed, each measured on rows of its own: {parts}.")
    return signed.format(parts=gettext(", ").join(parts))


def counted(reusing: Reusing) -> Counts:
    """What was predicted; blocking: it reads the predictions."""
    team = reusing.brief.team
    array = np.lib.format.open_memmap(reusing.predictions, mode="r")
    chunks = [slice(start, start + CHUNK) for start in range(0, len(array), CHUNK)]
    if not team.class_names:
        return Counts({}, _histogram(array, chunks), ())
    counts, confidence = np.zeros(len(team.class_names), np.int64), np.zeros(BINS, np.int64)
    for chunk in chunks:
        values = _answered(array[chunk])
        counts += np.bincount(values.argmax(axis=1), minlength=len(counts))
        confidence += np.histogram(np.clip(values.max(axis=1, initial=0.0), 0, 1), BINS, (0.0, 1.0))[0]
    often = sorted(zip(team.class_names, counts.tolist(), strict=True), key=lambda each: -each[1])
    return Counts(dict(often), None, tuple(confidence.tolist()))


def _histogram(array: NDArray[np.float64], chunks: Sequence[slice]) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    """Of the first of the values, between the least and the largest of them."""
    ends = [(values.min(), values.max()) for chunk in chunks if len(values := _answered(array[chunk])[:, 0])]
    if not ends:
        return None
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts = sum((np.histogram(_answered(array[chunk])[:, 0], edges)[0] for chunk in chunks), np.zeros(BINS, np.int64))
    return tuple(edges.tolist()), tuple(counts.tolist())


def _answered(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values[~np.isnan(values).any(axis=1)])
