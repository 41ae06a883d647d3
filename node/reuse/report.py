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
from datetime import UTC, datetime
from importlib import resources

import atoll
import jinja2
import msgspec
from atoll.node.reuse import plots, words
from atoll.node.reuse.measured import LEAST, Measured, interval, measured
from atoll.node.reuse.result import MemberReport, ReuseReport

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
    """The page; takes milliseconds."""
    return _environment.get_template("report.html").render(
        report=report, asked=asked, style=STYLE, policy=POLICY, view=_View(report),
        command=_command(report, asked), version=atoll.__version__, python=platform.python_version(),
    )  # fmt: skip


def body(report: ReuseReport, asked: Asked = Asked()) -> str:  # noqa: B008
    """What is in the page, for another that has its ``STYLE`` and a frame of its own."""
    template = _environment.get_template("_body.html")
    return template.render(report=report, asked=asked, view=_View(report), command=_command(report, asked))


class _View:
    """What the templates show beside the figures that the report has itself."""

    def __init__(self, report: ReuseReport) -> None:
        self._report = report
        self.members = sorted(report.members, key=lambda member: -member.weight)
        self.bars, self.more, self.more_rows = plots.bars(report.class_counts)
        self.losses = plots.intervals({name: self._measured(loss) for name, loss in report.validation.items()})
        self.segments = plots.stack([member.weight for member in self.members])
        self.owners = len({member.owner for member in report.members})
        self.longest = max([member.weight for member in report.members], default=0.0) or 1.0

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
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%-d %B %Y, %H:%M UTC")


def number(value: float) -> str:
    """A measured value, to four digits."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "none"


def _compiled() -> tuple[jinja2.Environment, str]:
    folder = resources.files("atoll.node.reuse").joinpath("templates")
    sources = {each.name: each.read_text("utf-8") for each in folder.iterdir() if each.name.endswith((".html", ".css"))}
    style = sources.pop("report.css")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, auto_reload=False, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {"words": words, "day": day, "number": number, "sure": SURE, "interval": interval}
    return environment, style


_environment, STYLE = _compiled()
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""The content security policy under which the page shows as it should: nothing but its own style."""
