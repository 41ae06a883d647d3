"""What was typed, as a report repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click

SECRET = {"token", "url", "home"}  # of the machine, not of the question


def command_line(url: str) -> str:
    """The command under way with what was said on its line, without what is of this machine; ``url`` is the node's."""
    context = click.get_current_context()
    words: list[str] = ["atoll", context.info_name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        said = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if said and name not in SECRET:
            words += _words(parameter, context.params[name])
    return shlex.join([*words, "--url", url])


def _words(parameter: click.Parameter, value: Any) -> Sequence[str]:
    if isinstance(parameter, click.Argument):
        return [str(value)]
    option = parameter.opts[-1]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [option]
    return [part for each in (value if parameter.multiple else [value]) for part in (option, str(each))]
