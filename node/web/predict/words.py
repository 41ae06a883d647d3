"""The page's words for plans of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.node.language import gettext, later, ngettext
from atoll.node.reuse import words
from atoll.node.reuse.query import ReusePlan
from atoll.node.web.predict.asking import Runs
from atoll.node.web.search.words import Choice
from markupsafe import Markup

if TYPE_CHECKING:
    from atoll.node.web.rendering import Names

RUNS: dict[Runs, Choice] = {
    "local": Choice(
        later("Here, where that is offered"),
        later(
            "Models that may be downloaded run on this node, in a sandbox. Only where an owner does not offer that, "
            "rows go there."
        ),
    ),
    "remote": Choice(
        later("At their owners, where that is offered"),
        later("Rows go to the owners, each to those only that have a say in it. Nothing has to be downloaded."),
    ),
    "here": Choice(
        later("Only here"),
        later("No row leaves this node. Models that are not offered for download are left out."),
    ),
}


def places(plan: ReusePlan) -> str:
    """Where how many models run."""
    remote = sum(member.place == "remote" for member in plan.members)
    here = len(plan.members) - remote
    if not remote:
        return ngettext("it runs here", "all run here", here)
    if not here:
        return ngettext("it runs at its owner", "all run at their owners", remote)
    there = ngettext("{count} at its owner", "{count} at their owners", remote).format(count=remote)
    return ngettext("{count} runs here, {there}", "{count} run here, {there}", here).format(count=here, there=there)


def leaving(plan: ReusePlan) -> int:
    """How many (row, owner) pairs leave this node."""
    return sum(member.rows for member in plan.members if member.place == "remote")


def receivers(plan: ReusePlan, names: Names) -> list[str]:
    """The owners to whom rows go."""
    remote = [member for member in plan.members if member.place == "remote"]
    return list(dict.fromkeys(member.owner_name or names.peer(member.owner) for member in remote))


def named(plan: ReusePlan, names: Names) -> Markup:
    """Those, in a sentence."""
    given = [Markup("<b><bdi>{}</bdi></b>").format(name) for name in receivers(plan, names)]
    last = given.pop()
    return Markup("{}{}{}").format(Markup(gettext(", ")).join(given), gettext(" and "), last) if given else last


def uncovered(plan: ReusePlan) -> str:
    """What becomes of rows that are unlike all that the models know."""
    if plan.abstained:
        told = ngettext("{count} row gets no answer", "{count} rows get no answer", plan.abstained)
        return told.format(count=words.count(plan.abstained))
    if plan.uncovered:
        return gettext("of your rows; what is predicted for them is a guess")
    return gettext("of your rows")


def labelled(plan: ReusePlan) -> str:
    """What becomes of labelled rows."""
    told = ngettext(
        "{count} row whose answer is known is predicted first.",
        "{count} rows whose answer is known are predicted first.", plan.labelled,
    )  # fmt: skip
    return told.format(count=words.count(plan.labelled))
