"""Structured logs on stderr, written by a thread, with everything that looks like a key cut out."""

from __future__ import annotations

import logging
import queue
import re
import sys
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Literal

import orjson

# Virtual and management keys, the providers' usual prefixes, and whatever stands behind an authorization header.
_SECRETS = re.compile(
    r"(sk-[A-Za-z0-9_\-]{6,}|gsk_[A-Za-z0-9]{6,}|AIza[A-Za-z0-9_\-]{6,}|(?i:bearer|x-api-key|api-key)['\":=\s]+[^\s'\",]{6,})"
)
QUEUE_LINES = 10_000  # beyond this, lines are dropped rather than memory grown


def redact(text: str) -> str:
    return _SECRETS.sub("[removed]", text)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = getattr(record, "fields", None)  # already an object: the access log
        line |= fields if fields is not None else {"message": redact(record.getMessage())}
        if record.exc_info and record.exc_info[1] is not None:
            line["trace"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(line).decode()


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _BoundedQueueHandler(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return  # a flood of lines must not become a flood of memory

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # formatting belongs to the thread


def start_logging(level: str = "info", form: Literal["json", "plain"] = "plain") -> QueueListener:
    """Sends the root logger through a bounded queue. The caller stops the listener it gets."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(_Json() if form == "json" else _Plain("%(levelname)s %(name)s: %(message)s"))
    lines: queue.Queue[logging.LogRecord] = queue.Queue(maxsize=QUEUE_LINES)
    root = logging.getLogger()
    root.handlers[:] = [_BoundedQueueHandler(lines)]
    root.setLevel(level.upper())
    # aiohttp logs malformed request lines as they came, keys included.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    listener = QueueListener(lines, out)
    listener.start()
    return listener
