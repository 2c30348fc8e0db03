"""Structured logs on stderr: pretty on a terminal, one JSON object a line otherwise.

Keys are the field's: `subject`, `message_id`, `session_id`, `pod_id`, `latency_ms`. What people and models wrote never
stands in a log.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "none": logging.CRITICAL,
}


def configure_logging(*, level: str, style: str, bound: dict[str, Any] | None = None) -> None:
    """`style` is `auto`, `pretty` or `json`; `bound` are keys on every line of this process (its id). `level` is one of
    the configuration's, or `none` for a command that tells by itself what is wrong."""
    is_pretty = style == "pretty" or (style == "auto" and sys.stderr.isatty())
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Processor]
    if is_pretty:
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        # Plain: where `rich` is installed it would print every local variable, passwords and tokens too.
        plain = structlog.dev.plain_traceback
        renderers = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    else:
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*processors, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # A line and its end in one: `print` writes twice.
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    if bound:
        structlog.contextvars.bind_contextvars(**bound)
    # Libraries that log through the standard library: their warnings belong to ours, and look like ours.
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *processors],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


class _Stderr:
    """Wherever stderr leads when a line is written: loggers are kept for the process's life, and it may be replaced."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def get_logger(room: str) -> FilteringBoundLogger:
    """The logger of one room. Cheap; bound lazily, so that a module may ask for it when it is imported."""
    return cast("FilteringBoundLogger", structlog.get_logger(room=room))
