"""The log of a node: one line an event, JSON or text, with the id of the request or peer that it happened for.

Promises that no data are in it: errors are named by their kind, never by their words, and what looks like a secret is
left out. Whoever logs passes ids and numbers, never names, words of users, or paths of requests.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import secrets
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context, copy_context
from typing import IO, Any, TypeVar

import structlog
from atoll.engine.errors import AtollError
from atoll.node.config import LogSection
from atoll.node.store.audit import SECRET
from structlog.contextvars import (
    bind_contextvars,
    bound_contextvars,
    clear_contextvars,
    get_contextvars,
    merge_contextvars,
)

T = TypeVar("T")
Event = MutableMapping[str, Any]
OURS = "atoll"
QUIET: Mapping[str, int] = {
    "libp2p": logging.CRITICAL, "aiohttp.server": logging.CRITICAL, "py.warnings": logging.ERROR,
}  # fmt: skip
"""What a peer or a client does wrong is logged by us, once; these would say it with a stack for each."""
FRAMES = 30  # innermost ones that are shown of an error

log = logging.getLogger("atoll")


def configure(config: LogSection, stream: IO[str] | None = None) -> logging.Handler:
    """All logging of this process goes to ``stream`` (standard error) from now on; returns the handler, for whoever
    takes it off again. Other libraries are heard from warnings on, at ``debug`` as well."""
    out = sys.stderr if stream is None else stream
    text = config.format == "text" or (config.format == "auto" and out.isatty())
    handler = _Handler(out)
    handler.setFormatter(_formatter(text, colours=text and out.isatty()))
    root, level = logging.getLogger(), config.level.upper()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger(OURS).setLevel(level)
    logging.captureWarnings(True)
    return handler


def catch_strays() -> None:
    """Errors that nobody has caught come into the log as others do, without their words; within a running loop."""
    asyncio.get_running_loop().set_exception_handler(_stray)
    threading.excepthook = _stray_of_thread


def binding(**ids: str) -> AbstractContextManager[None]:
    """What is logged within the block, in its tasks and in threads that it hands work to, carries these."""
    return bound_contextvars(**ids)


@contextmanager
def only(**ids: str) -> Iterator[None]:
    """As :meth:`binding`, and nothing else is carried: for work that runs in a task which somebody else's has begun."""
    before = get_contextvars()
    clear_contextvars()
    bind_contextvars(**ids)
    try:
        yield
    finally:
        clear_contextvars()
        bind_contextvars(**before)


def bound() -> dict[str, str]:
    """What is bound here, for whoever crosses to where contexts do not reach."""
    return get_contextvars()


def request_id() -> str | None:
    """That of the request for which this runs."""
    return get_contextvars().get("request_id")


def new_request_id() -> str:
    return secrets.token_hex(8)


def carrying(work: Callable[[], T]) -> Callable[[], T]:
    """``work`` for a thread of a pool, with what is bound here."""
    context: Context = copy_context()
    return lambda: context.run(work)


def kind(error: BaseException) -> str:
    """An error without its words: its code if it is ours, what the system calls it, else its class."""
    if isinstance(error, AtollError):
        return error.code
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__


class _Kind(str):
    """Without quotes, also where a line wants the ``repr`` of an error."""

    __slots__ = ()
    __repr__ = str.__str__


class _Handler(logging.StreamHandler[IO[str]]):
    """Errors among the arguments are told by their kind; the record itself is left to other handlers as it was. What is
    quiet is so here: libp2p sets the level of its loggers anew when it is imported."""

    def filter(self, record: logging.LogRecord) -> bool:
        family = record.name if record.name in QUIET else record.name.partition(".")[0]
        return record.levelno >= QUIET.get(family, logging.NOTSET) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        told = copy.copy(record)
        if isinstance(told.args, tuple):
            told.args = tuple(_Kind(kind(each)) if isinstance(each, BaseException) else each for each in told.args)
        super().emit(told)


def _formatter(text: bool, *, colours: bool) -> logging.Formatter:
    shared: list[Any] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso"),
        _failure,
        _plain,
    ]
    last: Any = structlog.processors.JSONRenderer(ensure_ascii=False)
    if text:
        last = structlog.dev.ConsoleRenderer(colors=colours)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
    )


def _failure(_: object, __: str, event: Event) -> Event:
    """An error as its kind and where it came from; its words may be those of users."""
    given = event.pop("exc_info", None)
    error = sys.exception() if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        error = _single(error)
        event["error"] = kind(error)
        event["at"] = [f"{each.filename}:{each.lineno} {each.name}" for each in _frames(error)]
    return event


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))[-FRAMES:]


def _single(error: BaseException) -> BaseException:
    """The first of those in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _plain(_: object, __: str, event: Event) -> Event:
    """One line, and no secrets, whatever was put into it."""
    for name, value in event.items():
        if isinstance(value, str):
            kept = SECRET.sub("(secret)", value)
            event[name] = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in kept)
    return event


def _stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("an error that nobody waited for", exc_info=context.get("exception"))


def _stray_of_thread(arguments: threading.ExceptHookArgs) -> None:
    log.error("a thread ended with an error", exc_info=arguments.exc_value)
