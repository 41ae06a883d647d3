"""What a plan says in sentences, in the language in force: what leaves this node, who sees what, what to know."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.engine.reuse import union
from atoll.node.language import gettext
from atoll.node.reuse import words
from atoll.node.reuse.query import PlannedMember, ReuseQuery
from atoll.node.reuse.team import Team, Unusable
from atoll.node.search.query import WELL

LITTLE = 0.1  # of the rows uncovered: above, that is worth a word


def sees(name: str, *, own: bool, here: bool, rows: int, at_most: bool) -> str:
    """What the owner of that name sees of a member's ``rows``."""
    if own:
        return gettext("nobody else: it is this node's own, and runs here")
    if here:
        told = gettext(
            "no rows: it runs here; {owner} sees that this node has downloaded it, under a pseudonym of yours"
        )
    elif not rows:
        told = gettext(
            "{owner} sees none of your rows, unless others fail: then those that they have not answered, in full"
        )
    elif at_most:
        told = gettext("{owner} sees up to {rows} of your rows in full, under a pseudonym of yours")
    else:
        told = gettext("{owner} sees {rows} of your rows in full, under a pseudonym of yours")
    return told.format(owner=name, rows=words.count(rows))


def leaves(
    members: Sequence[PlannedMember], *, rows: int, labelled: int, columns: int, at_most: bool, own: str
) -> tuple[str, ...]:
    """What leaves this node, one for each owner, and what may happen besides."""
    remote = [each for each in members if each.place == "remote"]
    told = [
        _to_owner([each for each in remote if each.owner == owner], rows, labelled, columns, at_most)
        for owner in dict.fromkeys(each.owner for each in remote)
    ]
    if not remote:
        told.append(gettext("No row leaves this node."))
    elif len(members) > 1:
        told.append(
            gettext("If a member fails or declines, rows that it has not answered go to the others of this plan.")
        )
    asked = gettext(
        "To {owner} ({id}): a request for the package {name}; if that fails, others who list the same package may be "
        "asked, under a pseudonym of yours too."
    )
    fetched = [each for each in members if each.place == "local" and each.owner != own and not each.downloaded]
    told += [asked.format(owner=each.owner_name, id=each.owner, name=repr(each.name)) for each in fetched]
    return tuple(told)


def _to_owner(theirs: Sequence[PlannedMember], rows: int, labelled: int, columns: int, at_most: bool) -> str:
    shares = gettext(" and ").join(_share(each, at_most) for each in theirs)
    if labelled:
        told = gettext(
            "To {owner} ({id}): of your {rows} rows {shares}, with all {columns} columns, and your {labelled} labelled "
            "rows without their labels; under a pseudonym of yours."
        )
    else:
        told = gettext(
            "To {owner} ({id}): of your {rows} rows {shares}, with all {columns} columns; under a pseudonym of yours."
        )
    first = theirs[0]
    return told.format(
        owner=first.owner_name, id=first.owner, rows=words.count(rows), shares=shares, columns=columns,
        labelled=words.count(labelled),
    )  # fmt: skip


def _share(member: PlannedMember, at_most: bool) -> str:
    """How many rows go to it."""
    if not member.rows:
        told = gettext("none, unless others fail, for {name}")
    else:
        told = gettext("up to {rows} for {name}") if at_most else gettext("{rows} for {name}")
    return told.format(rows=words.count(member.rows), name=repr(member.name))


def advice(team: Team, uncovered: float, query: ReuseQuery) -> str:
    """What to know before one agrees; empty where there is nothing."""
    told = []
    if little := poor(team):
        told.append(little)
    if team.served and uncovered > LITTLE:
        without = gettext("{share} of your rows are unlike all that the models know: they get no answer.")
        guess = gettext(
            "{share} of your rows are unlike all that the models know: what is predicted for them is a guess."
        )
        told.append((without if query.abstain else guess).format(share=words.percent(uncovered)))
    named = {name for each, _ in team.absent for name in each.listing.class_names} - set(team.class_names)
    if named:
        names = gettext(", ").join(union([tuple(named)]))
        told.append(gettext("Only what you may not use knows {names}: that is never predicted.").format(names=names))
    return " ".join(told)


def poor(team: Team) -> str:
    """A warning where the models' data are not near to the user's; empty where they are."""
    if not team.served:
        return gettext("The learnwares that may be used do not cover your data: predictions are guesses.")
    if team.explained >= WELL:
        return ""
    little = gettext(
        "The models explain only {explained} of your data, so they may not know what is in your rows. Rows of a class "
        "that no model knows may look like those of one that it does: only rows whose answer is known tell."
    )
    return little.format(explained=words.percent(team.explained))


def misled(team: Team, method: str) -> str:
    """A warning where members know different classes and the method lets each have the same say in every row."""
    known = {frozenset(member.listing.class_names) for member in team.members}
    if method not in ("averaging", "vote") or len(known) == 1:
        return ""
    return gettext(
        "The models know different classes, and by this method each has a say in rows of classes that it does not "
        "know: soft routing (method routing) is better here."
    )


def why_not(member: Unusable) -> str:
    """Why a learnware cannot take part."""
    told = gettext("{name}, which {share} of what was found of your data is like: {why}")
    return told.format(name=repr(member.name), share=words.percent(member.share), why=gettext(member.why))
