"""The report of a reuse as one HTML page, for whoever wants to know what the predictions are worth.

Self-contained: its style is inline, its plots are SVG, and it neither runs nor loads anything, which a policy in the
page itself enforces. All names in it are others' text and are escaped.
"""

from __future__ import annotations

import base64
import hashlib
import math
import platform
import shlex
from importlib import resources
from typing import Literal

import atoll
import jinja2
import msgspec
from atoll.node import language
from atoll.node.clock import utc
from atoll.node.language import gettext, ngettext
from atoll.node.reuse import plots, words
from atoll.node.reuse.measured import LEAST, Measured, interval, measured
from atoll.node.reuse.result import MemberReport, ReuseReport
from babel import dates
from markupsafe import Markup

SURE = 0.8  # probability from which the report calls a prediction confident


class Asked(msgspec.Struct, frozen=True):
    """What only the asker knows: files, target, node, the command that was typed, and when (ms, UTC)."""

    data: str = ""
    labelled: str = ""
    target: str = ""
    node: str = ""
    command: str = ""
    at: int | None = None


def page(report: ReuseReport, asked: Asked = Asked()) -> str:  # noqa: B008
    """The page, in the language in force; takes milliseconds."""
    return _environment.get_template("report.html").render(
        report=report, asked=asked, style=STYLE, policy=POLICY, view=_View(report),
        command=_command(report, asked), version=atoll.__version__, python=platform.python_version(),
    )  # fmt: skip


def body(report: ReuseReport, asked: Asked = Asked()) -> str:  # noqa: B008
    """What is in the page, for another that has its ``STYLE`` and a frame of its own."""
    template = _environment.get_template("_body.html")
    return template.render(report=report, asked=asked, view=_View(report), command=_command(report, asked))


def figures(where: Literal["search", "plan", "report"]) -> Markup:
    """What the figures of a page say, in a part of it that opens: the same words wherever one of them is shown."""
    return Markup(_environment.get_template("_figures.html").render(where=where))


class _View:
    """What the templates show beside the figures that the report has itself."""

    def __init__(self, report: ReuseReport) -> None:
        self._report = report
        self.members = sorted(report.members, key=lambda member: -member.weight)
        self.bars, self.more, self.more_rows = plots.bars(report.class_counts)
        self.losses = plots.intervals({name: self._measured(loss) for name, loss in report.validation.items()})
        self.segments = plots.stack([member.weight for member in self.members])
        self.owners = len({member.owner for member in report.members})

    @property
    def predicted(self) -> int:
        return self._report.rows - self._report.abstained

    @property
    def measured(self) -> Measured | None:
        """The loss of the method that was taken."""
        loss = self._report.validation.get(self._report.method)
        return None if loss is None else self._measured(loss)

    @property
    def baseline(self) -> float | None:
        """The loss of always saying the same."""
        given = self._report.baseline
        return None if given is None else self._measured((given, 0.0)).value

    @property
    def rough(self) -> bool:
        return self.measured is not None and self._report.labelled < LEAST

    @property
    def abstained(self) -> str:
        """Beside how many rows are predicted."""
        if not self._report.abstained:
            return gettext("all of them")
        rows = words.count(self._report.rows)
        return gettext("of {rows}; nobody answers about the others").format(rows=rows)

    @property
    def quality(self) -> str:
        """Beside the loss that is expected."""
        if self.measured is None:
            return (
                gettext("not measured")
                if self._report.labelled
                else gettext("not measured: there were no labelled rows")
            )
        told = (
            gettext("95% interval {interval}; no measure: {rows} only")
            if self.rough
            else gettext("95% interval {interval}, measured on {rows}")
        )
        within = interval(self.measured, self._report.task)
        return told.format(interval=within, rows=words.labelled_count(self._report.labelled))

    @property
    def whose(self) -> str:
        """Beside how many models there are."""
        told = ngettext("of {count} owner", "of {count} owners", self.owners).format(count=words.count(self.owners))
        if not self.failed:
            return told
        failed = ngettext("{count} of them not to the end", "{count} of them not to the end", len(self.failed))
        return f"{told}{gettext(', ')}{failed.format(count=words.count(len(self.failed)))}"

    @property
    def sent(self) -> str:
        """Beside how many rows were sent to owners."""
        if not self._report.rows_remote:
            return gettext("all models ran at the node asked")
        counts = gettext("a row counts once for each owner that it went to")
        if not self.labelled_sent:
            return counts
        among = gettext("{rows} among them; {counts}")
        return among.format(rows=words.labelled_count(self.labelled_sent), counts=counts)

    @property
    def validated(self) -> str:
        """On what the methods were measured."""
        told = ngettext(
            "{count} row whose answer is known was predicted in every way, by choices that had not seen it "
            "(cross-validation).",
            "{count} rows whose answer is known were predicted in every way, each of them by a choice that had not "
            "seen it (cross-validation).",
            self._report.labelled,
        )
        return told.format(count=words.count(self._report.labelled))

    @property
    def answered(self) -> str:
        """What the rows were given."""
        told, count = self._report, words.count(self.predicted)
        if told.task == "classification":
            classes = ngettext("{count} class", "{count} classes", len(told.class_names))
            given = ngettext("{count} row is given one of {classes}", "{count} rows are given one of {classes}",
                             self.predicted)  # fmt: skip
            return given.format(count=count, classes=classes.format(count=words.count(len(told.class_names))))
        if not told.histogram:
            values = ngettext("{count} row is given values", "{count} rows are given values", self.predicted)
            return values.format(count=count)
        given = ngettext("{count} row is given a value, from {low} to {high}",
                         "{count} rows are given a value, from {low} to {high}", self.predicted)  # fmt: skip
        return given.format(count=count, low=number(told.histogram[0][0]), high=number(told.histogram[0][-1]))

    def _measured(self, loss: tuple[float, float]) -> Measured:
        return measured(loss, self._report.labelled, self._report.task)

    @property
    def values(self) -> tuple[plots.Column, ...]:
        return plots.columns(*self._report.histogram) if self._report.histogram else ()

    @property
    def confidence(self) -> tuple[plots.Column, ...]:
        return plots.shares_columns(self._report.confidence) if sum(self._report.confidence) else ()

    @property
    def sure(self) -> float:
        return plots.at_least(self._report.confidence, SURE)

    @property
    def here(self) -> float:
        """The share of the say of models that ran at the node that was asked."""
        return sum(member.weight for member in self.members if member.place == "local")

    @property
    def labelled_sent(self) -> int:
        """Of the rows sent to owners, those that were labelled ones."""
        return sum(member.labelled_asked for member in self.members if member.place == "remote")

    @property
    def failed(self) -> list[MemberReport]:
        return [member for member in self.members if member.failed]


def _command(report: ReuseReport, asked: Asked) -> str:
    """What was typed; else what to type for the same, by the command line."""
    if asked.command:
        return asked.command
    words_ = ["atoll", "predict", asked.data or "DATA"]
    if report.labelled:
        words_ += ["--target", asked.target or "TARGET", "--labelled", asked.labelled or "LABELLED"]
    words_ += ["--method", report.method, *(["--form", report.form] if report.form else [])]
    words_ += [*(["--abstain"] if report.abstained else []), *(["--yes"] if report.rows_remote else ["--no-send"])]
    return shlex.join([*words_, "-o", "predictions.csv", "--report", "report.html"])


def day(at: int) -> str:
    """A time in ms as people read it."""
    form = gettext("d MMMM yyyy, HH:mm 'UTC'")
    return dates.format_datetime(utc(at), form, locale=language.current())


def number(value: float) -> str:
    """A measured value, to four digits."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else gettext("none")


def _compiled() -> tuple[jinja2.Environment, str]:
    folder = resources.files("atoll.node.reuse").joinpath("templates")
    sources = {each.name: each.read_text("utf-8") for each in folder.iterdir() if each.name.endswith((".html", ".css"))}
    style = sources.pop("report.css")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, auto_reload=False, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    language.install(environment)
    environment.globals |= {
        "words": words, "day": day, "number": number, "sure": SURE, "interval": interval, "language": language.current,
        "figures": figures,
    }  # fmt: skip
    return environment, style


_environment, STYLE = _compiled()
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""The content security policy under which the page shows as it should: nothing but its own style."""
