"""Pages that are made of the code itself: commands, routes, keys, metrics and codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import click
import msgspec
from atoll.node import settings
from atoll.node.api.routing import Route
from atoll.node.api.server import ROUTES
from atoll.node.config import Config
from atoll.node.errors import EXIT_CODES, OUTCOMES
from atoll.node.given import PREFIX, sections
from atoll.node.metrics import listed
from atoll.node.web.failures import kind

NOTE = "[//]: # (Generated: `python -m atoll.node.docs` makes it anew.)"  # which no reader of the page sees
COMMON = ("home", "url", "token", "as_json")  # options that most commands take


def commands() -> str:
    """Every command with its help and its options."""
    from atoll.node.cli.main import cli

    lead = (
        "Commands are thin clients of the HTTP API of a node: that of `--url` or `$ATOLL_URL`, else that of `--home` "
        "or `$ATOLL_HOME`, with the token in `$ATOLL_TOKEN` (or `--token`). `--json` prints one value and nothing "
        "else. These four options are not listed again below. Why a command ended is told by its "
        "[exit code](errors.md#exit-codes)."
    )
    parts = [f"# Commands\n\n{lead}\n\n{NOTE}\n"]
    for path, command in sorted(walk(cli)):
        parts.append(f"## {path}\n\n{_help(command)}\n\n```\n{_usage(path, command)}\n```\n{_options(path, command)}")
    return _page(parts)


def walk(group: click.Group, path: str = "atoll") -> Iterator[tuple[str, click.Command]]:
    """Every command that can be typed, by its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from walk(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def http() -> str:
    """Every route."""
    lead = (
        "Whole and typed, this is at `/api/v1/openapi.json` of every node (OpenAPI 3.1). A route with a scope wants "
        "`Authorization: Bearer TOKEN`; a token with `admin` may do everything. Errors are problem details (RFC 9457), "
        "with a stable [code](errors.md#error-codes). What is marked *noted* is in the audit log, under the act named."
    )
    parts = [f"# HTTP\n\n{lead}\n\n{NOTE}\n"]
    for name, routes in groupby(sorted(ROUTES, key=_order), key=_resource):
        rows = ([f"`{each.method} {each.path}`", each.summary, _scope(each), _noted(each)] for each in routes)
        parts.append(f"## {name}\n\n{_table(('route', 'does', 'scope', 'noted as'), rows)}")
    bodies = {each.body.__name__: each.body for each in ROUTES if _fields(each.body)}
    parts.append("## Bodies\n\nJSON; every other body is described in the OpenAPI document.\n")
    for name in sorted(bodies):
        users = ", ".join(f"`{each.method} {each.path}`" for each in ROUTES if each.body is bodies[name])
        rows = ([f"`{field.name}`", f"`{_type(field.type)}`", _default(field)] for field in _fields(bodies[name]))
        doc = _flat(inspect.getdoc(bodies[name]) or "")
        parts.append(f"### {name}\n\nOf {users}. {doc}\n\n{_table(('field', 'type', 'default'), rows)}")
    return _page(parts)


def configuration() -> str:
    """Every key."""
    lead = (
        f"`atoll.toml` in the home (`--home`, or `$ATOLL_HOME`), overridden by `{PREFIX}SECTION__KEY` in the "
        f"environment (`{PREFIX}HTTP__PORT=8480`; lists are separated by commas). Unknown keys are errors. "
        "`atoll config show --origin` says of each key what it is and where that comes from; `atoll config check` "
        "names everything that is wrong."
    )
    parts = [f"# Configuration\n\n{lead}\n\n{NOTE}\n"]
    whole = {field.name: field.type for field in msgspec.structs.fields(Config)}
    for section, keys in sections(Config).items():
        rows = (
            [f"`{section}.{name}`", _value(field.default), settings.describe(field.type), settings.meaning(field.type)]
            for name, field in keys.items()
        )
        doc = _flat(inspect.getdoc(whole[section]) or "")
        parts.append(f"## {section}\n\n{doc}\n\n{_table(('key', 'default', 'takes', 'meaning'), rows)}")
    return _page(parts)


def metrics() -> str:
    """Every metric."""
    lead = (
        "At `/metrics`, in the Prometheus text format; who may read it is said by `http.metrics` "
        "([configuration](configuration.md#http)). No metric names a user, a learnware or a peer. A dashboard for "
        "Grafana is `examples/deploy/grafana/atoll.json`."
    )
    rows = (
        [f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), each.help] for each in listed()
    )
    return _page([f"# Metrics\n\n{lead}\n\n{NOTE}\n", _table(("metric", "kind", "labels", "meaning"), rows)])


def errors() -> str:
    """Exit codes, and codes of errors."""
    exits = ([str(code), words] for code, words in EXIT_CODES.items())
    codes = (
        [f"`{code}`", str(outcome.status), str(outcome.exit_code), kind(code).name]
        for code, outcome in sorted(OUTCOMES.items())
    )
    lead = "An error says what was wrong, where, and what to do; programs branch on its code, which is stable."
    return _page(
        [
            f"# Errors and exit codes\n\n{lead}\n\n{NOTE}\n",
            f"## Exit codes\n\n{_table(('code', 'meaning'), exits)}",
            f"## Error codes\n\n{_table(('code', 'HTTP status', 'exit code', 'kind'), codes)}",
        ]
    )


GENERATED: dict[str, Callable[[], str]] = {
    "cli": commands, "http": http, "configuration": configuration, "metrics": metrics, "errors": errors,
}  # fmt: skip


def _page(parts: Iterable[str]) -> str:
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _help(command: click.Command) -> str:
    return "\n\n".join(_flat(part) for part in inspect.cleandoc(command.help or "").replace("\b", "").split("\n\n"))


def _usage(path: str, command: click.Command) -> str:
    return f"{path} {' '.join(command.collect_usage_pieces(_context(path, command)))}".strip()


def _options(path: str, command: click.Command) -> str:
    records = (
        parameter.get_help_record(_context(path, command))
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in COMMON
    )
    rows = [[f"`{record[0]}`", _flat(record[1])] for record in records if record is not None]
    return f"\n{_table(('option', 'meaning'), rows)}" if rows else ""


def _context(path: str, command: click.Command) -> click.Context:
    return click.Context(command, info_name=path, max_content_width=10_000)


def _resource(route: Route) -> str:
    if route.path.startswith("/api/v1/"):
        return route.path.removeprefix("/api/v1/").partition("/")[0]
    return "Beimingwu's client" if route.path.startswith("/beimingwu") else "of the process"


def _order(route: Route) -> tuple[str, str, str]:
    return _resource(route), route.path, route.method


def _scope(route: Route) -> str:
    if route.scope is None:
        return "open"
    return f"`{route.scope}`" + (", or without a name where `search.anonymous` is set" if route.anonymous else "")


def _noted(route: Route) -> str:
    return f"`{route.act}`" if route.act else ""


def _fields(body: object) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(body) if isinstance(body, type) and issubclass(body, msgspec.Struct) else ()


def _type(type_: object) -> str:
    origin = getattr(type_, "__origin__", None) if getattr(type_, "__metadata__", None) else type_
    return getattr(origin, "__name__", str(origin)) if isinstance(origin, type) else _bare(str(origin))


def _bare(name: str) -> str:
    """Without the modules that types are in, and without their limits, which OpenAPI tells."""
    name = re.sub(r"(?:\w+\.)+(\w+)", r"\1", name)
    return re.sub(r"Annotated\[(.+?), Meta\([^()]*\)\]", r"\1", name)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    return _value(field.default) if field.default is not msgspec.NODEFAULT else "empty"


def _value(value: object) -> str:
    try:
        return f"`{msgspec.json.encode(value).decode()}`"
    except TypeError:
        return f"`{value}`"


def _flat(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
