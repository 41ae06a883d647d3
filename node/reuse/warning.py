"""What to be aware of in a report, in the language in force: who failed or declined, what nobody knows, what binds."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.engine.naming import listed
from atoll.node.language import gettext, ngettext
from atoll.node.reuse import words
from atoll.node.reuse.execution import Execution
from atoll.node.reuse.query import PlannedMember
from atoll.node.reuse.result import MemberReport
from atoll.node.reuse.running import Reusing
from atoll.node.reuse.sentences import misled, poor
from atoll.node.reuse.team import Team
from atoll.node.reuse.workers import Worker


def warnings(reusing: Reusing, execution: Execution, members: Sequence[MemberReport]) -> tuple[str, ...]:
    """In sentences, the gravest first."""
    plan, team, told = reusing.planned, reusing.brief.team, []
    for planned, member, worker in zip(plan.members, members, execution.workers, strict=True):
        told += _of_member(planned, member, worker, plan.labelled)
    if little := poor(team):
        told.append(little)
    if warning := misled(team, execution.method):
        told.append(warning)
    if len(plan.licenses) > 1:
        differ = gettext("The members' licences differ: {names}. All of them bind you.")
        told.append(differ.format(names=", ".join(plan.licenses)))
    told += _unanswered(execution)
    told += [gettext("Without {why}").format(why=why) for why in plan.skipped.values()]
    if unknown := _unknown(team):
        told.append(gettext("No member knows the classes {names} of your labels").format(names=listed(unknown)))
    return tuple(told)


def _of_member(planned: PlannedMember, member: MemberReport, worker: Worker, labelled: int) -> list[str]:
    told = []
    if worker.failed is not None:
        of = max(planned.rows + (labelled if member.rows_asked else 0), member.rows_answered)
        stopped = gettext(
            "{owner} ({name}) stopped answering after {answered} of {rows} rows: {why}; the others' shares were "
            "renormalised"
        )
        told.append(stopped.format(
            owner=member.owner_name, name=repr(member.name), answered=words.count(member.rows_answered),
            rows=words.count(of), why=worker.failed.message,
        ))  # fmt: skip
    if worker.declined:
        declined = gettext(
            "{owner} ({name}) declined {rows} as unlike the data that it is good on: the others' shares were "
            "renormalised"
        )
        rows = words.row_count(worker.declined)
        told.append(declined.format(owner=member.owner_name, name=repr(member.name), rows=rows))
    return told


def _unanswered(execution: Execution) -> list[str]:
    told = []
    if execution.unanswered:
        without = ngettext(
            "{count} row without an answer: no member covers it, or would answer about it",
            "{count} rows without an answer: no member covers them, or would answer about them", execution.unanswered,
        )  # fmt: skip
        told.append(without.format(count=words.count(execution.unanswered)))
    if execution.lost:
        lost = ngettext(
            "{count} row is likest the data of members that did not answer: what others say of it is a guess",
            "{count} rows are likest the data of members that did not answer: what others say of them is a guess",
            execution.lost,
        )
        told.append(lost.format(count=words.count(execution.lost)))
    return told


def _unknown(team: Team) -> list[str]:
    known = {name for member in team.members for name in member.listing.class_names}
    return [name for name in team.class_names if name not in known]
