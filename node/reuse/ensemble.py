"""A team used by one method, also without those of its members that cannot answer about a row.

For every set of members that is left there is a reuser of those alone; it is fitted when it is first needed, to what
is known of the labelled rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.reuse import Augmentation, Averaging, JobSelector, Method, Pruning, Reuser, Routing, Single
from atoll.engine.reuse.reuser import Task
from atoll.node.reuse.team import Team
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Units = NDArray[np.float32]
Mask = NDArray[np.bool_]
Places = tuple[int, ...]


@dataclass(frozen=True)
class Lesson:
    """Labelled rows: ``units`` (n, d), what the members answered ``outputs`` (n, k, c), and ``target`` (n,)."""

    units: Units
    outputs: Floats
    target: NDArray[np.int64] | Floats


class Ensemble:
    """``sample`` (m, d) are rows of the user in island units, which label-free methods are fitted to."""

    def __init__(self, team: Team, method: Method, sample: Units, lesson: Lesson | None = None) -> None:
        self.method = method
        self._team = team
        self._sample = sample
        self._lesson = lesson
        self._made: dict[Places, Reuser] = {}

    def shares(self, units: Units, closed: Mask) -> Floats:
        """(n, k), without the members that are ``closed`` (n, k) to a row; 0 for rows where nobody is left."""
        found = np.zeros(closed.shape)
        for rows, places in _groups(closed):
            found[np.ix_(rows, np.array(places))] = self._reuser(places).shares(units[rows])
        return found

    def combine(self, units: Units, shares: Floats, outputs: Floats, closed: Mask) -> Floats:
        """(n, c) of ``outputs`` (n, k, c), NaN where nobody has answered; ``closed`` as the shares were made with."""
        values = np.full((len(units), outputs.shape[2]), np.nan)
        for rows, places in _groups(closed):
            among = np.ix_(rows, np.array(places))
            values[rows] = self._reuser(places).combine(units[rows], shares[among], outputs[among])
        return values

    def _reuser(self, places: Places) -> Reuser:
        if places not in self._made:
            made = make(self._team, self.method, places, self._sample)
            if made.labelled:
                if self._lesson is None:
                    raise SpecificationError(f"{self.method} learns from labelled rows", hint="give some")
                lesson = self._lesson
                made.fit(lesson.units, lesson.outputs[:, list(places)], lesson.target)
            self._made[places] = made
        return self._made[places]


def make(team: Team, method: Method, places: Places, sample: Units) -> Reuser:
    """The reuser of some members of the team; one that learns from labels is not fitted yet."""
    members, weights = [team.members[place] for place in places], [team.weights[place] for place in places]
    count, classifies = len(places), bool(team.class_names)
    rkmes = [each.points for each in members if each.points is not None]
    makers: dict[Method, Callable[[], Reuser]] = {
        "routing": lambda: routing(team, places),
        "selector": lambda: JobSelector(rkmes, weights, team.island),
        "averaging": lambda: Averaging(count, weights, "vote_by_prob" if classifies else "mean"),
        "vote": lambda: Averaging(count, weights, "vote_by_label"),
        "single": lambda: Single(min(range(count), key=lambda place: members[place].rank), count),
        "pruning": lambda: Pruning(task_of(team), routing(team, places).fit(sample)),
        "augmentation": lambda: Augmentation(task_of(team), routing(team, places).fit(sample)),
    }
    made = makers[method]()
    return made if made.labelled else made.fit(sample)


def routing(team: Team, places: Places) -> Routing:
    """Soft routing in the team's form, not fitted yet."""
    members, weights = [team.members[place] for place in places], [team.weights[place] for place in places]
    if team.form == "rkme":
        return Routing([each.points for each in members if each.points is not None], weights, team.island)
    sketches = [each.summary.to_sketch() for each in members if each.summary is not None]
    return Routing(sketches, weights, team.island)


class Coverage:
    """Which rows the members can answer for, and which of them would be asked. ``sample`` as for an ensemble."""

    def __init__(self, team: Team, sample: Units) -> None:
        missing = sum(weight for _, weight in team.absent)
        joint = replace(
            team, members=(*team.members, *(each for each, _ in team.absent)),
            weights=(*((1.0 - missing) * each for each in team.weights), *(weight for _, weight in team.absent)),
        )  # fmt: skip
        self._absent = np.arange(len(joint.members)) >= len(team.members)
        self._all = routing(joint, tuple(range(len(joint.members)))).fit(sample)
        everybody = tuple(range(len(team.members)))
        self._members = routing(team, everybody).fit(sample) if team.absent else self._all

    def covered(self, units: Units, closed: Mask | None = None) -> Mask:
        """(n,): rows that are like the data of a member, and not likelier of whoever is absent or
        ``closed`` (n, k)."""
        shut = np.repeat(self._absent[None], len(units), axis=0)
        if closed is not None:
            shut[:, : closed.shape[1]] |= closed
        return self._all.covered(units, shut)

    def routed(self, place: int, units: Units) -> Mask:
        """(n,): rows that soft routing would give to a member."""
        return np.asarray(self._members.shares(units)[:, place] > 0)


def task_of(team: Team) -> Task:
    return "classification" if team.class_names else "regression"


def _groups(closed: Mask) -> Iterator[tuple[NDArray[np.int64], Places]]:
    """The rows (numbers) that the same members, some at least, are open to."""
    if not closed.any():
        yield np.arange(len(closed)), tuple(range(closed.shape[1]))
        return
    sets, numbers = np.unique(closed, axis=0, return_inverse=True)
    for number, row in enumerate(sets):
        places = tuple(np.flatnonzero(~row).tolist())
        if places:
            yield np.flatnonzero(numbers == number), places
